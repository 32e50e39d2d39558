//! What was measured, way by way, as a table.

use std::collections::BTreeMap;

use super::way::Kind;
use crate::bench::table::{figure, head};

/// A line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Row {
    BulkDown,
    BulkUp,
    CpuDown,
    CpuUp,
    FirstByte,
    NewVisitors,
    Requests,
    BesideUpload,
    Memory,
    FarFirstByte,
    LossyDown,
    LossyBeside,
}

/// All figures of a run.
#[derive(Default)]
pub(crate) struct Figures(BTreeMap<(Row, Kind), Vec<f64>>);

impl Row {
    const ALL: [Self; 12] = [
        Self::BulkDown,
        Self::BulkUp,
        Self::CpuDown,
        Self::CpuUp,
        Self::FirstByte,
        Self::NewVisitors,
        Self::Requests,
        Self::BesideUpload,
        Self::Memory,
        Self::FarFirstByte,
        Self::LossyDown,
        Self::LossyBeside,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BulkDown => "bulk over 16 connections, down, MB/s",
            Self::BulkUp => "bulk over 16 connections, up, MB/s",
            Self::CpuDown => "CPU of the relay, down, s/GB",
            Self::CpuUp => "CPU of the relay, up, s/GB",
            Self::FirstByte => "new visitor alone, first byte, p50 ms",
            Self::NewVisitors => "new visitors/s, 16 at once",
            Self::Requests => "small requests/s, 64 kept connections",
            Self::BesideUpload => "small requests beside an upload, p99, times idle",
            Self::Memory => "memory of the relay per idle visitor, KiB",
            Self::FarFirstByte => "40 ms: new visitor alone, first byte, p50 ms",
            Self::LossyDown => "40 ms, 1 % loss: bulk over 16 connections, down, MB/s",
            Self::LossyBeside => "40 ms, 1 % loss: small requests beside that, p99 ms",
        }
    }

    fn show(self, figure: f64) -> String {
        match figure {
            it if it < 10.0 => format!("{it:.2}"),
            it if it < 100.0 => format!("{it:.1}"),
            it => format!("{it:.0}"),
        }
    }
}

impl Figures {
    pub(crate) fn add(&mut self, row: Row, kind: Kind, figure: f64) {
        self.0.entry((row, kind)).or_default().push(figure);
    }

    /// The median over the rounds.
    pub(crate) fn median(&self, row: Row, kind: Kind) -> Option<f64> {
        let mut figures = self.0.get(&(row, kind))?.clone();
        figures.sort_by(f64::total_cmp);
        let (low, high) = ((figures.len() - 1) / 2, figures.len() / 2);
        Some(f64::midpoint(*figures.get(low)?, *figures.get(high)?))
    }

    /// A Markdown table of the rows that were measured; a dash where a way has none.
    pub(crate) fn table(&self, kinds: &[Kind]) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let heads: Vec<String> = kinds.iter().map(|it| it.name().to_owned()).collect();
        let mut table = head("loopback, or a path between relay and home", &heads);
        for row in Row::ALL {
            let cells = kinds.iter().map(|kind| self.median(row, *kind));
            let cells: Vec<Option<f64>> = cells.collect();
            if cells.iter().all(Option::is_none) {
                continue;
            }
            table.push_str(&format!("| {} |", row.name()));
            for cell in cells {
                table.push_str(&figure(cell.map(|it| row.show(it))));
            }
            table.push('\n');
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_of_two_lies_between_them() {
        let mut figures = Figures::default();
        for figure in [4.0, 1.0] {
            figures.add(Row::BulkUp, Kind::Legs, figure);
        }
        let median = |row| figures.median(row, Kind::Legs);
        assert_eq!(median(Row::BulkUp), Some(2.5));
        assert_eq!(median(Row::BulkDown), None);
        figures.add(Row::BulkUp, Kind::Legs, 90.0);
        assert_eq!(figures.median(Row::BulkUp, Kind::Legs), Some(4.0));
    }

    #[test]
    fn only_what_was_measured_is_in_the_table() {
        let mut figures = Figures::default();
        figures.add(Row::Requests, Kind::Rathole, 11_379.0);
        assert_eq!(
            figures.table(&[Kind::Legs, Kind::Rathole]),
            "\n| loopback, or a path between relay and home | cloudless | rathole |\n|---|--:|--:|\n\
             | small requests/s, 64 kept connections | – | 11379 |\n"
        );
    }
}
