//! One run: everything at the first size of the address book, then what is read at the larger ones.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use super::bare::Bare;
use super::client::Target;
use super::demo::Demo;
use super::disk::{Floor, N_FRAMES};
use super::goals::Verdicts;
use super::growth::Growth;
use super::memory::{self, Sampler};
use super::peer::{self, Peer, RADICALE, XANDIKOS};
use super::statistics::Thousands;
use super::table::{Cell, Column, Row, cpu_table, table};
use super::way::{Way, reads};
use super::writes::{PUT_LATENCY, PUT_ONE};
use super::{Options, cards, commands, photos, plot, writes};
use crate::workspace::Workspace;

/// The columns of the memory table.
const PROCESSES: [&str; 4] = ["home", "relay", RADICALE, XANDIKOS];
/// A server of nothing but HTTP, and the disk alone.
const FLOOR: &str = "floor";
/// Peers take hours beyond.
const PEERS_MAX: usize = 10_000;
/// At larger sizes than the first one, peers take minutes for each round.
const PEER_ROUNDS: usize = 1;
/// Books that are larger than this are read in fewer rounds.
const LARGE: usize = 10_000;
const LARGE_ROUNDS: usize = 3;
const PHOTOS_MAX: usize = 10_000;
const IDLE: &str = "idle";
const TITLE: &str = "Milliseconds by cards in the address book";

/// Runs everything and prints it.
pub(crate) async fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let started = Instant::now();
    // Beside the build, because a temporary folder is often no disk.
    let scratch = tempfile::tempdir_in(&workspace.target).context("make a folder in target")?;
    let demo = Demo::start(&workspace.target("release/cloudless"), scratch.path()).await?;
    writes::clear(&demo.local).await?;
    let mut run = Run {
        workspace,
        options,
        scratch: scratch.path(),
        bare: Bare::start().await?,
        demo,
        measured: Vec::new(),
        verdicts: Verdicts::default(),
    };
    print_heading();
    let memory = run.first().await?;
    run.larger(&memory).await?;
    let n_photos = run.photos(&memory).await?;
    run.conclude(memory, n_photos)?;
    println!(
        "\nMeasured in {:.0} minutes.",
        started.elapsed().as_secs_f64() / 60.0
    );
    run.demo.stop().await
}

struct Run<'a> {
    workspace: &'a Workspace,
    options: &'a Options,
    scratch: &'a Path,
    bare: Bare,
    demo: Demo,
    /// The sizes and their columns, ours first.
    measured: Vec<(usize, Vec<Column>)>,
    verdicts: Verdicts,
}

impl Run<'_> {
    /// Everything at the first size, whose cards come by PUT.
    async fn first(&mut self) -> Result<Sampler> {
        let size = self.options.cards[0];
        let folder = self.scratch.join("peers");
        let peers = if self.options.peers {
            Peer::both(self.workspace, &folder).await?
        } else {
            Vec::new()
        };
        let memory = Sampler::start(&self.pids(&peers))?;
        memory.phase(phase(size), self.pids(&peers))?;
        let mut ways = self.ways(self.options.rounds);
        let rivals = peers
            .iter()
            .map(|it| Way::new(it.name, &it.target, self.options.rounds));
        ways.extend(rivals);
        let (columns, floor, above_floor) = self.everything(&ways, size).await?;
        drop(ways);
        println!(
            "The disk alone: {} bytes appended and their fsync took {:.2} ms (p50); {N_FRAMES} \
             pages written over old ones, as a log does, and their fsync {:.2} ms.",
            cards::SIZE,
            floor.append.as_secs_f64() * 1e3,
            floor.overwrite.as_secs_f64() * 1e3,
        );
        self.verdicts.peers(&columns);
        self.verdicts.writes(&columns[0], above_floor);
        self.measured(size, columns);
        Ok(memory)
    }

    /// Reads at the larger sizes. Our cards are imported; those of the peers are on their disk
    /// before they start.
    async fn larger(&mut self, memory: &Sampler) -> Result<()> {
        for sizes in self.options.cards.windows(2) {
            let (before, size) = (sizes[0], sizes[1]);
            let name = format!("import of {}", Thousands(size - before));
            memory.phase(name, self.pids(&[]))?;
            let file = self.scratch.join("import.vcf");
            writes::write_file(&file, (before..size).map(cards::card))?;
            let path = file.to_str().context("a path that is no text")?;
            self.demo.contacts(&["import", path]).await?;
            fs::remove_file(&file).with_context(|| format!("remove {path}"))?;

            let folder = self.scratch.join(format!("peers-{size}"));
            let mut peers = Vec::new();
            if self.options.peers && size <= PEERS_MAX {
                for (peer, time) in Peer::both_loaded(self.workspace, &folder, size).await? {
                    let (name, n_cards) = (peer.name, Thousands(size));
                    println!(
                        "\n{name} with {n_cards} cards on its disk: {:.1} s until its first \
                         answers, which are not counted.",
                        time.as_secs_f64()
                    );
                    peers.push(peer);
                }
            }
            memory.phase(phase(size), self.pids(&peers))?;
            let rounds = self.rounds(size);
            let mut ways = self.ways(rounds);
            let peer_rounds = rounds.min(PEER_ROUNDS);
            let rivals = peers
                .iter()
                .map(|it| Way::new(it.name, &it.target, peer_rounds));
            ways.extend(rivals);
            let mut columns = reads(&ways, size).await?;
            drop(ways);
            drop(peers);
            columns[0].rows.extend(self.commands(size).await?);
            self.measured(size, columns);
        }
        Ok(())
    }

    /// The multiget with photos, and of how many cards it was.
    async fn photos(&self, memory: &Sampler) -> Result<usize> {
        let largest = self.options.cards.last().copied().unwrap_or_default();
        let n_cards = largest.min(PHOTOS_MAX);
        let name = format!("import of {} with photos", Thousands(n_cards));
        memory.phase(name, self.pids(&[]))?;
        photos::fill(&self.demo, n_cards, self.scratch).await?;
        memory.phase(photos_phase(n_cards), self.pids(&[]))?;
        print!("{}", photos::measure(&self.demo, n_cards).await?);
        Ok(n_cards)
    }

    /// Growth, memory and the goals.
    fn conclude(&mut self, memory: Sampler, n_photos: usize) -> Result<()> {
        let ours = self.measured.iter();
        let growth = Growth(ours.map(|(size, columns)| (*size, &columns[0])).collect());
        if let [smallest, .., largest] = self.measured.as_slice() {
            print!("{}", growth.table());
            let verdicts = &mut self.verdicts;
            verdicts.growth((smallest.0, &smallest.1[0]), (largest.0, &largest.1[0]));
            verdicts.linear(&growth);
        }
        let memory: memory::Report = memory.finish(PROCESSES.to_vec())?;
        print!("{memory}");
        let size = self.options.cards[0];
        let peaks = [
            (IDLE.to_owned(), 20.0),
            (phase(size), 50.0),
            (photos_phase(n_photos), 100.0),
        ];
        for (phase, max) in &peaks {
            let peak = memory.peak(0, Some(phase));
            self.verdicts.memory(phase, *max, peak);
        }
        let all = "the peak of everything, imports included";
        self.verdicts.memory(all, 100.0, memory.peak(0, None));
        print!("{}", self.verdicts);
        if let Some(path) = &self.options.plot {
            fs::write(path, plot::growth(TITLE, &growth.series()))
                .with_context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }

    /// Fills the address books and measures all of them, and the disk.
    async fn everything(&self, ways: &[Way<'_>], size: usize) -> Result<(Vec<Column>, Floor, f64)> {
        // What comes through the relay needs a book of its own, or it would find its cards there.
        let relay_book = self.demo.local.book.replace("/contacts/", "/bench/");
        let relay_book = self.demo.public.with_book(relay_book);
        peer::make_book(&relay_book).await?;
        let written_ways = ways.iter().filter(|it| !it.is_floor);
        let mut targets: Vec<&Target> = written_ways.map(|it| it.target).collect();
        targets[1] = &relay_book;
        let written = writes::write(&targets, size, self.scratch).await?;
        let mut columns = reads(ways, size).await?;
        let servers = columns.iter_mut().filter(|it| !it.is_floor);
        for (column, mut rows) in servers.zip(written.rows) {
            rows.append(&mut column.rows);
            column.rows = rows;
        }
        let least = written.floor.least();
        for column in columns.iter_mut().filter(|it| it.is_floor) {
            let rate = Cell::Rate(1.0 / least.as_secs_f64());
            column.rows.push(Row::new(PUT_ONE, rate));
            column.rows.push(Row::new(PUT_LATENCY, Cell::Millis(least)));
        }
        columns[0].rows.extend(self.commands(size).await?);
        Ok((columns, written.floor, written.above_floor))
    }

    async fn commands(&self, size: usize) -> Result<Vec<Row>> {
        commands::measure(&self.demo, self.rounds(size), self.scratch).await
    }

    fn measured(&mut self, size: usize, columns: Vec<Column>) {
        print!("{}", table(size, &columns));
        print!("{}", cpu_table(size, &columns));
        self.verdicts.relay(size, &columns[0], &columns[1]);
        self.measured.push((size, columns));
    }

    /// Ours, and what nobody can be faster than.
    fn ways(&self, rounds: usize) -> Vec<Way<'_>> {
        let mut floor = Way::new(FLOOR, &self.bare.target, rounds);
        floor.is_floor = true;
        vec![
            Way::new("loopback", &self.demo.local, rounds),
            Way::new("through the relay", &self.demo.public, rounds),
            floor,
        ]
    }

    fn rounds(&self, size: usize) -> usize {
        if size > LARGE {
            self.options.rounds.min(LARGE_ROUNDS)
        } else {
            self.options.rounds
        }
    }

    /// In the order of [`PROCESSES`].
    fn pids(&self, peers: &[Peer]) -> Vec<Option<u32>> {
        let peer = |name| peers.iter().find(|it| it.name == name)?.pid();
        vec![
            Some(self.demo.home_pid),
            Some(self.demo.relay_pid),
            peer(RADICALE),
            peer(XANDIKOS),
        ]
    }
}

fn phase(size: usize) -> String {
    format!("N = {}", Thousands(size))
}

fn photos_phase(n_cards: usize) -> String {
    format!("multiget of {} with photos", Thousands(n_cards))
}

/// What the figures were taken on.
fn print_heading() {
    let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("# cloudless benchmark\n");
    println!(
        "{n_cores} cores, {}, load {} at the start; client and servers share them over loopback. \
         Cards of {} bytes, every {}th with a photo of 20 KiB. Medians; `x` is how many times \
         better loopback is.",
        std::env::consts::ARCH,
        load_average(),
        cards::SIZE,
        cards::PHOTO_EVERY
    );
}

/// How many processes wanted to run in the last minute, ours among them.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}
