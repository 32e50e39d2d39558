//! What visitors do to be measured, in a process of their own: it may run in another network
//! namespace, and what it costs is nobody else's.

use std::cell::RefCell;
use std::future::Future;
use std::io::{BufRead, stdin};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};

use super::visitor::{Door, Visitor};
use crate::bench::statistics::percentile;

/// Bytes of a small answer.
const SMALL: u64 = 500;
/// Bytes that one request of a bulk transfer asks for.
const BULK_DOWN: u64 = 256 * 1024 * 1024;
/// An upload is counted when the server has all of it.
const BULK_UP: u64 = 4 * 1024 * 1024;
/// Visitors that wait are let in so many at once.
const ENTER_AT_ONCE: usize = 32;
/// Between tries of a visitor who tries again and again, and how long each may take.
const TRY_EVERY: Duration = Duration::from_millis(100);
const TRY_MAX: Duration = Duration::from_secs(8);
/// The line that says that all visitors wait.
pub(crate) const WAITING: &str = "waiting";

/// Who does what, for the process.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) address: SocketAddr,
    pub(crate) certificate: PathBuf,
    pub(crate) load: Load,
}

/// What visitors do.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Load {
    /// So many connections download or upload for so long.
    Bulk {
        direction: Direction,
        n_connections: usize,
        time: Duration,
    },
    /// One visitor after the other, each until its first byte.
    FirstByte { n_visitors: usize },
    /// So many at once, each of them new, for so long.
    NewVisitors { at_once: usize, time: Duration },
    /// Small requests on so many kept connections for so long.
    Requests {
        n_connections: usize,
        time: Duration,
    },
    /// Small requests on some connections, on each one after the other, beside downloads of others;
    /// the bytes are those of the downloads.
    Beside {
        n_downloads: usize,
        n_small: usize,
        time: Duration,
    },
    /// So many enter and wait, until standard input ends.
    Wait { n_visitors: usize },
    /// A new visitor every 100 ms, each of them a line on standard output, until it is killed.
    Probe,
}

/// A new visitor's connection, TLS handshake and first byte, with times in Unix seconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Try {
    pub(crate) begun: f64,
    pub(crate) ended: f64,
    pub(crate) is_answered: bool,
}

/// The time of day, which several processes have in common.
pub(crate) fn unix_seconds() -> f64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    elapsed.unwrap_or_default().as_secs_f64()
}

/// The way that bytes go, seen by the visitor.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Direction {
    Down,
    Up,
}

/// What a load came to.
#[derive(Clone, Default, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// From the moment on which all connections were there.
    pub(crate) seconds: f64,
    pub(crate) n_bytes: u64,
    /// Of visitors or requests that were answered.
    pub(crate) n_answers: usize,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// What is counted while visitors are at work.
#[derive(Default)]
struct Count {
    n_bytes: u64,
    times: Vec<Duration>,
}

type Shared = Rc<RefCell<Count>>;

/// Does the job and prints its outcome as a line of JSON.
pub(crate) async fn run(job: &Job) -> Result<()> {
    let door = Door::new(job.address, &job.certificate)?;
    if let Load::Wait { n_visitors } = job.load {
        return wait(door, n_visitors).await;
    }
    if let Load::Probe = job.load {
        return probe(door).await;
    }
    let tasks = LocalSet::new();
    let outcome = tasks.run_until(measure(door, job.load)).await?;
    println!("{}", serde_json::to_string(&outcome).context("write JSON")?);
    Ok(())
}

async fn measure(door: Door, load: Load) -> Result<Outcome> {
    let count = Shared::default();
    let mut visitors = Vec::new();
    for _ in 0..n_kept(load) {
        visitors.push(door.enter().await?);
    }
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    match load {
        Load::Bulk {
            direction, time, ..
        } => {
            for visitor in visitors {
                let transfer = bulk(visitor, direction, count.clone());
                tasks.spawn_local(until(started + time, transfer));
            }
        }
        Load::Requests { time, .. } => {
            for visitor in visitors {
                let requests = small_requests(visitor, count.clone());
                tasks.spawn_local(until(started + time, requests));
            }
        }
        Load::Beside { n_small, time, .. } => {
            for visitor in visitors.split_off(n_small) {
                let transfer = bulk(visitor, Direction::Down, count.clone());
                tasks.spawn_local(until(started + time, transfer));
            }
            for visitor in visitors {
                let requests = small_requests(visitor, count.clone());
                tasks.spawn_local(until(started + time, requests));
            }
        }
        Load::NewVisitors { at_once, time } => {
            for _ in 0..at_once {
                let arrivals = new_visitors(door.clone(), usize::MAX, count.clone());
                tasks.spawn_local(until(started + time, arrivals));
            }
        }
        Load::FirstByte { n_visitors } => {
            tasks.spawn_local(new_visitors(door, n_visitors, count.clone()));
        }
        Load::Wait { .. } | Load::Probe => {}
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context("a visitor panicked")??;
    }
    let seconds = started.elapsed().as_secs_f64();
    let count = count.borrow();
    Ok(Outcome {
        seconds,
        n_bytes: count.n_bytes,
        n_answers: count.times.len(),
        p50: percentile(&count.times, 50),
        p99: percentile(&count.times, 99),
    })
}

/// Connections that are made before the clock starts.
fn n_kept(load: Load) -> usize {
    match load {
        Load::Bulk { n_connections, .. } | Load::Requests { n_connections, .. } => n_connections,
        Load::Beside {
            n_downloads,
            n_small,
            ..
        } => n_downloads + n_small,
        Load::FirstByte { .. } | Load::NewVisitors { .. } | Load::Wait { .. } | Load::Probe => 0,
    }
}

/// Breaks off what has no end of its own.
async fn until(deadline: Instant, work: impl Future<Output = Result<()>>) -> Result<()> {
    timeout_at(deadline, work).await.unwrap_or(Ok(()))
}

async fn bulk(mut visitor: Visitor, direction: Direction, count: Shared) -> Result<()> {
    loop {
        match direction {
            Direction::Down => {
                let arrived = |part| count.borrow_mut().n_bytes += part;
                visitor.download(BULK_DOWN, arrived).await?;
            }
            Direction::Up => {
                visitor.upload(BULK_UP).await?;
                count.borrow_mut().n_bytes += BULK_UP;
            }
        }
    }
}

async fn small_requests(mut visitor: Visitor, count: Shared) -> Result<()> {
    loop {
        let started = Instant::now();
        visitor.download(SMALL, |_| {}).await?;
        count.borrow_mut().times.push(started.elapsed());
    }
}

async fn new_visitors(door: Door, n_visitors: usize, count: Shared) -> Result<()> {
    for _ in 0..n_visitors {
        let started = Instant::now();
        let mut visitor = door.enter().await?;
        visitor.first_byte(SMALL).await?;
        count.borrow_mut().times.push(started.elapsed());
    }
    Ok(())
}

/// Begins a try at each tick, however many are under way.
async fn probe(door: Door) -> Result<()> {
    let mut tick = interval(TRY_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut tries = JoinSet::new();
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let door = door.clone();
                tries.spawn(async move {
                    let begun = unix_seconds();
                    let attempt = async { door.enter().await?.first_byte(SMALL).await };
                    let is_answered = matches!(timeout(TRY_MAX, attempt).await, Ok(Ok(())));
                    Try { begun, ended: unix_seconds(), is_answered }
                });
            }
            Some(ended) = tries.join_next() => {
                let ended = ended.context("a try panicked")?;
                println!("{}", serde_json::to_string(&ended).context("write JSON")?);
            }
        }
    }
}

/// Every visitor asks once, so that whatever is made late is there, and then for nothing more.
async fn wait(door: Door, n_visitors: usize) -> Result<()> {
    let mut entering = JoinSet::new();
    let mut visitors = Vec::new();
    for _ in 0..n_visitors {
        if entering.len() == ENTER_AT_ONCE {
            visitors.extend(entering.join_next().await);
        }
        let door = door.clone();
        entering.spawn(async move {
            let mut visitor = door.enter().await?;
            visitor.download(SMALL, |_| {}).await?;
            anyhow::Ok(visitor)
        });
    }
    visitors.extend(entering.join_all().await.into_iter().map(Ok));
    let visitors: Vec<Visitor> = visitors
        .into_iter()
        .map(|it| it.context("a visitor panicked")?)
        .collect::<Result<_>>()?;
    println!("{WAITING}");
    // Nobody else runs on this thread's runtime, and nothing has to move.
    stdin()
        .lock()
        .read_line(&mut String::new())
        .context("wait")?;
    drop(visitors);
    Ok(())
}
