//! PUTs, each answered after its card is on disk, and what the disk alone costs.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use http::StatusCode;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::cards;
use super::client::{Connection, Target};
use super::cpu::{Stopwatch, Sum};
use super::dav;
use super::disk::{Disk, Floor};
use super::statistics::{median, middle_of};
use super::table::{Cell, Row};

/// The cards are put in so many parts, of which the median counts.
const N_PARTS: usize = 10;
/// A server that lets one write in at a time is asked again so soon.
const LOCKED_WAIT: Duration = Duration::from_millis(5);

pub(crate) const PUT_ONE: &str = "PUT/s, 1 connection";
pub(crate) const PUT_EIGHT: &str = "PUT/s, 8 connections";
pub(crate) const PUT_LATENCY: &str = "PUT, 1 connection, p50 ms";

/// The rows of each target, and the disk's floor between them.
pub(crate) struct Written {
    pub(crate) rows: Vec<Vec<Row>>,
    pub(crate) floor: Floor,
    /// How much longer a PUT of the first target over one connection took than the disk alone had
    /// taken just before, in milliseconds.
    pub(crate) above_floor: f64,
}

/// What putting over so many connections took; the times are of one card.
#[derive(Clone, Default)]
struct Puts {
    parts: Vec<Duration>,
    each: Vec<Duration>,
    cpu: Sum,
}

/// Deletes every card of the address book.
pub(crate) async fn clear(target: &Target) -> Result<()> {
    let mut connection = target.connect().await?;
    for href in dav::hrefs(&dav::propfind(&mut connection, "1", dav::LIST).await?) {
        let name = href.rsplit('/').next().unwrap_or_default();
        let deleted = [StatusCode::NO_CONTENT, StatusCode::OK];
        connection.send("DELETE", name, &[], "", &deleted).await?;
    }
    Ok(())
}

/// Puts `size` new cards to each target. In each part a fifth of them goes over one connection and
/// the others over eight; the disk alone and the targets take turns.
pub(crate) async fn write(targets: &[&Target], size: usize, folder: &Path) -> Result<Written> {
    let mut disk = Disk::create(folder)?;
    let mut above = Vec::new();
    let mut ones = vec![Puts::default(); targets.len()];
    let mut eights = ones.clone();
    let n_cards_each = size.div_ceil(N_PARTS).max(1);
    for start in (0..size).step_by(n_cards_each) {
        let end = (start + n_cards_each).min(size);
        let middle = start + (end - start).div_ceil(5);
        let floor = disk.measure()?.least();
        for (index, target) in targets.iter().enumerate() {
            let one = put_all(target, start..middle, 1, &mut ones[index]).await?;
            if index == 0 {
                above.push((one.as_secs_f64() - floor.as_secs_f64()) * 1e3);
            }
            put_all(target, middle..end, 8, &mut eights[index]).await?;
        }
    }
    let rate = |it: &Puts| Cell::Rate(1.0 / median(&it.parts).as_secs_f64());
    let rows = ones.iter().zip(&eights).map(|(one, eight)| {
        vec![
            Row::new(PUT_ONE, rate(one)).with_cpu(one.cpu.mean()),
            Row::new(PUT_EIGHT, rate(eight)).with_cpu(eight.cpu.mean()),
            Row::new(PUT_LATENCY, Cell::Millis(median(&one.each))),
        ]
    });
    Ok(Written {
        rows: rows.collect(),
        floor: disk.finish()?,
        above_floor: middle_of(above),
    })
}

/// The cards in one file.
pub(crate) fn write_file(path: &Path, cards: impl Iterator<Item = String>) -> Result<()> {
    let context = || format!("write {}", path.display());
    let file = File::create(path).with_context(context)?;
    let mut file = std::io::BufWriter::new(file);
    for card in cards {
        file.write_all(card.as_bytes()).with_context(context)?;
    }
    file.flush().with_context(context)
}

/// Puts all these cards and tells the median of one. They are dealt to the connections in turn, so
/// that each gets as many photos.
async fn put_all(
    target: &Target,
    numbers: Range<usize>,
    n_connections: usize,
    puts: &mut Puts,
) -> Result<Duration> {
    let n_cards = numbers.len();
    let mut shares = Vec::new();
    for first in numbers.clone().take(n_connections) {
        let numbers = (first..numbers.end).step_by(n_connections);
        let cards: Vec<_> = numbers
            .map(|it| (cards::name(it), cards::card(it)))
            .collect();
        shares.push((target.connect().await?, cards));
    }
    let stopwatch = Stopwatch::start(&target.pids)?;
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for (mut connection, cards) in shares {
        tasks.spawn(async move {
            let mut times = Vec::new();
            for (name, card) in cards {
                let started = Instant::now();
                put(&mut connection, &name, &card).await?;
                times.push(started.elapsed());
            }
            anyhow::Ok(times)
        });
    }
    let mut each = Vec::new();
    while let Some(outcome) = tasks.join_next().await {
        each.extend(outcome.context("a task of the benchmark panicked")??);
    }
    let time = started.elapsed();
    puts.cpu.add(stopwatch.stop()?, n_cards);
    let n_cards = u32::try_from(n_cards).context("more cards than can be")?;
    puts.parts.extend(time.checked_div(n_cards));
    let one = median(&each);
    puts.each.append(&mut each);
    Ok(one)
}

/// Puts a new card, again and again while the server is locked by another writer.
async fn put(connection: &mut Connection, name: &str, card: &str) -> Result<()> {
    loop {
        let new = [("if-none-match", "*")];
        let (status, body) = connection.exchange("PUT", name, &new, card).await?;
        match status {
            StatusCode::CREATED => return Ok(()),
            StatusCode::LOCKED => sleep(LOCKED_WAIT).await,
            _ => bail!("PUT {name}: {status}: {}", String::from_utf8_lossy(&body)),
        }
    }
}
