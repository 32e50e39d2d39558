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

use self::client::Target;
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

/// Figures of one server over one way to it, at one size.
struct Figures {
    writes: Writes,
    small: SmallRequests,
    first_sync: FirstSync,
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
    let local = figures(&demo.local, "local", first, options.rounds).await?;
    let small = scenario::small_requests(&demo.public, "local").await?;
    let first_sync = scenario::first_sync(&demo.public, first, options.rounds).await?;
    let writes = scenario::write(&demo.public, "public", 0..first).await?;
    let public = Figures {
        writes,
        small,
        first_sync,
    };
    let peer = match options.peers {
        true => Some(measure_radicale(workspace, first, options.rounds).await?),
        false => None,
    };
    print!(
        "{}",
        table(
            first,
            &local.rows(),
            &public.rows(),
            peer.map(|it| it.rows()).as_deref()
        )
    );

    // The relay's writes went into the same book.
    let mut n_cards = 2 * first;
    for &size in &options.cards[1..] {
        ensure!(
            size >= n_cards,
            "--cards: {size} is too near to {first}; take {n_cards} or more"
        );
        scenario::write(&demo.local, "more", n_cards..size).await?;
        n_cards = size;
        let local = scenario::first_sync(&demo.local, size, options.rounds).await?;
        let public = scenario::first_sync(&demo.public, size, options.rounds).await?;
        print!("{}", table(size, &local.rows(), &public.rows(), None));
    }
    print!("{}", memory.finish()?);
    demo.stop().await
}

async fn figures(
    target: &Target,
    prefix: &'static str,
    size: usize,
    rounds: usize,
) -> Result<Figures> {
    Ok(Figures {
        writes: scenario::write(target, prefix, 0..size).await?,
        small: scenario::small_requests(target, prefix).await?,
        first_sync: scenario::first_sync(target, size, rounds).await?,
    })
}

async fn measure_radicale(workspace: &Workspace, size: usize, rounds: usize) -> Result<Figures> {
    let scratch = tempfile::tempdir_in(&workspace.target).context("make a folder in target")?;
    let radicale = Radicale::start(workspace, scratch.path()).await?;
    figures(&radicale.target, "peer", size, rounds).await
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

impl Figures {
    fn rows(&self) -> Vec<Row> {
        let mut rows = vec![
            Row("PUT/s, 1 connection", Cell::Rate(self.writes.one)),
            Row("PUT/s, 8 connections", Cell::Rate(self.writes.eight)),
            Row("GET of a card, p50 ms", Cell::Millis(self.small.get.p50)),
            Row("GET of a card, p99 ms", Cell::Millis(self.small.get.p99)),
            Row(
                "no-change poll (getctag), p50 ms",
                Cell::Millis(self.small.poll.p50),
            ),
            Row(
                "no-change poll (getctag), p99 ms",
                Cell::Millis(self.small.poll.p99),
            ),
        ];
        rows.extend(self.first_sync.rows());
        rows
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
