//! The first sync, from nothing to all cards, as three clients do it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use super::client::Target;
use super::dav::{self, count_cards, hrefs, multiget, propfind, report};
use super::statistics::median;
use super::table::{Cell, Row};

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

pub(crate) const CLIENTS: [&str; 3] = [DAVX5, THUNDERBIRD, VDIRSYNCER];

/// Fetches the whole address book of `size` cards, `rounds` times each way; the targets take
/// turns. Connections are opened within the time.
pub(crate) async fn measure(
    targets: &[&Target],
    size: usize,
    rounds: usize,
) -> Result<Vec<Vec<Row>>> {
    let n_clients = if size <= MULTIGET_MAX { 3 } else { 2 };
    let clients = &CLIENTS[..n_clients];
    let mut times = vec![vec![Vec::new(); n_clients]; targets.len()];
    for _ in 0..rounds {
        for (index, client) in clients.iter().enumerate() {
            for (target, times) in targets.iter().zip(&mut times) {
                let started = Instant::now();
                let n_cards = match *client {
                    DAVX5 => davx5(target).await,
                    THUNDERBIRD => in_batches(target, THUNDERBIRD_BATCH).await,
                    _ => in_batches(target, MULTIGET_MAX).await,
                };
                let n_cards = n_cards.context(*client)?;
                times[index].push(started.elapsed());
                ensure!(
                    n_cards == size,
                    "{client}: {n_cards} cards instead of {size}"
                );
            }
        }
    }
    let rows = |times: &Vec<Vec<Duration>>| {
        let rows = clients.iter().zip(times);
        rows.map(|(client, times)| Row(client, Cell::Seconds(median(times))))
            .collect()
    };
    Ok(times.iter().map(rows).collect())
}

async fn davx5(target: &Target) -> Result<usize> {
    let mut first = target.connect().await?;
    propfind(&mut first, "0", dav::TOKEN).await?;
    let mut all = Vec::new();
    let mut token = String::new();
    loop {
        let page = report(&mut first, "0", dav::sync_collection(&token)).await?;
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
                n_cards += count_cards(&report(&mut connection, "0", batch).await?);
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
        n_cards += count_cards(&report(&mut connection, "1", multiget(batch)).await?);
    }
    propfind(&mut connection, "0", dav::TOKEN).await?;
    Ok(n_cards)
}
