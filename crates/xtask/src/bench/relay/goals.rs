//! What the data plane wants to reach beside the others of the same run.

use super::figures::{Figures, Row};
use super::path::ROUND_TRIP;
use super::way::Kind;
use crate::bench::goals::Verdicts;

/// What two round trips may cost besides.
const FAR_MS: f64 = 6.0;

/// What an upload may make of the time that small requests of the same home take without it.
const BESIDE_UPLOAD: f64 = 3.0;

/// A row of a way is compared with the same row of another one.
struct Goal {
    row: Row,
    ours: Kind,
    factor: f64,
    other: Kind,
    /// Whether more is better.
    is_rate: bool,
}

const fn at_least(row: Row, factor: f64, other: Kind) -> Goal {
    Goal {
        row,
        ours: Kind::Legs,
        factor,
        other,
        is_rate: true,
    }
}

const fn at_most(row: Row, ours: Kind, factor: f64, other: Kind) -> Goal {
    Goal {
        row,
        ours,
        factor,
        other,
        is_rate: false,
    }
}

const GOALS: [Goal; 12] = [
    at_least(Row::BulkDown, 1.25, Kind::Rathole),
    at_least(Row::BulkUp, 1.25, Kind::Rathole),
    at_most(Row::CpuDown, Kind::Legs, 0.5, Kind::Rathole),
    at_most(Row::CpuUp, Kind::Legs, 0.5, Kind::Rathole),
    at_most(Row::CpuDown, Kind::Streams, 1.2, Kind::Rathole),
    at_most(Row::CpuUp, Kind::Streams, 1.2, Kind::Rathole),
    at_most(Row::FirstByte, Kind::Legs, 1.5, Kind::Haproxy),
    at_least(Row::NewVisitors, 1.3, Kind::Rathole),
    at_least(Row::Requests, 1.5, Kind::Rathole),
    at_most(Row::Memory, Kind::Legs, 0.6, Kind::Rathole),
    at_least(Row::LossyDown, 0.9, Kind::Rathole),
    at_most(Row::LossyBeside, Kind::Legs, 2.0, Kind::NoRelay),
];

/// Judges what was measured of both sides.
pub(crate) fn judge(figures: &Figures, verdicts: &mut Verdicts) {
    for goal in &GOALS {
        let ours = figures.median(goal.row, goal.ours);
        let Some((ours, other)) = ours.zip(figures.median(goal.row, goal.other)) else {
            continue;
        };
        let ratio = ours / other;
        let (bound, is_met) = if goal.is_rate {
            ("at least", ratio >= goal.factor)
        } else {
            ("at most", ratio <= goal.factor)
        };
        let name = match goal.ours {
            Kind::Streams => format!("{}, `legs = false`", goal.row.name()),
            _ => goal.row.name().to_owned(),
        };
        let asked = format!("{bound} {}x {}", goal.factor, goal.other.name());
        verdicts.push(name, asked, format!("{ratio:.2}x"), is_met);
    }
    for kind in [Kind::Legs, Kind::Streams] {
        if let Some(ratio) = figures.median(Row::BesideUpload, kind) {
            verdicts.push(
                format!("{}, {}", Row::BesideUpload.name(), kind.name()),
                format!("under {BESIDE_UPLOAD}x idle"),
                format!("{ratio:.2}x"),
                ratio < BESIDE_UPLOAD,
            );
        }
    }
    if let Some(time) = figures.median(Row::FarFirstByte, Kind::Legs) {
        let max = 2.0 * ROUND_TRIP.as_secs_f64() * 1e3 + FAR_MS;
        verdicts.push(
            Row::FarFirstByte.name().to_owned(),
            format!("at most 2 round trips and {FAR_MS:.0} ms: {max:.0} ms"),
            format!("{time:.1} ms"),
            time <= max,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_of_a_rate_and_less_of_a_cost_are_better() {
        let mut figures = Figures::default();
        for (kind, down, cpu) in [(Kind::Legs, 600.0, 0.8), (Kind::Rathole, 480.0, 1.3)] {
            figures.add(Row::BulkDown, kind, down);
            figures.add(Row::CpuDown, kind, cpu);
        }
        figures.add(Row::FarFirstByte, Kind::Legs, 86.5);
        figures.add(Row::BesideUpload, Kind::Streams, 3.0);
        let mut verdicts = Verdicts::default();
        judge(&figures, &mut verdicts);
        let text = verdicts.to_string();
        assert!(
            text.contains("at least 1.25x rathole | 1.25x | met"),
            "{text}"
        );
        assert!(
            text.contains("at most 0.5x rathole | 0.62x | **missed**"),
            "{text}"
        );
        assert!(
            text.contains("under 3x idle | 3.00x | **missed**"),
            "{text}"
        );
        assert!(text.contains("86 ms | 86.5 ms | **missed**"), "{text}");
    }
}
