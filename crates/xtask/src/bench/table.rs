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
    pub(crate) fn advantage(self, other: Self) -> f64 {
        match self {
            Self::Rate(_) => self.number() / other.number(),
            Self::Seconds(_) | Self::Millis(_) => other.number() / self.number(),
        }
    }

    /// In the unit it is shown in.
    pub(crate) fn number(self) -> f64 {
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

/// One way to a server, and its rows.
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) rows: Vec<Row>,
}

impl Column {
    /// The figure of a row.
    pub(crate) fn cell(&self, row: &str) -> Option<Cell> {
        let row = self.rows.iter().find(|it| it.0 == row)?;
        Some(row.1)
    }
}

/// The figures side by side, the same rows in each column, and how much better the first column is
/// than each other one.
pub(crate) fn table(size: usize, columns: &[Column]) -> String {
    let Some((ours, others)) = columns.split_first() else {
        return String::new();
    };
    let mut table = format!("\n| N = {} |", Thousands(size));
    for column in columns {
        table.push_str(&format!(" {} |", column.name));
    }
    for column in others {
        table.push_str(&format!(" x {} |", column.name));
    }
    let n_figures = columns.len() + others.len();
    table.push_str(&format!("\n|---|{}\n", "--:|".repeat(n_figures)));
    for (index, Row(name, cell)) in ours.rows.iter().enumerate() {
        table.push_str(&format!("| {name} | {cell} |"));
        for other in others {
            table.push_str(&format!(" {} |", other.rows[index].1));
        }
        for other in others {
            let advantage = cell.advantage(other.rows[index].1);
            table.push_str(&format!(" {advantage:.1} |"));
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
        let column = |name, rate, ms| Column {
            name,
            rows: vec![
                Row("PUT/s", Cell::Rate(rate)),
                Row("GET ms", Cell::Millis(Duration::from_millis(ms))),
            ],
        };
        let columns = [
            column("loopback", 800.0, 2),
            column("relay", 400.0, 3),
            column("Radicale", 16.0, 20),
        ];
        assert_eq!(
            table(1_000, &columns),
            "\n| N = 1,000 | loopback | relay | Radicale | x relay | x Radicale |\n\
             |---|--:|--:|--:|--:|--:|\n\
             | PUT/s | 800 | 400 | 16.0 | 2.0 | 50.0 |\n\
             | GET ms | 2.00 | 3.00 | 20.00 | 1.5 | 10.0 |\n"
        );
        assert!(matches!(columns[0].cell("PUT/s"), Some(Cell::Rate(800.0))));
        assert!(columns[0].cell("none").is_none());
    }
}
