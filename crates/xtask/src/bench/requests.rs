//! Requests of every day: polls, one change, a search, a card.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use tokio::task::JoinSet;

use super::cards;
use super::client::{Connection, Target};
use super::dav;
use super::statistics::median;
use super::table::{Cell, Row};

/// In each round a target is asked so often for each kind…
const N_EACH_TURN: usize = 20;
/// …but not much longer than this, because some servers take seconds for a search.
const TURN_MAX: Duration = Duration::from_secs(1);
const RATE_CONNECTIONS: usize = 4;
const N_EACH_CONNECTION: usize = 100;
/// The card that changes; one that `KINDS` does not find.
const CHANGING: usize = 1;

pub(crate) const GET: &str = "GET of a card, p50 ms";
pub(crate) const FN_CONTAINS: &str = "query FN contains, p50 ms";
pub(crate) const FN_EQUALS: &str = "query FN equals, p50 ms";
pub(crate) const GET_RATE: &str = "GET/s, 4 connections";
pub(crate) const CTAG_POLL: &str = "no-change poll (getctag), p50 ms";
pub(crate) const TOKEN_POLL: &str = "no-change poll (sync-token), p50 ms";
pub(crate) const INCREMENTAL: &str = "incremental sync after one change, p50 ms";

/// What is asked, and its row.
struct Kind {
    row: &'static str,
    ask: Ask,
}

enum Ask {
    Get,
    Poll(&'static str),
    /// One card was changed, untimed; the client asks for changes and fetches that card.
    Incremental,
    Query {
        property: &'static str,
        match_type: &'static str,
        text: &'static str,
        n_found: usize,
    },
}

const fn query(
    row: &'static str,
    property: &'static str,
    match_type: &'static str,
    text: &'static str,
    n_found: usize,
) -> Kind {
    let ask = Ask::Query {
        property,
        match_type,
        text,
        n_found,
    };
    Kind { row, ask }
}

const KINDS: [Kind; 13] = [
    Kind {
        row: GET,
        ask: Ask::Get,
    },
    Kind {
        row: CTAG_POLL,
        ask: Ask::Poll(dav::CTAG),
    },
    Kind {
        row: TOKEN_POLL,
        ask: Ask::Poll(dav::TOKEN),
    },
    Kind {
        row: INCREMENTAL,
        ask: Ask::Incremental,
    },
    query(FN_CONTAINS, "FN", "contains", "number 000123", 1),
    query(
        "query FN starts-with, p50 ms",
        "FN",
        "starts-with",
        "ada number 00012",
        10,
    ),
    query(FN_EQUALS, "FN", "equals", "ada number 000123", 1),
    query(
        "query EMAIL contains, p50 ms",
        "EMAIL",
        "contains",
        "000123@example",
        1,
    ),
    query(
        "query EMAIL starts-with, p50 ms",
        "EMAIL",
        "starts-with",
        "ada.00012",
        10,
    ),
    query(
        "query EMAIL equals, p50 ms",
        "EMAIL",
        "equals",
        "ada.000123@example.org",
        1,
    ),
    query(
        "query TEL contains, p50 ms",
        "TEL",
        "contains",
        "20 00000123",
        1,
    ),
    query(
        "query TEL starts-with, p50 ms",
        "TEL",
        "starts-with",
        "+44 20 0000012",
        10,
    ),
    query(
        "query TEL equals, p50 ms",
        "TEL",
        "equals",
        "+44 20 00000123",
        1,
    ),
];

/// The rows of the queries.
pub(crate) fn query_rows() -> impl Iterator<Item = &'static str> {
    let is_query = |it: &&Kind| matches!(it.ask, Ask::Query { .. });
    KINDS.iter().filter(is_query).map(|it| it.row)
}

/// A client that has synced.
struct Session<'a> {
    target: &'a Target,
    connection: Connection,
    token: String,
    /// Keeps the changes of clients that share a card apart.
    number: usize,
    n_changes: usize,
    times: Vec<Vec<Duration>>,
    rates: Vec<Duration>,
}

/// Asks everything in `rounds` rounds; the targets take turns, so that whatever else the machine
/// does hits them all.
pub(crate) async fn measure(targets: &[&Target], rounds: usize) -> Result<Vec<Vec<Row>>> {
    let mut sessions = Vec::new();
    for target in targets {
        let mut connection = target.connect().await?;
        let token = dav::sync_token(&dav::propfind(&mut connection, "0", dav::TOKEN).await?)?;
        let mut session = Session {
            target,
            connection,
            token,
            number: sessions.len(),
            n_changes: 0,
            times: vec![Vec::new(); KINDS.len()],
            rates: Vec::new(),
        };
        // Unmeasured once, so that every server has its indexes and caches.
        for kind in &KINDS {
            session.ask(&kind.ask).await.context(kind.row)?;
        }
        sessions.push(session);
    }
    for _ in 0..rounds {
        for (index, kind) in KINDS.iter().enumerate() {
            for session in &mut sessions {
                let turn = Instant::now();
                for _ in 0..N_EACH_TURN {
                    let time = session.ask(&kind.ask).await.context(kind.row)?;
                    session.times[index].push(time);
                    if turn.elapsed() > TURN_MAX {
                        break;
                    }
                }
            }
        }
        for session in &mut sessions {
            session.rates.push(all_gets(session.target).await?);
        }
    }
    Ok(sessions.iter().map(Session::rows).collect())
}

impl Session<'_> {
    async fn ask(&mut self, ask: &Ask) -> Result<Duration> {
        let connection = &mut self.connection;
        if matches!(ask, Ask::Incremental) {
            self.n_changes += 1;
            let title = format!("TITLE:Countess {}.{}", self.number, self.n_changes);
            let card = cards::card(CHANGING).replace("TITLE:Countess", &title);
            let put = [StatusCode::NO_CONTENT, StatusCode::CREATED, StatusCode::OK];
            connection
                .send("PUT", &cards::name(CHANGING), &[], card, &put)
                .await?;
        }
        let started = Instant::now();
        match *ask {
            Ask::Get => {
                let name = cards::name(2);
                let found = [StatusCode::OK];
                connection
                    .send("GET", &name, &[], String::new(), &found)
                    .await?;
            }
            Ask::Poll(body) => {
                dav::propfind(connection, "0", body).await?;
            }
            Ask::Incremental => {
                let body = dav::sync_collection(&self.token);
                let changes = dav::report(connection, "0", body).await?;
                let hrefs = dav::hrefs(&changes);
                let cards = dav::report(connection, "0", dav::multiget(&hrefs)).await?;
                let time = started.elapsed();
                self.token = dav::sync_token(&changes)?;
                let n_cards = dav::count_cards(&cards);
                ensure!(n_cards == 1, "{n_cards} changed cards instead of one");
                return Ok(time);
            }
            Ask::Query {
                property,
                match_type,
                text,
                n_found,
            } => {
                let body = dav::addressbook_query(property, match_type, text);
                let answer = dav::report(connection, "1", body).await?;
                let time = started.elapsed();
                let n_cards = dav::count_cards(&answer);
                ensure!(
                    n_cards == n_found,
                    "{n_cards} cards found instead of {n_found}"
                );
                return Ok(time);
            }
        }
        Ok(started.elapsed())
    }

    fn rows(&self) -> Vec<Row> {
        let n_gets = (RATE_CONNECTIONS * N_EACH_CONNECTION) as f64;
        let rate = n_gets / median(&self.rates).as_secs_f64();
        let kinds = KINDS.iter().zip(&self.times);
        kinds
            .map(|(kind, times)| Row(kind.row, Cell::Millis(median(times))))
            .chain([Row(GET_RATE, Cell::Rate(rate))])
            .collect()
    }
}

/// Gets cards over some connections at once, each card once.
async fn all_gets(target: &Target) -> Result<Duration> {
    let mut connections = Vec::new();
    for _ in 0..RATE_CONNECTIONS {
        connections.push(target.connect().await?);
    }
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for (index, mut connection) in connections.into_iter().enumerate() {
        tasks.spawn(async move {
            for number in 0..N_EACH_CONNECTION {
                let name = cards::name(number * RATE_CONNECTIONS + index);
                connection
                    .send("GET", &name, &[], String::new(), &[StatusCode::OK])
                    .await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome.context("a task of the benchmark panicked")??;
    }
    Ok(started.elapsed())
}
