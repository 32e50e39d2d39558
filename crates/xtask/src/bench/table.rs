//! Figures side by side, with ratios, as Markdown.

use std::fmt;
use std::time::Duration;

use super::statistics::Thousands;

/// One figure. Of rates more is better, of times less.
#[derive(Clone, Copy)]
pub(crate) enum Cell {
    /// A time, shown in milliseconds.
    Millis(Duration),
    /// Per second.
    Rate(f64),
    /// A time, shown in seconds.
    Seconds(Duration),
}

impl Cell {
    /// How many times better this figure is than the other one.
    fn advantage(self, other: Self) -> f64 {
        match self {
            Self::Rate(_) => self.number() / other.number(),
            Self::Seconds(_) | Self::Millis(_) => other.number() / self.number(),
        }
    }

    fn number(self) -> f64 {
        match self {
            Self::Rate(rate) => rate,
            Self::Seconds(time) => time.as_secs_f64(),
            Self::Millis(time) => time.as_secs_f64() * 1e3,
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(rate) if *rate >= 100.0 => write!(f, "{rate:.0}"),
            Self::Rate(rate) => write!(f, "{rate:.1}"),
            Self::Seconds(_) | Self::Millis(_) => write!(f, "{:.2}", self.number()),
        }
    }
}

/// What was measured, and the figure.
#[derive(Clone, Copy)]
pub(crate) struct Row(pub(crate) &'static str, pub(crate) Cell);

/// The same rows over loopback, through the relay, and perhaps of Radicale, in this order.
pub(crate) fn table(size: usize, columns: &[Vec<Row>]) -> String {
    let size = Thousands(size);
    let mut head = format!("| N = {size} | loopback | through the relay | relay costs |");
    let mut rule = String::from("|---|--:|--:|--:|");
    if columns.len() > 2 {
        head.push_str(" Radicale | better than Radicale |");
        rule.push_str("--:|--:|");
    }
    let mut table = format!("\n{head}\n{rule}\n");
    for (index, Row(name, local)) in columns[0].iter().enumerate() {
        let Row(_, public) = columns[1][index];
        let cost = local.advantage(public);
        table.push_str(&format!("| {name} | {local} | {public} | {cost:.1}x |"));
        if let Some(peer) = columns.get(2) {
            let Row(_, peer) = peer[index];
            table.push_str(&format!(" {peer} | {:.1}x |", local.advantage(peer)));
        }
        table.push('\n');
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_point_the_right_way() {
        let rows = |rate, ms| {
            vec![
                Row("PUT/s", Cell::Rate(rate)),
                Row("GET ms", Cell::Millis(Duration::from_millis(ms))),
            ]
        };
        assert_eq!(
            table(1_000, &[rows(800.0, 2), rows(400.0, 3), rows(16.0, 20)]),
            "\n| N = 1,000 | loopback | through the relay | relay costs | Radicale | better than \
             Radicale |\n|---|--:|--:|--:|--:|--:|\n\
             | PUT/s | 800 | 400 | 2.0x | 16.0 | 50.0x |\n\
             | GET ms | 2.00 | 3.00 | 1.5x | 20.00 | 10.0x |\n"
        );
    }
}
