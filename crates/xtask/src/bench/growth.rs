//! How figures grow with the address book.

use super::plot::Series;
use super::statistics::Thousands;
use super::table::{Cell, Column, figure, head};
use super::{commands, first_sync, requests};

/// Ten times the cards may cost ten times the time, and as much more as chance makes.
const LINEAR: f64 = 1.15;

/// The rows that are drawn: what grows, and what has to stay as it is.
const DRAWN: [&str; 12] = [
    first_sync::DAVX5,
    first_sync::THUNDERBIRD,
    first_sync::INLINE,
    commands::EXPORT,
    commands::DUPLICATES,
    commands::RESTORE,
    commands::SEARCH,
    requests::FN_CONTAINS,
    requests::FN_EQUALS,
    requests::INCREMENTAL,
    requests::CTAG_POLL,
    requests::GET,
];

/// One column at growing sizes of the address book.
pub(crate) struct Growth<'a>(pub(crate) Vec<(usize, &'a Column)>);

/// A row that grows fastest between two sizes.
pub(crate) struct Steepest {
    pub(crate) row: &'static str,
    pub(crate) exponent: f64,
}

impl Growth<'_> {
    /// Rows that grow faster than linearly, and otherwise the one that comes next to it. Nothing
    /// where there is only one size.
    pub(crate) fn steepest(&self) -> Vec<Steepest> {
        let mut all: Vec<Steepest> = self
            .rows()
            .filter_map(|row| {
                let exponent = self.exponents(row).into_iter().reduce(f64::max)?;
                Some(Steepest { row, exponent })
            })
            .collect();
        all.sort_by(|one, other| other.exponent.total_cmp(&one.exponent));
        let n_too_steep = all.iter().take_while(|it| it.exponent >= LINEAR).count();
        all.truncate(n_too_steep.max(1));
        all
    }

    /// Whether such an exponent is still linear growth.
    pub(crate) fn is_linear(exponent: f64) -> bool {
        exponent < LINEAR
    }

    /// The lines of the plot, in milliseconds.
    pub(crate) fn series(&self) -> Vec<Series> {
        let lines = DRAWN.iter().map(|row| Series {
            name: row
                .trim_end_matches(", s")
                .trim_end_matches(" ms")
                .trim_end_matches(", p50")
                .trim_end_matches(',')
                .replace('`', ""),
            points: self.points(row),
        });
        lines.collect()
    }

    /// A Markdown table of all rows and their exponents.
    pub(crate) fn table(&self) -> String {
        let mut heads: Vec<String> = self
            .0
            .iter()
            .map(|it| Thousands(it.0).to_string())
            .collect();
        heads.push("greatest exponent".to_owned());
        let name = self.0.first().map_or("", |it| it.1.name);
        let mut table = head(&format!("growth, {name}"), &heads);
        for row in self.rows() {
            table.push_str(&format!("| {row} |"));
            for (_, column) in &self.0 {
                table.push_str(&figure(column.cell(row)));
            }
            let exponent = self.exponents(row).into_iter().reduce(f64::max);
            table.push_str(&figure(exponent.map(|it| format!("{it:.2}"))));
            table.push('\n');
        }
        table
    }

    /// What was measured at more than one size.
    fn rows(&self) -> impl Iterator<Item = &'static str> {
        let first = self.0.first().map(|it| it.1.rows.as_slice());
        let rows = first.unwrap_or_default().iter().map(|it| it.name);
        rows.filter(|row| self.points(row).len() > 1)
    }

    /// From each size to the next: time grows by this power of the number of cards.
    fn exponents(&self, row: &str) -> Vec<f64> {
        let points = self.points(row);
        let exponent = |pair: &[(f64, f64)]| match pair {
            [from, to] => (to.1 / from.1).ln() / (to.0 / from.0).ln(),
            _ => 0.0,
        };
        points.windows(2).map(exponent).collect()
    }

    fn points(&self, row: &str) -> Vec<(f64, f64)> {
        let point = |(size, column): &(usize, &Column)| {
            let milliseconds = column.cell(row).map(Cell::milliseconds)?;
            Some((*size as f64, milliseconds))
        };
        self.0.iter().filter_map(point).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::table::Row;
    use super::*;

    fn column(sync: u64, poll: u64) -> Column {
        let seconds = |it| Cell::Seconds(Duration::from_millis(it));
        Column {
            name: "loopback",
            is_floor: false,
            rows: vec![
                Row::new(requests::CTAG_POLL, seconds(poll)),
                Row::new(first_sync::DAVX5, seconds(sync)),
                Row::new("rate", Cell::Rate(1e3 / sync as f64)),
            ],
        }
    }

    #[test]
    fn what_grows_faster_than_linearly_is_found() {
        let (small, middle, large) = (column(10, 5), column(50, 5), column(1_000, 5));
        let growth = Growth(vec![(1_000, &small), (10_000, &middle), (100_000, &large)]);
        let steepest = growth.steepest();
        let rows: Vec<&str> = steepest.iter().map(|it| it.row).collect();
        assert_eq!(rows, [first_sync::DAVX5, "rate"]);
        assert!(!Growth::is_linear(steepest[0].exponent));

        let growth = Growth(vec![(1_000, &small), (10_000, &middle)]);
        let steepest = growth.steepest();
        assert_eq!(steepest.len(), 1);
        assert!(Growth::is_linear(steepest[0].exponent));
    }

    #[test]
    fn the_table_tells_the_power() {
        let (small, large) = (column(10, 5), column(100, 5));
        let table = Growth(vec![(1_000, &small), (10_000, &large)]).table();
        assert!(
            table.contains("(multiget of 10), s | 0.010 | 0.10 | 1.00 |"),
            "{table}"
        );
    }

    #[test]
    fn one_size_does_not_grow() {
        assert!(Growth(vec![(1_000, &column(10, 5))]).steepest().is_empty());
    }
}
