//! How many cards per second a server gives out over some connections at once.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use http::StatusCode;
use tokio::task::JoinSet;

use super::cards;
use super::client::Target;
use super::cpu::{Stopwatch, Sum};
use super::statistics::median;
use super::table::{Cell, Row};
use super::way::Way;

/// How long a target is asked in each round.
const TURN: Duration = Duration::from_millis(400);

pub(crate) const GET_FOUR: &str = "GET/s, 4 connections";
const GET_EIGHT: &str = "GET/s, 8 connections";

const KINDS: [(&str, usize); 2] = [(GET_FOUR, 4), (GET_EIGHT, 8)];

/// Gets cards of books of `size` cards; the ways take turns.
pub(crate) async fn measure(ways: &[Way<'_>], size: usize) -> Result<Vec<Vec<Row>>> {
    let rounds = ways.iter().map(|it| it.rounds).max().unwrap_or_default();
    let mut times = vec![vec![Vec::new(); KINDS.len()]; ways.len()];
    let mut cpus = vec![vec![Sum::default(); KINDS.len()]; ways.len()];
    for round in 0..rounds {
        for (kind, (_, n_connections)) in KINDS.iter().enumerate() {
            for (index, way) in ways.iter().enumerate() {
                if round >= way.rounds {
                    continue;
                }
                let stopwatch = Stopwatch::start(&way.target.pids)?;
                let (time, n_gets) = gets(way.target, *n_connections, size).await?;
                cpus[index][kind].add(stopwatch.stop()?, n_gets);
                let n_gets = u32::try_from(n_gets).context("more requests than can be")?;
                times[index][kind].push(time.checked_div(n_gets).context("no request in time")?);
            }
        }
    }
    let rows = times.iter().zip(&cpus).map(|(times, cpus)| {
        let rows = KINDS.iter().zip(times.iter().zip(cpus));
        rows.map(|((row, _), (times, cpu))| {
            let rate = Cell::Rate(1.0 / median(times).as_secs_f64());
            Row::new(row, rate).with_cpu(cpu.mean())
        })
        .collect()
    });
    Ok(rows.collect())
}

/// Tells how long how many requests took. Opening the connections is not counted.
async fn gets(target: &Target, n_connections: usize, size: usize) -> Result<(Duration, usize)> {
    let mut connections = Vec::new();
    for _ in 0..n_connections {
        connections.push(target.connect().await?);
    }
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for (first, mut connection) in connections.into_iter().enumerate() {
        tasks.spawn(async move {
            let mut n_gets = 0;
            while started.elapsed() < TURN {
                let name = cards::name((first + n_gets * n_connections) % size);
                let found = [StatusCode::OK];
                connection.send("GET", &name, &[], "", &found).await?;
                n_gets += 1;
            }
            anyhow::Ok(n_gets)
        });
    }
    let mut n_gets = 0;
    while let Some(outcome) = tasks.join_next().await {
        n_gets += outcome.context("a task of the benchmark panicked")??;
    }
    Ok((started.elapsed(), n_gets))
}
