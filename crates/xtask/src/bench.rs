//! `cargo xtask bench`: speed and memory of relay and home, as Markdown on standard output.

mod answer;
mod bare;
mod cards;
mod client;
mod commands;
mod cpu;
mod dav;
mod demo;
mod disk;
mod first_sync;
mod goals;
mod growth;
mod loaded;
mod logins;
mod measurement;
mod memory;
mod peer;
mod photos;
mod plot;
mod rates;
mod relay;
mod requests;
mod session;
mod statistics;
mod table;
mod way;
mod writes;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

pub(crate) use self::logins::Options as LoginOptions;
pub(crate) use self::relay::Options as RelayOptions;
use crate::step;
use crate::workspace::Workspace;

/// The queries find cards with numbers up to this one.
const CARDS_MIN: usize = 130;

/// What to measure.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) plane: Option<Plane>,
    /// Sizes of the address book, growing; at the first one everything is measured
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000])]
    pub(crate) cards: Vec<usize>,
    /// How often everything but a PUT is run; the median counts
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Run Radicale and Xandikos from PyPI beside it, up to 10,000 cards
    #[arg(long)]
    pub(crate) peers: bool,
    /// Draw how the figures grow with the address book, as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    /// Be the server of nothing but HTTP that the others are compared with
    #[arg(long, hide = true)]
    pub(crate) bare_server: bool,
}

/// Something else than contacts.
#[derive(clap::Subcommand)]
pub(crate) enum Plane {
    /// Measure the relay and the tunnel, beside other ways from a visitor to a server at home
    Relay(relay::Options),
    /// Measure what a right login waits while many guess at passwords
    Logins(logins::Options),
    #[command(flatten)]
    Role(relay::Role),
}

/// A process of a run.
#[derive(Clone, Copy)]
pub(crate) enum Role<'a> {
    /// The server of nothing but HTTP that the others are compared with.
    BareServer,
    Relay(&'a relay::Role),
}

impl Options {
    /// What this process is, if it is a part of a run.
    pub(crate) fn role(&self) -> Option<Role<'_>> {
        match &self.plane {
            Some(Plane::Role(role)) => Some(Role::Relay(role)),
            None if self.bare_server => Some(Role::BareServer),
            _ => None,
        }
    }
}

/// Is one of the processes of a run until its end.
pub(crate) fn be(role: Role<'_>) -> Result<()> {
    match role {
        Role::BareServer => runtime()?.block_on(bare::serve()),
        Role::Relay(role) => relay::be(role),
    }
}

/// One thread for all connections leaves the other cores to the servers.
fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime of the benchmark client")
}

/// Measures a release build and prints tables.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    match &options.plane {
        Some(Plane::Relay(options)) => return relay::run(workspace, options),
        Some(Plane::Logins(options)) => return logins::run(workspace, options),
        Some(Plane::Role(role)) => return relay::be(role),
        None => {}
    }
    ensure!(options.rounds > 0, "--rounds must be at least 1");
    ensure!(
        options.cards.first().is_some_and(|it| *it >= CARDS_MIN)
            && options.cards.windows(2).all(|it| it[0] < it[1]),
        "--cards must be sizes that grow and begin with at least {CARDS_MIN}, such as 1000,10000"
    );
    if cfg!(debug_assertions) {
        return run_release(workspace, options);
    }
    runtime()?.block_on(measurement::run(workspace, options))
}

/// Builds everything as a release: a client that was not optimized would measure itself.
fn build_release(workspace: &Workspace) -> Result<()> {
    step::run(
        Command::new("cargo")
            .args(["build", "--quiet", "--release", "--locked"])
            .args(["--package", "cloudless", "--package", "xtask"])
            .current_dir(&workspace.root),
    )
}

/// Measures from a release build.
fn run_release(workspace: &Workspace, options: &Options) -> Result<()> {
    build_release(workspace)?;
    let sizes: Vec<String> = options.cards.iter().map(usize::to_string).collect();
    let mut bench = Command::new(workspace.target("release/xtask"));
    bench.args(["bench", "--cards", &sizes.join(",")]);
    bench.args(["--rounds", &options.rounds.to_string()]);
    if options.peers {
        bench.arg("--peers");
    }
    if let Some(plot) = &options.plot {
        bench.arg("--plot").arg(plot);
    }
    step::run(&mut bench)
}
