//! PUTs, each answered after its card is on disk, and what the disk alone costs.

use std::fs::{self, File};
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
use super::dav;
use super::statistics::median;
use super::table::{Cell, Row};

/// The cards are put in so many parts, of which the median counts.
const N_PARTS: usize = 5;
const N_FSYNCS_EACH_PART: usize = 40;
/// A server that lets one write in at a time is asked again so soon.
const LOCKED_WAIT: Duration = Duration::from_millis(5);

pub(crate) const PUT_ONE: &str = "PUT/s, 1 connection";
pub(crate) const PUT_EIGHT: &str = "PUT/s, 8 connections";
pub(crate) const PUT_LATENCY: &str = "PUT, 1 connection, p50 ms";

/// The rows of each target, and the disk's floor between them.
pub(crate) struct Written {
    pub(crate) rows: Vec<Vec<Row>>,
    /// One write of a card's size and its fsync.
    pub(crate) floor: Duration,
}

/// Deletes every card of the address book.
pub(crate) async fn clear(target: &Target) -> Result<()> {
    let mut connection = target.connect().await?;
    for href in dav::hrefs(&dav::propfind(&mut connection, "1", dav::LIST).await?) {
        let name = href.rsplit('/').next().unwrap_or_default();
        let deleted = [StatusCode::NO_CONTENT, StatusCode::OK];
        connection
            .send("DELETE", name, &[], String::new(), &deleted)
            .await?;
    }
    Ok(())
}

/// Puts `size` new cards to each target: a fifth over one connection, the others over eight. The
/// targets and the disk alone take turns.
pub(crate) async fn write(targets: &[&Target], size: usize, folder: &Path) -> Result<Written> {
    let middle = size.div_ceil(5);
    let mut floor = Vec::new();
    let mut each = vec![Vec::new(); targets.len()];
    let mut rates = Vec::new();
    for (numbers, n_connections) in [(0..middle, 1), (middle..size, 8)] {
        let mut times = vec![Vec::new(); targets.len()];
        let n_cards_each = numbers.len().div_ceil(N_PARTS).max(1);
        for start in numbers.clone().step_by(n_cards_each) {
            let part = start..(start + n_cards_each).min(numbers.end);
            floor.extend(fsync_times(folder)?);
            for ((target, times), each) in targets.iter().zip(&mut times).zip(&mut each) {
                let (all, ones) = put_all(target, part.clone(), n_connections).await?;
                times.push(all / u32::try_from(part.len()).context("more cards than can be")?);
                if n_connections == 1 {
                    each.extend(ones);
                }
            }
        }
        let per_second = |it: &Vec<Duration>| 1.0 / median(it).as_secs_f64();
        rates.push(times.iter().map(per_second).collect::<Vec<f64>>());
    }
    let rows = each.iter().enumerate().map(|(index, each)| {
        vec![
            Row(PUT_ONE, Cell::Rate(rates[0][index])),
            Row(PUT_EIGHT, Cell::Rate(rates[1][index])),
            Row(PUT_LATENCY, Cell::Millis(median(each))),
        ]
    });
    Ok(Written {
        rows: rows.collect(),
        floor: median(&floor),
    })
}

/// All cards with these numbers in one file.
pub(crate) fn write_file(path: &Path, numbers: Range<usize>) -> Result<()> {
    let context = || format!("write {}", path.display());
    let file = File::create(path).with_context(context)?;
    let mut file = std::io::BufWriter::new(file);
    for number in numbers {
        file.write_all(cards::card(number).as_bytes())
            .with_context(context)?;
    }
    file.flush().with_context(context)
}

fn fsync_times(folder: &Path) -> Result<Vec<Duration>> {
    let path = folder.join("fsync");
    let mut file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    let mut times = Vec::new();
    for _ in 0..N_FSYNCS_EACH_PART {
        let started = Instant::now();
        file.write_all(&[0; cards::SIZE])
            .context("append to a file")?;
        file.sync_data().context("fsync a file")?;
        times.push(started.elapsed());
    }
    fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    Ok(times)
}

/// Puts all these cards and tells how long it took and how long each one. They are dealt to the
/// connections in turn, so that each gets as many photos.
async fn put_all(
    target: &Target,
    numbers: Range<usize>,
    n_connections: usize,
) -> Result<(Duration, Vec<Duration>)> {
    let mut shares = Vec::new();
    for first in numbers.clone().take(n_connections) {
        let numbers = (first..numbers.end).step_by(n_connections);
        let cards: Vec<_> = numbers
            .map(|it| (cards::name(it), cards::card(it)))
            .collect();
        shares.push((target.connect().await?, cards));
    }
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for (mut connection, cards) in shares {
        tasks.spawn(async move {
            let mut times = Vec::new();
            for (name, card) in cards {
                let started = Instant::now();
                put(&mut connection, &name, card).await?;
                times.push(started.elapsed());
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(outcome) = tasks.join_next().await {
        times.extend(outcome.context("a task of the benchmark panicked")??);
    }
    Ok((started.elapsed(), times))
}

/// Puts a new card, again and again while the server is locked by another writer.
async fn put(connection: &mut Connection, name: &str, card: String) -> Result<()> {
    loop {
        let new = [("if-none-match", "*")];
        let (status, body) = connection.exchange("PUT", name, &new, card.clone()).await?;
        match status {
            StatusCode::CREATED => return Ok(()),
            StatusCode::LOCKED => sleep(LOCKED_WAIT).await,
            _ => bail!("PUT {name}: {status}: {}", String::from_utf8_lossy(&body)),
        }
    }
}
