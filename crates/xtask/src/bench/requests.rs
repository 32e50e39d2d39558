//! Requests of every day: polls, one change, a search, a card.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::cpu::{Stopwatch, Sum};
use super::dav;
use super::session::Session;
use super::statistics::median;
use super::table::{Cell, Row};
use super::way::Way;

/// In each round a target is asked in so many turns…
const N_TURNS: usize = 4;
/// …and so often in each of them for each kind…
const N_EACH_TURN: usize = 5;
/// …but not much longer than this in all turns, because some servers take seconds for a search.
const ROUND_MAX: Duration = Duration::from_secs(1);

pub(crate) const GET: &str = "GET of a card, p50 ms";
pub(crate) const CTAG_POLL: &str = "no-change poll (getctag), p50 ms";
pub(crate) const TOKEN_POLL: &str = "no-change poll (sync-token), p50 ms";
pub(crate) const INCREMENTAL: &str = "incremental sync after one change, p50 ms";
pub(crate) const CHANGE: &str = "PUT of a changed card, p50 ms";
pub(crate) const FN_CONTAINS: &str = "query FN contains, p50 ms";
pub(crate) const FN_EQUALS: &str = "query FN equals, p50 ms";

/// What is asked, and its row.
struct Kind {
    row: &'static str,
    ask: Ask,
}

/// What a synced client asks.
#[derive(Clone, Copy)]
pub(crate) enum Ask {
    Get,
    Poll(&'static str),
    /// One card was changed, which has a row of its own; the client asks for changes and fetches
    /// that card.
    Incremental,
    Query(Query),
}

/// A search for cards by one property.
#[derive(Clone, Copy)]
pub(crate) struct Query {
    pub(crate) property: &'static str,
    pub(crate) match_type: &'static str,
    pub(crate) text: &'static str,
    pub(crate) n_found: usize,
}

impl Kind {
    const fn new(row: &'static str, ask: Ask) -> Self {
        Self { row, ask }
    }

    const fn query(row: &'static str, text: [&'static str; 3], n_found: usize) -> Self {
        let [property, match_type, text] = text;
        let query = Query {
            property,
            match_type,
            text,
            n_found,
        };
        Self::new(row, Ask::Query(query))
    }

    /// Whether even a server of nothing but HTTP answers it.
    fn is_basic(&self) -> bool {
        matches!(self.ask, Ask::Get | Ask::Poll(_))
    }

    /// Whether it is asked once unmeasured; the other queries find the same indexes.
    fn warms(&self) -> bool {
        !matches!(self.ask, Ask::Query(query) if query.match_type != "contains")
    }
}

const KINDS: [Kind; 13] = [
    Kind::new(GET, Ask::Get),
    Kind::new(CTAG_POLL, Ask::Poll(dav::CTAG)),
    Kind::new(TOKEN_POLL, Ask::Poll(dav::TOKEN)),
    Kind::new(INCREMENTAL, Ask::Incremental),
    Kind::query(FN_CONTAINS, ["FN", "contains", "number 000123"], 1),
    Kind::query(
        "query FN starts-with, p50 ms",
        ["FN", "starts-with", "ada number 00012"],
        10,
    ),
    Kind::query(FN_EQUALS, ["FN", "equals", "ada number 000123"], 1),
    Kind::query(
        "query EMAIL contains, p50 ms",
        ["EMAIL", "contains", "000123@example"],
        1,
    ),
    Kind::query(
        "query EMAIL starts-with, p50 ms",
        ["EMAIL", "starts-with", "ada.00012"],
        10,
    ),
    Kind::query(
        "query EMAIL equals, p50 ms",
        ["EMAIL", "equals", "ada.000123@example.org"],
        1,
    ),
    Kind::query(
        "query TEL contains, p50 ms",
        ["TEL", "contains", "20 00000123"],
        1,
    ),
    Kind::query(
        "query TEL starts-with, p50 ms",
        ["TEL", "starts-with", "+44 20 0000012"],
        10,
    ),
    Kind::query(
        "query TEL equals, p50 ms",
        ["TEL", "equals", "+44 20 00000123"],
        1,
    ),
];

/// The rows of the queries.
pub(crate) fn query_rows() -> impl Iterator<Item = &'static str> {
    let is_query = |it: &&Kind| matches!(it.ask, Ask::Query(_));
    KINDS.iter().filter(is_query).map(|it| it.row)
}

/// What one way took.
struct Measured<'a> {
    way: Way<'a>,
    session: Session,
    times: Vec<Vec<Duration>>,
    cpus: Vec<Sum>,
    changes: Vec<Duration>,
}

/// Asks everything; the ways take turns.
pub(crate) async fn measure(ways: &[Way<'_>]) -> Result<Vec<Vec<Row>>> {
    let mut all = Vec::new();
    for (number, way) in ways.iter().enumerate() {
        let mut measured = Measured {
            way: *way,
            session: Session::start(way, number).await?,
            times: vec![Vec::new(); KINDS.len()],
            cpus: vec![Sum::default(); KINDS.len()],
            changes: Vec::new(),
        };
        // So that every server has its indexes and caches.
        for kind in KINDS.iter().filter(|it| it.warms()) {
            if matches!(kind.ask, Ask::Incremental) && !way.is_floor {
                measured.session.change().await?;
            }
            if kind.is_basic() || !way.is_floor {
                let asked = measured.session.ask(kind.ask).await;
                asked.with_context(|| format!("{}: {}", way.name, kind.row))?;
            }
        }
        all.push(measured);
    }
    let rounds = ways.iter().map(|it| it.rounds).max().unwrap_or_default();
    for round in 0..rounds {
        for (index, kind) in KINDS.iter().enumerate() {
            let mut spent = vec![Duration::ZERO; all.len()];
            for _ in 0..N_TURNS {
                for (measured, spent) in all.iter_mut().zip(&mut spent) {
                    let is_asked = round < measured.way.rounds && *spent < ROUND_MAX;
                    if is_asked && (kind.is_basic() || !measured.way.is_floor) {
                        let turn = measured.turn(index, kind, ROUND_MAX - *spent).await;
                        let context = || format!("{}: {}", measured.way.name, kind.row);
                        *spent += turn.with_context(context)?;
                    }
                }
            }
        }
    }
    Ok(all.iter().map(Measured::rows).collect())
}

impl Measured<'_> {
    /// Asks for the kind with this index again and again and tells how long it took in all.
    async fn turn(&mut self, index: usize, kind: &Kind, most: Duration) -> Result<Duration> {
        let started = Instant::now();
        let stopwatch = Stopwatch::start(&self.way.target.pids)?;
        let is_incremental = matches!(kind.ask, Ask::Incremental);
        let mut n_asked = 0;
        while n_asked < N_EACH_TURN && started.elapsed() < most {
            if is_incremental {
                self.changes.push(self.session.change().await?);
            }
            self.times[index].push(self.session.ask(kind.ask).await?);
            n_asked += 1;
        }
        // The change would be counted, too.
        if !is_incremental {
            self.cpus[index].add(stopwatch.stop()?, n_asked);
        }
        Ok(started.elapsed())
    }

    fn rows(&self) -> Vec<Row> {
        let kinds = KINDS.iter().zip(self.times.iter().zip(&self.cpus));
        let mut rows: Vec<Row> = kinds
            .filter(|(_, (times, _))| !times.is_empty())
            .map(|(kind, (times, cpu))| {
                Row::new(kind.row, Cell::Millis(median(times))).with_cpu(cpu.mean())
            })
            .collect();
        if !self.changes.is_empty() {
            rows.push(Row::new(CHANGE, Cell::Millis(median(&self.changes))));
        }
        rows
    }
}
