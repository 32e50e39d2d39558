//! `cargo xtask bench relay`: the data plane, from TLS visitors to a TLS server at home, side by
//! side with the ways that people use otherwise.

mod attack;
mod attacker;
mod backend;
mod crowd;
mod evidence;
mod evil_home;
mod figures;
mod goals;
mod haproxy;
mod home;
mod load;
mod measurement;
mod multiplexer;
mod ours;
mod outages;
mod path;
mod process;
mod rathole;
mod recipe;
mod site;
mod ssh_home;
mod sshd;
mod visitor;
mod way;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::{Subcommand, ValueEnum};
use serde::de::DeserializeOwned;

use self::attacker::Attack;
use self::way::Kind;
use super::{build_release, runtime};
use crate::step;
use crate::workspace::Workspace;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Measure these parts alone
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Measure these ways alone
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Kind::value_variants().to_vec())]
    ways: Vec<Kind>,
    /// Let these attacks loose alone
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Attack::value_variants().to_vec())]
    attacks: Vec<Attack>,
    /// How often everything is run, the ways in turns; the median counts
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// How many idle homes the relay gets
    #[arg(long, default_value_t = 10_000)]
    homes: usize,
    /// Draw how the relay's memory grows with visitors and homes, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// A part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Speed and CPU time of bulk transfers
    Bulk,
    /// Time to the first byte of a visitor who is alone
    FirstByte,
    /// New visitors per second
    Visitors,
    /// Small requests per second
    Requests,
    /// Small requests beside a large upload, against the same without it
    Upload,
    /// Memory of the relay for visitors who wait
    Memory,
    /// First bytes with 40 ms between relay and home
    Far,
    /// Bulk and small requests over such a path that loses packets
    Lossy,
    /// Memory of the relay for idle homes, and how long all take to come back at once
    Homes,
    /// What attacks on the relay do to others; only when asked for
    Attack,
    /// How long nobody gets through after an outage; only when asked for
    Outages,
}

/// Processes of a run.
#[derive(Subcommand)]
pub(crate) enum Role {
    /// Be the server at home
    #[command(name = "relay-backend", hide = true)]
    Backend { argument: String },
    /// Be visitors
    #[command(name = "relay-load", hide = true)]
    Load { argument: String },
    /// Be homes
    #[command(name = "relay-homes", hide = true)]
    Homes { argument: String },
    /// Be one end of the bare multiplexer
    #[command(name = "relay-multiplexer", hide = true)]
    Multiplexer { argument: String },
    /// Be attackers
    #[command(name = "relay-attackers", hide = true)]
    Attackers { argument: String },
    /// Be a listener that does nothing
    #[command(name = "relay-nothing", hide = true)]
    Nothing { argument: String },
}

impl Options {
    /// So little that it proves only that visitors get through and that attackers attack.
    pub(crate) fn small() -> Self {
        Self {
            only: vec![Part::Bulk, Part::Attack],
            ways: vec![Kind::Legs],
            attacks: vec![Attack::Garbage, Attack::Legs, Attack::ResettingHome],
            rounds: 1,
            homes: 0,
            plot: None,
        }
    }

    /// The arguments that say the same.
    fn arguments(&self) -> Vec<OsString> {
        let mut arguments = Vec::new();
        let mut say = |name: &str, value: OsString| arguments.extend([name.into(), value]);
        if !self.only.is_empty() {
            say("--only", names(&self.only));
        }
        say("--ways", names(&self.ways));
        say("--attacks", names(&self.attacks));
        say("--rounds", self.rounds.to_string().into());
        say("--homes", self.homes.to_string().into());
        if let Some(plot) = &self.plot {
            say("--plot", plot.into());
        }
        arguments
    }

    fn wants(&self, part: Part) -> bool {
        let is_extra = matches!(part, Part::Attack | Part::Outages);
        (self.only.is_empty() && !is_extra) || self.only.contains(&part)
    }
}

/// Measures a release build and prints tables; fails when an attack was none.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    ensure!(options.rounds > 0, "--rounds must be at least 1");
    if cfg!(debug_assertions) {
        build_release(workspace)?;
        let mut bench = Command::new(workspace.target("release/xtask"));
        return step::run(bench.args(["bench", "relay"]).args(options.arguments()));
    }
    runtime()?.block_on(measurement::run(workspace, options))
}

/// Is one of the processes until its end.
pub(crate) fn be(role: &Role) -> Result<()> {
    let runtime = runtime()?;
    match role {
        Role::Backend { argument } => {
            let (certificate, ip) = parse(argument)?;
            runtime.block_on(backend::serve(&certificate, ip))
        }
        Role::Load { argument } => runtime.block_on(load::run(&parse(argument)?)),
        Role::Homes { argument } => runtime.block_on(home::serve(parse(argument)?)),
        Role::Multiplexer { argument } => multiplexer::run(parse(argument)?),
        Role::Attackers { argument } => runtime.block_on(attacker::run(parse(argument)?)),
        Role::Nothing { argument } => runtime.block_on(attacker::be_nothing(parse(argument)?)),
    }
}

/// As the command line takes them.
fn names(values: &[impl ValueEnum]) -> OsString {
    let names = values.iter().filter_map(ValueEnum::to_possible_value);
    let names: Vec<String> = names.map(|it| it.get_name().to_owned()).collect();
    names.join(",").into()
}

fn parse<T: DeserializeOwned>(argument: &str) -> Result<T> {
    serde_json::from_str(argument).context("read the argument")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    /// A run from an unoptimized build is another process that is told all of it.
    #[test]
    fn options_are_read_back_from_their_arguments() {
        let given = Options {
            homes: 7,
            plot: Some("relay.svg".into()),
            ..Options::small()
        };
        let arguments = given.arguments();
        let line = ["relay".into()].into_iter().chain(arguments.clone());
        let Line { options } = Line::parse_from(line);
        assert_eq!(options.arguments(), arguments);
        assert_eq!(options.only, given.only);
        assert_eq!(options.ways, given.ways);
        assert_eq!(options.attacks, given.attacks);
        assert_eq!((options.rounds, options.homes), (1, 7));
        assert_eq!(options.plot, given.plot);
    }
}
