//! The first sync, from nothing to all cards, as clients do it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use super::client::Target;
use super::cpu::{Stopwatch, Sum};
use super::dav::{self, count, count_cards, hrefs, multiget, propfind, report};
use super::statistics::median;
use super::table::{Cell, Row};
use super::way::Way;

/// DAVx5 fetches so many cards at once…
const DAVX5_BATCH: usize = 10;
/// …over so many connections: one for each core of a phone, two at least.
const DAVX5_CONNECTIONS: usize = 2;
const THUNDERBIRD_BATCH: usize = 500;
/// More hrefs than a request may name.
const MULTIGET_MAX: usize = 50_000;

pub(crate) const DAVX5: &str = "first sync as DAVx5 (multiget of 10), s";
pub(crate) const THUNDERBIRD: &str = "first sync as Thunderbird (multiget of 500), s";
pub(crate) const VDIRSYNCER: &str = "first sync as vdirsyncer (one multiget), s";
pub(crate) const INLINE: &str = "first sync by sync-collection with the cards in it, s";

pub(crate) const CLIENTS: [&str; 4] = [DAVX5, THUNDERBIRD, VDIRSYNCER, INLINE];

/// Fetches the whole address book of `size` cards each way; the ways take turns. Connections are
/// opened within the time. What a server cannot do has no row.
pub(crate) async fn measure(ways: &[Way<'_>], size: usize) -> Result<Vec<Vec<Row>>> {
    let rounds = ways.iter().map(|it| it.rounds).max().unwrap_or_default();
    let mut times: Vec<Vec<Vec<Duration>>> = vec![vec![Vec::new(); CLIENTS.len()]; ways.len()];
    let mut cpus = vec![vec![Sum::default(); CLIENTS.len()]; ways.len()];
    for round in 0..rounds {
        for (client, name) in CLIENTS.iter().enumerate() {
            for (index, way) in ways.iter().enumerate() {
                let is_too_large = *name == VDIRSYNCER && size > MULTIGET_MAX;
                if way.is_floor || round >= way.rounds || is_too_large {
                    continue;
                }
                let stopwatch = Stopwatch::start(&way.target.pids)?;
                let started = Instant::now();
                let synced = sync(way.target, name).await;
                let time = started.elapsed();
                let n_cards = synced.with_context(|| format!("{}: {name}", way.name))?;
                if *name == INLINE && n_cards == 0 {
                    // Not every server puts cards there; such a client would fetch them next.
                    continue;
                }
                ensure!(
                    n_cards == size,
                    "{}: {name}: {n_cards} cards instead of {size}",
                    way.name
                );
                times[index][client].push(time);
                cpus[index][client].add(stopwatch.stop()?, 1);
            }
        }
    }
    let rows = times.iter().zip(&cpus).map(|(times, cpus)| {
        let rows = CLIENTS.iter().zip(times.iter().zip(cpus));
        rows.filter(|(_, (times, _))| !times.is_empty())
            .map(|(client, (times, cpu))| {
                Row::new(client, Cell::Seconds(median(times))).with_cpu(cpu.mean())
            })
            .collect()
    });
    Ok(rows.collect())
}

/// Tells how many cards came.
async fn sync(target: &Target, client: &str) -> Result<usize> {
    match client {
        DAVX5 => davx5(target).await,
        THUNDERBIRD => in_batches(target, THUNDERBIRD_BATCH).await,
        VDIRSYNCER => in_batches(target, MULTIGET_MAX).await,
        _ => inline(target).await,
    }
}

async fn davx5(target: &Target) -> Result<usize> {
    let mut first = target.connect().await?;
    propfind(&mut first, "0", dav::TOKEN).await?;
    let mut all = Vec::new();
    let mut token = String::new();
    loop {
        let body = dav::sync_collection(&token, "<resourcetype/>");
        let page = report(&mut first, "0", &body).await?;
        all.extend(hrefs(&page));
        token = dav::sync_token(&page)?;
        if !dav::is_truncated(&page) {
            break;
        }
    }
    let mut batches: Vec<Vec<String>> = vec![Vec::new(); DAVX5_CONNECTIONS];
    for (index, batch) in all.chunks(DAVX5_BATCH).enumerate() {
        batches[index % DAVX5_CONNECTIONS].push(multiget(batch));
    }
    let mut connections = vec![first];
    while connections.len() < DAVX5_CONNECTIONS {
        connections.push(target.connect().await?);
    }
    let mut tasks = JoinSet::new();
    for (mut connection, batches) in connections.into_iter().zip(batches) {
        tasks.spawn(async move {
            let mut n_cards = 0;
            for batch in batches {
                n_cards += count(&mut connection, "0", &batch).await?.n_cards;
            }
            anyhow::Ok(n_cards)
        });
    }
    let mut n_cards = 0;
    while let Some(outcome) = tasks.join_next().await {
        n_cards += outcome.context("a task of the benchmark panicked")??;
    }
    Ok(n_cards)
}

/// Lists by PROPFIND and fetches over one connection.
async fn in_batches(target: &Target, batch: usize) -> Result<usize> {
    let mut connection = target.connect().await?;
    let mut n_cards = 0;
    for batch in hrefs(&propfind(&mut connection, "1", dav::LIST).await?).chunks(batch) {
        let body = multiget(batch);
        n_cards += count(&mut connection, "1", &body).await?.n_cards;
    }
    propfind(&mut connection, "0", dav::TOKEN).await?;
    Ok(n_cards)
}

/// Asks for all changes since nothing, each with its card.
async fn inline(target: &Target) -> Result<usize> {
    let mut connection = target.connect().await?;
    let mut n_cards = 0;
    let mut token = String::new();
    loop {
        let body = dav::sync_collection(&token, "<C:address-data/>");
        let page = report(&mut connection, "1", &body).await?;
        n_cards += count_cards(&page);
        token = dav::sync_token(&page)?;
        if !dav::is_truncated(&page) {
            return Ok(n_cards);
        }
    }
}
