//! `cargo xtask bench`: speed and memory of relay and home, as Markdown on standard output.

mod cards;
mod client;
mod dav;
mod demo;
mod first_sync;
mod goals;
mod memory;
mod peer;
mod plot;
mod requests;
mod statistics;
mod table;
mod writes;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use self::client::Target;
use self::demo::Demo;
use self::goals::Verdicts;
use self::peer::Peer;
use self::plot::Series;
use self::statistics::Thousands;
use self::table::{Cell, Column, table};
use crate::step;
use crate::workspace::Workspace;

/// The rows whose growth is drawn.
const GROWTH: [&str; 7] = [
    first_sync::DAVX5,
    first_sync::THUNDERBIRD,
    requests::FN_CONTAINS,
    requests::FN_EQUALS,
    requests::INCREMENTAL,
    requests::CTAG_POLL,
    requests::GET,
];
/// First syncs of larger books are run this often at most.
const LARGE: usize = 10_000;
const LARGE_ROUNDS: usize = 3;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Sizes of the address book, growing; at the first one everything is measured
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000])]
    pub(crate) cards: Vec<usize>,
    /// How often everything but a PUT is run; the median counts
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Run Radicale and Xandikos from PyPI beside it, at the first size
    #[arg(long)]
    pub(crate) peers: bool,
    /// Draw how the figures grow with the address book, as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
}

/// Measures a release build and prints tables.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    ensure!(options.rounds > 0, "--rounds must be at least 1");
    ensure!(
        options.cards.first().is_some_and(|it| *it >= 500) && options.cards.is_sorted(),
        "--cards must be sizes that grow and begin with at least 500, such as 1000,10000"
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
    if let Some(plot) = &options.plot {
        bench.arg("--plot").arg(plot);
    }
    step::run(&mut bench)
}

async fn measure(workspace: &Workspace, options: &Options) -> Result<()> {
    // Beside the build, because a temporary folder is often no disk.
    let scratch = tempfile::tempdir_in(&workspace.target).context("make a folder in target")?;
    let demo = Demo::start(&workspace.target("release/cloudless"), scratch.path()).await?;
    writes::clear(&demo.local).await?;
    let mut peers = Vec::new();
    if options.peers {
        peers.push(Peer::radicale(workspace, scratch.path()).await?);
        peers.push(Peer::xandikos(workspace, scratch.path()).await?);
    }
    let mut processes = vec![("home", demo.home_pid), ("relay", demo.relay_pid)];
    for peer in &peers {
        processes.push((peer.name, peer.pid()?));
    }
    let memory = memory::Sampler::start(&processes)?;
    let mut verdicts = Verdicts::default();

    let mut sizes = options.cards.iter().copied();
    let first = sizes.next().context("--cards is empty")?;
    memory.phase(format!("N = {}", Thousands(first)))?;
    let (columns, floor) = everything(&demo, &peers, first, options.rounds, &scratch).await?;
    print_heading(floor);
    print!("{}", table(first, &columns));
    verdicts.peers(&columns);
    verdicts.writes(&columns[0], floor);
    verdicts.relay(first, &columns[0], &columns[1]);
    // They would only take memory and time from what follows.
    drop(peers);

    let mut measured = vec![(first, columns)];
    let mut n_cards = first;
    for size in sizes {
        memory.phase(format!("import of {}", Thousands(size - n_cards)))?;
        let file = scratch.path().join("import.vcf");
        writes::write_file(&file, n_cards..size)?;
        demo.import(&file).await?;
        fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
        n_cards = size;
        memory.phase(format!("N = {}", Thousands(size)))?;
        let columns = reads(&our_columns(&demo), size, options.rounds).await?;
        print!("{}", table(size, &columns));
        verdicts.relay(size, &columns[0], &columns[1]);
        measured.push((size, columns));
    }
    if let [smallest, .., largest] = measured.as_slice() {
        verdicts.growth((smallest.0, &smallest.1[0]), (largest.0, &largest.1[0]));
    }
    let names = processes.iter().map(|(name, _)| *name).collect();
    let memory = memory.finish(names)?;
    print!("{memory}");
    let (idle, peak) = memory.idle_and_peak(0);
    verdicts.memory(idle, peak);
    print!("{verdicts}");
    if let Some(path) = &options.plot {
        let svg = plot::growth(&growth_series(&measured));
        fs::write(path, svg).with_context(|| format!("write {}", path.display()))?;
    }
    demo.stop().await
}

/// The ways to the measured servers, ours first.
type Ways<'a> = Vec<(&'static str, &'a Target)>;

fn our_columns(demo: &Demo) -> Ways<'_> {
    vec![
        ("loopback", &demo.local),
        ("through the relay", &demo.public),
    ]
}

/// Fills the address books and measures all of them, and the disk.
async fn everything(
    demo: &Demo,
    peers: &[Peer],
    size: usize,
    rounds: usize,
    scratch: &tempfile::TempDir,
) -> Result<(Vec<Column>, Duration)> {
    let mut ways = our_columns(demo);
    ways.extend(peers.iter().map(|it| (it.name, &it.target)));
    // What comes through the relay needs a book of its own, or it would find its cards there.
    let relay_book = demo.local.book.replace("/contacts/", "/bench/");
    let relay_book = demo.public.with_book(relay_book);
    peer::make_book(&relay_book).await?;
    let mut targets: Vec<&Target> = ways.iter().map(|(_, target)| *target).collect();
    targets[1] = &relay_book;
    let written = writes::write(&targets, size, scratch.path()).await?;
    let mut columns = reads(&ways, size, rounds).await?;
    for (column, mut rows) in columns.iter_mut().zip(written.rows) {
        rows.append(&mut column.rows);
        column.rows = rows;
    }
    Ok((columns, written.floor))
}

async fn reads(ways: &Ways<'_>, size: usize, rounds: usize) -> Result<Vec<Column>> {
    let targets: Vec<&Target> = ways.iter().map(|(_, target)| *target).collect();
    let n_syncs = if size > LARGE {
        rounds.min(LARGE_ROUNDS)
    } else {
        rounds
    };
    let syncs = first_sync::measure(&targets, size, n_syncs).await?;
    let requests = requests::measure(&targets, rounds).await?;
    let columns = ways.iter().zip(syncs).zip(requests);
    let columns = columns.map(|((way, syncs), requests)| Column {
        name: way.0,
        rows: [syncs, requests].concat(),
    });
    Ok(columns.collect())
}

/// The growth over loopback, in milliseconds.
fn growth_series(measured: &[(usize, Vec<Column>)]) -> Vec<Series> {
    let milliseconds = |cell| match cell {
        Cell::Seconds(time) | Cell::Millis(time) => time.as_secs_f64() * 1e3,
        Cell::Rate(rate) => 1e3 / rate,
    };
    let series = GROWTH.iter().map(|row| {
        let points = measured.iter().filter_map(|(size, columns)| {
            let cell = columns[0].cell(row)?;
            Some((*size as f64, milliseconds(cell)))
        });
        let name = row.trim_end_matches(", s").trim_end_matches(", p50 ms");
        Series {
            name: name.to_owned(),
            points: points.collect(),
        }
    });
    series.collect()
}

/// What the figures were taken on, and what the disk alone costs.
fn print_heading(floor: Duration) {
    let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("# cloudless benchmark\n");
    println!(
        "{n_cores} cores, {}, load {}, all on loopback. A write of {} bytes and its fsync: p50 \
         {:.2} ms.",
        std::env::consts::ARCH,
        load(),
        cards::SIZE,
        floor.as_secs_f64() * 1e3
    );
    println!(
        "Cards of {} bytes, every {}th with a photo of 20 KiB. Medians; `x` is how many times \
         better loopback is.",
        cards::SIZE,
        cards::PHOTO_EVERY
    );
}

/// How many processes wanted to run in the last minute, ours among them.
fn load() -> String {
    let text = fs::read_to_string(Path::new("/proc/loadavg")).unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}
