//! A line plot with logarithmic axes, as SVG.

use super::statistics::Thousands;

const WIDTH: f64 = 940.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 560.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 410.0;
/// Told apart by people who see few colors, too.
const COLORS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000",
];
/// The colors come again with other dashes.
const DASHES: [&str; 2] = ["none", "6 3"];

/// A line and its name.
pub(crate) struct Series {
    pub(crate) name: String,
    /// Number of things and what they cost, both above zero.
    pub(crate) points: Vec<(f64, f64)>,
}

/// How something grows with a number of things.
pub(crate) fn growth(title: &str, series: &[Series]) -> String {
    let points = || series.iter().flat_map(|it| &it.points);
    let x = Axis::new(points().map(|it| it.0), LEFT, RIGHT);
    let y = Axis::new(points().map(|it| it.1), BOTTOM, TOP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{}, both logarithmic</text>\n",
        escape(title)
    );
    for decade in x.decades() {
        let (at, label) = (x.place(decade), Thousands(decade as usize));
        svg.push_str(&format!(
            "<path d=\"M{at:.1} {TOP}V{BOTTOM}\" stroke=\"#ddd\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>\n",
            BOTTOM + 18.0
        ));
    }
    for decade in y.decades() {
        let at = y.place(decade);
        svg.push_str(&format!(
            "<path d=\"M{LEFT} {at:.1}H{RIGHT}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{decade}</text>\n",
            LEFT - 6.0,
            at + 4.0
        ));
    }
    for (index, series) in series.iter().enumerate() {
        let color = COLORS[index % COLORS.len()];
        let dash = DASHES[index / COLORS.len() % DASHES.len()];
        let places: Vec<(f64, f64)> = series
            .points
            .iter()
            .map(|it| (x.place(it.0), y.place(it.1)))
            .collect();
        let line: Vec<String> = places
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        svg.push_str(&format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\" \
             stroke-dasharray=\"{dash}\"/>",
            line.join(" ")
        ));
        for (x, y) in places {
            svg.push_str(&format!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{color}\"/>"
            ));
        }
        let legend = TOP + 14.0 + 20.0 * index as f64;
        svg.push_str(&format!(
            "<path d=\"M{:.1} {:.1}h24\" stroke=\"{color}\" stroke-width=\"2\" \
             stroke-dasharray=\"{dash}\"/>\
             <text x=\"{:.1}\" y=\"{legend:.1}\">{}</text>\n",
            RIGHT + 12.0,
            legend - 4.0,
            RIGHT + 42.0,
            escape(&series.name)
        ));
    }
    svg.push_str("</svg>\n");
    svg
}

/// From values to places, over whole decades.
struct Axis {
    /// Powers of ten.
    low: i32,
    high: i32,
    from: f64,
    to: f64,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let logarithms = values.map(f64::log10).filter(|it| it.is_finite());
        let low = logarithms.clone().fold(f64::INFINITY, f64::min);
        let high = logarithms.fold(f64::NEG_INFINITY, f64::max);
        let low = if low.is_finite() {
            low.floor() as i32
        } else {
            0
        };
        let high = if high.is_finite() {
            high.ceil() as i32
        } else {
            0
        };
        Self {
            low,
            high: high.max(low + 1),
            from,
            to,
        }
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        (self.low..=self.high).map(|it| 10_f64.powi(it))
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value.log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        self.from + share * (self.to - self.from)
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decades_are_evenly_spaced() {
        let axis = Axis::new([1_000.0, 100_000.0].into_iter(), 0.0, 200.0);
        assert_eq!(axis.decades().count(), 3);
        for (value, place) in [(1_000.0, 0.0), (10_000.0, 100.0), (100_000.0, 200.0)] {
            assert!((axis.place(value) - place).abs() < 1e-6, "{value}");
        }
    }

    #[test]
    fn one_point_and_no_point_make_a_plot() {
        for points in [vec![], vec![(1_000.0, 0.5)]] {
            let series = Series {
                name: "a < b & c".to_owned(),
                points,
            };
            let svg = growth("c & d", &[series]);
            assert!(svg.contains("a &lt; b &amp; c"), "{svg}");
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
