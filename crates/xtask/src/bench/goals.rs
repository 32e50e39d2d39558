//! What this project wants to reach, and whether this run reached it.

use std::fmt;

use anyhow::{Result, ensure};

use super::first_sync;
use super::growth::Growth;
use super::peer::{RADICALE, XANDIKOS};
use super::rates::GET_FOUR;
use super::requests::{self, CTAG_POLL, INCREMENTAL, TOKEN_POLL};
use super::statistics::Thousands;
use super::table::Column;
use super::writes::{PUT_EIGHT, PUT_ONE};

/// The peers of which the faster one is compared with.
const FASTER: &[&str] = &[RADICALE, XANDIKOS];
/// Two figures that are meant to be the same differ by less.
const SAME: f64 = 1.5;

/// One goal and what was measured.
struct Verdict {
    goal: String,
    asked: String,
    measured: String,
    is_met: bool,
}

/// All verdicts of a run, as a Markdown table.
#[derive(Default)]
pub(crate) struct Verdicts(Vec<Verdict>);

impl Verdicts {
    /// How many times better than the peers; nothing where no peer ran.
    pub(crate) fn peers(&mut self, columns: &[Column]) {
        let mut goals = vec![
            (PUT_ONE, 40.0, &[RADICALE][..]),
            (PUT_EIGHT, 80.0, &[RADICALE]),
            (first_sync::DAVX5, 5.0, FASTER),
            (first_sync::THUNDERBIRD, 5.0, FASTER),
            (first_sync::VDIRSYNCER, 5.0, FASTER),
            (INCREMENTAL, 25.0, &[XANDIKOS]),
            (CTAG_POLL, 4.0, &[XANDIKOS]),
            (TOKEN_POLL, 4.0, &[XANDIKOS]),
        ];
        goals.extend(requests::query_rows().map(|it| (it, 10.0, &[XANDIKOS][..])));
        goals.push((GET_FOUR, 6.0, &[XANDIKOS]));
        for (row, factor, peers) in goals {
            let Some(ours) = columns[0].cell(row) else {
                continue;
            };
            let others = columns.iter().filter(|it| peers.contains(&it.name));
            let advantages = others
                .filter_map(|it| it.cell(row))
                .map(|it| ours.advantage(it));
            // The least advantage is the one over the fastest.
            let Some(advantage) = advantages.reduce(f64::min) else {
                continue;
            };
            self.push(
                row.to_owned(),
                format!("{factor:.0}x {}", peers.join(" and ")),
                format!("{advantage:.1}x"),
                advantage >= factor,
            );
        }
    }

    /// What a PUT costs beyond the disk, and what writing together gains.
    pub(crate) fn writes(&mut self, ours: &Column, above_floor: f64) {
        if let (Some(one), Some(eight)) = (ours.cell(PUT_ONE), ours.cell(PUT_EIGHT)) {
            let gain = eight.number() / one.number();
            self.push(
                "PUT/s, 8 connections against 1".to_owned(),
                "2.5x".to_owned(),
                format!("{gain:.1}x"),
                gain >= 2.5,
            );
        }
        self.push(
            "PUT, 1 connection, p50 above one write and fsync".to_owned(),
            "at most 1 ms".to_owned(),
            format!("{above_floor:.2} ms"),
            above_floor <= 1.0,
        );
    }

    /// What the way through the relay costs a first sync.
    pub(crate) fn relay(&mut self, size: usize, local: &Column, public: &Column) {
        for row in first_sync::CLIENTS {
            let (Some(local), Some(public)) = (local.cell(row), public.cell(row)) else {
                continue;
            };
            let (local, public) = (local.number(), public.number());
            self.push(
                format!("N = {}, through the relay: {row}", Thousands(size)),
                "at most 1.3x and 10 ms".to_owned(),
                format!("{:.2}x", public / local),
                public <= 1.3 * local + 0.010,
            );
        }
    }

    /// Whether what has to cost the same costs the same in the smallest and the largest book.
    pub(crate) fn growth(&mut self, smallest: (usize, &Column), largest: (usize, &Column)) {
        for row in [CTAG_POLL, TOKEN_POLL, INCREMENTAL] {
            let (Some(small), Some(large)) = (smallest.1.cell(row), largest.1.cell(row)) else {
                continue;
            };
            let growth = large.number() / small.number();
            self.push(
                format!(
                    "{row}, N = {} against {}",
                    Thousands(largest.0),
                    Thousands(smallest.0)
                ),
                format!("the same (below {SAME}x)"),
                format!("{growth:.2}x"),
                growth < SAME,
            );
        }
    }

    /// Whether nothing grows faster than linearly.
    pub(crate) fn linear(&mut self, growth: &Growth<'_>) {
        for steepest in growth.steepest() {
            let exponent = steepest.exponent;
            let is_linear = Growth::is_linear(exponent);
            let goal = if is_linear {
                format!(
                    "nothing grows faster than linearly; steepest: {}",
                    steepest.row
                )
            } else {
                format!("nothing grows faster than linearly: {}", steepest.row)
            };
            self.push(
                goal,
                "cards to the power of 1".to_owned(),
                format!("{exponent:.2}"),
                is_linear,
            );
        }
    }

    /// Megabytes of home: what it is, the most allowed, and what was measured.
    pub(crate) fn memory(&mut self, name: &str, max: f64, measured: Option<f64>) {
        let Some(measured) = measured else { return };
        self.push(
            format!("memory of home, {name}"),
            format!("below {max:.0} MB"),
            format!("{measured:.1} MB"),
            measured < max,
        );
    }

    /// Fails with what was missed, for a promise and not just a wish.
    pub(crate) fn require(&self) -> Result<()> {
        let missed = self.0.iter().filter(|it| !it.is_met);
        let missed: Vec<String> = missed
            .map(|it| format!("{}: {}, asked is {}", it.goal, it.measured, it.asked))
            .collect();
        ensure!(missed.is_empty(), "missed: {}", missed.join("; "));
        Ok(())
    }

    pub(crate) fn push(&mut self, goal: String, asked: String, measured: String, is_met: bool) {
        self.0.push(Verdict {
            goal,
            asked,
            measured,
            is_met,
        });
    }
}

impl fmt::Display for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n| goal | asked | measured | |\n|---|--:|--:|---|")?;
        for verdict in &self.0 {
            let outcome = if verdict.is_met { "met" } else { "**missed**" };
            writeln!(
                f,
                "| {} | {} | {} | {outcome} |",
                verdict.goal, verdict.asked, verdict.measured
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::table::{Cell, Row};
    use super::*;

    fn column(name: &'static str, seconds: f64) -> Column {
        let time = Duration::from_secs_f64(seconds);
        Column {
            name,
            is_floor: false,
            rows: vec![Row::new(first_sync::DAVX5, Cell::Seconds(time))],
        }
    }

    #[test]
    fn the_faster_peer_counts() {
        let mut verdicts = Verdicts::default();
        let ours = column("loopback", 1.0);
        verdicts.peers(&[ours, column(RADICALE, 9.0), column(XANDIKOS, 4.0)]);
        assert_eq!(verdicts.0.len(), 1);
        assert_eq!(verdicts.0[0].measured, "4.0x");
        assert!(!verdicts.0[0].is_met);
        let missed = verdicts.require().unwrap_err().to_string();
        assert!(missed.contains(first_sync::DAVX5), "{missed}");
        assert!(missed.contains("4.0x"), "{missed}");
    }

    #[test]
    fn eight_connections_and_the_disk_are_judged() {
        let ours = Column {
            name: "loopback",
            is_floor: false,
            rows: vec![
                Row::new(PUT_ONE, Cell::Rate(400.0)),
                Row::new(PUT_EIGHT, Cell::Rate(1_000.0)),
            ],
        };
        let mut verdicts = Verdicts::default();
        verdicts.writes(&ours, 1.1);
        let met: Vec<bool> = verdicts.0.iter().map(|it| it.is_met).collect();
        assert_eq!(met, [true, false], "{verdicts}");
    }

    #[test]
    fn the_relay_may_cost_a_third_and_ten_milliseconds() {
        for (public, is_met) in [(1.30, true), (1.305, true), (1.32, false)] {
            let mut verdicts = Verdicts::default();
            verdicts.relay(10_000, &column("loopback", 1.0), &column("relay", public));
            assert_eq!(verdicts.0[0].is_met, is_met, "{public}");
            assert_eq!(verdicts.require().is_ok(), is_met, "{public}");
        }
    }
}
