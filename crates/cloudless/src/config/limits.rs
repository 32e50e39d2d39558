//! `[limits]` in `relay.toml`.

use std::fmt::Write as _;
use std::num::{NonZeroU16, NonZeroU32};

use cloudless_relay::Limits;
use serde::Deserialize;

/// What peers may take of the relay. What is left out has its default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsTable {
    connections_per_source: Option<NonZeroU32>,
    handshakes: Option<NonZeroU32>,
    homes: Option<NonZeroU32>,
    visitors: Option<NonZeroU32>,
    visitors_per_home: Option<NonZeroU32>,
    strangers_per_home: Option<NonZeroU32>,
    queued_mib_per_home: Option<NonZeroU16>,
    legs: Option<NonZeroU32>,
    legs_per_home: Option<NonZeroU32>,
    joins_per_minute_per_source: Option<NonZeroU32>,
}

impl LimitsTable {
    /// The limits that the table stands for.
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        let count = |value: NonZeroU32| usize::try_from(value.get()).unwrap_or(usize::MAX);
        for (field, value) in [
            (
                &mut limits.connections_per_source,
                self.connections_per_source,
            ),
            (&mut limits.handshakes, self.handshakes),
            (&mut limits.sessions, self.homes),
            (&mut limits.visitors, self.visitors),
            (&mut limits.visitors_per_home, self.visitors_per_home),
            (&mut limits.strangers_per_home, self.strangers_per_home),
            (&mut limits.legs, self.legs),
            (&mut limits.legs_per_home, self.legs_per_home),
        ] {
            *field = value.map_or(*field, count);
        }
        if let Some(mib) = self.queued_mib_per_home {
            limits.queued_bytes_per_home = usize::from(mib.get()) * MIB;
        }
        if let Some(joins) = self.joins_per_minute_per_source {
            limits.joins_per_minute_per_source = joins.get();
        }
        limits
    }

    /// The table's lines: what it says, and the defaults as comments.
    pub(crate) fn render(&self) -> String {
        let default = Limits::default();
        let mut text = String::from(
            "[limits]\n# What peers may take; beyond it one makes room for a newcomer. A source is an \
             IPv4 address or an IPv6 /64.\n",
        );
        let mut line = |name: &str, value: Option<u32>, default: usize, meaning: &str| {
            // Writing to a string does not fail.
            let _ = match value {
                Some(value) => writeln!(text, "{name} = {value}  # {meaning}"),
                None => writeln!(text, "# {name} = {default}  # {meaning}"),
            };
        };
        let get = |value: Option<NonZeroU32>| value.map(NonZeroU32::get);
        line(
            "connections_per_source",
            get(self.connections_per_source),
            default.connections_per_source,
            "connections of one source: as many of one port before they say what they want, tunnels begun, visitors",
        );
        line(
            "handshakes",
            get(self.handshakes),
            default.handshakes,
            "connections of one port that have not said what they want, and tunnels begun",
        );
        line(
            "homes",
            get(self.homes),
            default.sessions,
            "homes that are online, and tunnels that wait for their handshake",
        );
        line(
            "visitors",
            get(self.visitors),
            default.visitors,
            "visitors in all, half of them for no home at most",
        );
        line(
            "visitors_per_home",
            get(self.visitors_per_home),
            default.visitors_per_home,
            "visitors of one home",
        );
        line(
            "strangers_per_home",
            get(self.strangers_per_home),
            default.strangers_per_home,
            "visitors of one home from sources that never talked to it, while their handshake is under way; 2 s each at most",
        );
        line(
            "legs",
            get(self.legs),
            default.legs,
            "visitors on legs in all",
        );
        line(
            "legs_per_home",
            get(self.legs_per_home),
            default.legs_per_home,
            "visitors of one home on legs",
        );
        line(
            "queued_mib_per_home",
            self.queued_mib_per_home.map(|mib| u32::from(mib.get())),
            default.queued_bytes_per_home / MIB,
            "bytes that wait here for the visitors of a home, and as many for the home",
        );
        line(
            "joins_per_minute_per_source",
            get(self.joins_per_minute_per_source),
            default.joins_per_minute_per_source as usize,
            "wrong join codes",
        );
        text
    }
}

const MIB: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn each_line_that_is_shown_as_a_default_is_that_default() {
        let shown = LimitsTable::default().render();
        let uncommented = shown
            .replace("\n# ", "\n")
            .replacen("What peers", "# What peers", 1);
        #[derive(Deserialize)]
        struct File {
            limits: LimitsTable,
        }
        let read: File = parse(uncommented.as_bytes()).unwrap();
        assert_ne!(read.limits, LimitsTable::default());
        assert_eq!(
            format!("{:?}", read.limits.limits()),
            format!("{:?}", Limits::default())
        );
        let rendered: File = parse(read.limits.render().as_bytes()).unwrap();
        assert_eq!(rendered.limits, read.limits);
    }

    #[test]
    fn a_limit_of_nothing_is_refused() {
        let fault = parse::<LimitsTable>(b"homes = 0\n")
            .unwrap_err()
            .to_string();
        assert!(fault.starts_with("1:9:"), "{fault}");
        assert!(fault.contains("nonzero"), "{fault}");
    }
}
