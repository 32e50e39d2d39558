//! `cargo xtask bench`: speed and memory of relay and home, as Markdown on standard output.

mod cards;
mod client;
mod demo;
mod memory;
mod radicale;
mod scenario;
mod statistics;
mod table;

use std::process::Command;

use anyhow::{Context, Result, ensure};

use self::demo::Demo;
use self::radicale::Radicale;
use self::scenario::{FirstSync, SmallRequests, Writes};
use self::table::{Cell, Row, table};
use crate::step;
use crate::workspace::Workspace;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Sizes of the address book, growing; at the first one everything is measured
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000])]
    pub(crate) cards: Vec<usize>,
    /// How often each first sync is run; the median counts
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Run Radicale from PyPI beside it, at the first size
    #[arg(long)]
    pub(crate) peers: bool,
}

/// Measures a release build and prints tables.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    ensure!(options.rounds > 0, "--rounds must be at least 1");
    ensure!(
        options.cards.first().is_some_and(|it| *it > 0) && options.cards.is_sorted(),
        "--cards must be sizes that grow, such as 1000,10000"
    );
    if cfg!(debug_assertions) {
        return run_release(workspace, options);
    }
    // One thread for all connections leaves the other cores to the servers.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime of the benchmark client")?;
    runtime.block_on(measure(workspace, options))
}

/// Builds everything as a release and measures from there: a client that was not optimized would
/// measure itself.
fn run_release(workspace: &Workspace, options: &Options) -> Result<()> {
    step::run(
        Command::new("cargo")
            .args(["build", "--quiet", "--release", "--locked"])
            .args(["--package", "cloudless", "--package", "xtask"])
            .current_dir(&workspace.root),
    )?;
    let sizes: Vec<String> = options.cards.iter().map(usize::to_string).collect();
    let mut bench = Command::new(workspace.target("release/xtask"));
    bench.args(["bench", "--cards", &sizes.join(",")]);
    bench.args(["--rounds", &options.rounds.to_string()]);
    if options.peers {
        bench.arg("--peers");
    }
    step::run(&mut bench)
}

async fn measure(workspace: &Workspace, options: &Options) -> Result<()> {
    // Beside the build, because a temporary folder is often no disk.
    let scratch = tempfile::tempdir_in(&workspace.target).context("make a folder in target")?;
    print_heading(scratch.path())?;
    let demo = Demo::start(&workspace.target("release/cloudless"), scratch.path()).await?;
    scenario::clear(&demo.local).await?;
    let memory = memory::Sampler::start(&[("relay", demo.relay_pid), ("home", demo.home_pid)])?;

    let first = options.cards[0];
    let radicale = match options.peers {
        true => Some(Radicale::start(workspace, scratch.path()).await?),
        false => None,
    };
    let mut targets = vec![&demo.local, &demo.public];
    targets.extend(radicale.as_ref().map(|it| &it.target));

    let mut writes = vec![scenario::write(&demo.local, 0..first).await?];
    if let Some(radicale) = &radicale {
        writes.push(scenario::write(&radicale.target, 0..first).await?);
    }
    let small = scenario::small_requests(&targets).await?;
    let first_sync = scenario::first_sync(&targets, first, options.rounds).await?;
    // These go into the same book as those over loopback, so they come last.
    writes.insert(1, scenario::write(&demo.public, first..2 * first).await?);
    let rows: Vec<Vec<Row>> = writes
        .iter()
        .zip(&small)
        .zip(&first_sync)
        .map(|((writes, small), first_sync)| {
            [writes.rows(), small.rows(), first_sync.rows()].concat()
        })
        .collect();
    print!("{}", table(first, &rows));
    drop(radicale);

    let mut n_cards = 2 * first;
    for &size in &options.cards[1..] {
        ensure!(
            size >= n_cards,
            "--cards: after {first} comes at least {n_cards}, not {size}"
        );
        scenario::write(&demo.local, n_cards..size).await?;
        n_cards = size;
        let targets = [&demo.local, &demo.public];
        let first_sync = scenario::first_sync(&targets, size, options.rounds).await?;
        let rows: Vec<Vec<Row>> = first_sync.iter().map(FirstSync::rows).collect();
        print!("{}", table(size, &rows));
    }
    print!("{}", memory.finish()?);
    demo.stop().await
}

/// What the figures were taken on, and what the disk alone costs.
fn print_heading(folder: &std::path::Path) -> Result<()> {
    let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
    let fsync = statistics::median(&scenario::fsync_times(folder)?);
    println!("# cloudless benchmark\n");
    println!(
        "{n_cores} cores, {}, all on loopback. One fsync of a small append: p50 {:.2} ms.",
        std::env::consts::ARCH,
        fsync.as_secs_f64() * 1e3
    );
    println!(
        "Cards of {} bytes, every {}th with a photo of 20 KiB. Medians.",
        cards::SIZE,
        cards::PHOTO_EVERY
    );
    Ok(())
}

impl Writes {
    fn rows(&self) -> Vec<Row> {
        vec![
            Row("PUT/s, 1 connection", Cell::Rate(self.one)),
            Row("PUT/s, 8 connections", Cell::Rate(self.eight)),
        ]
    }
}

impl SmallRequests {
    fn rows(&self) -> Vec<Row> {
        vec![
            Row("GET of a card, p50 ms", Cell::Millis(self.get.p50)),
            Row("GET of a card, p99 ms", Cell::Millis(self.get.p99)),
            Row(
                "no-change poll (getctag), p50 ms",
                Cell::Millis(self.poll.p50),
            ),
            Row(
                "no-change poll (getctag), p99 ms",
                Cell::Millis(self.poll.p99),
            ),
        ]
    }
}

impl FirstSync {
    fn rows(&self) -> Vec<Row> {
        vec![
            Row(
                "first sync as DAVx5 (multiget of 10), s",
                Cell::Seconds(self.davx5),
            ),
            Row(
                "first sync as Thunderbird (multiget of 500), s",
                Cell::Seconds(self.thunderbird),
            ),
        ]
    }
}
