//! `cargo xtask bench logins`: what a right login waits while many guess at passwords.
//!
//! The guesses come through the relay, as those of strangers do, over HTTP/2 with as many streams at
//! once as home takes. Half of them name a user that there is.

use std::fmt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use data_encoding::BASE64;
use http::{Request, StatusCode};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::build_release;
use super::client::{Connection, Target};
use super::cpu::Stopwatch;
use super::demo::Demo;
use super::goals::Verdicts;
use super::statistics::{Thousands, percentile};
use crate::step;
use crate::workspace::Workspace;

/// A right login waits at most so long.
const GOAL: Duration = Duration::from_millis(50);
/// What is promised for.
const RATE: usize = 10_000;
const SECONDS: u64 = 10;
/// Between two right logins, and how long they are tried.
const PAUSE: Duration = Duration::from_millis(10);
const CONNECTIONS: usize = 16;
/// What home takes on one connection.
const STREAMS: usize = 64;
/// Guesses are let go so often.
const TICK: Duration = Duration::from_millis(1);

/// How hard to guess.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Wrong logins a second
    #[arg(long, default_value_t = RATE)]
    rate: usize,
    /// How long each part takes
    #[arg(long, default_value_t = SECONDS)]
    seconds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rate: RATE,
            seconds: SECONDS,
        }
    }
}

/// Measures a release build and prints a table; fails when a right login waits too long.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if cfg!(debug_assertions) {
        build_release(workspace)?;
        let mut bench = Command::new(workspace.target("release/xtask"));
        bench.args(["bench", "logins"]);
        bench.args(["--rate", &options.rate.to_string()]);
        bench.args(["--seconds", &options.seconds.to_string()]);
        return step::run(&mut bench);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(measure(&workspace.target("release/cloudless"), options))
}

async fn measure(program: &Path, options: &Options) -> Result<()> {
    ensure!(
        options.rate > 0 && options.seconds > 0,
        "--rate and --seconds must be at least 1"
    );
    let scratch = tempfile::tempdir().context("make a folder")?;
    let demo = Demo::start(program, scratch.path()).await?;
    let part = Duration::from_secs(options.seconds);
    println!(
        "\n| right login, while | through the relay, connection kept: p50 | p99 | most | \
              new connection each: p50 | p99 | most | wrong logins/s | of these 401, rest 429 | CPU of \
              relay and home |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    );
    let mut verdicts = Verdicts::default();
    for rate in [0, options.rate] {
        let guesses = Guesses::start(&demo.public, rate)?;
        // Whoever is to wait waits from here on.
        sleep(Duration::from_secs(4)).await;
        let before = guesses.counts();
        let stopwatch = Stopwatch::start(&[demo.relay_pid, demo.home_pid])?;
        let started = Instant::now();
        let kept = right_logins(&demo.public, part / 2, Keeps::Yes).await?;
        let fresh = right_logins(&demo.public, part / 2, Keeps::No).await?;
        let seconds = started.elapsed().as_secs_f64();
        let cpu = stopwatch.stop()?;
        let after = guesses.stop()?;
        let (told, refused) = (after.0 - before.0, after.1 - before.1);
        let reached = (told + refused) as f64 / seconds;
        let share = 100.0 * told as f64 / (told + refused).max(1) as f64;
        println!(
            "| {} guess | {kept} | {fresh} | {:.0} | {share:.1} % | {:.0} % of a core |",
            if rate == 0 { "none" } else { "many" },
            reached,
            100.0 * cpu.server.as_secs_f64() / seconds,
        );
        if rate == 0 {
            continue;
        }
        verdicts.push(
            "wrong logins that were made".to_owned(),
            format!("{} a second", Thousands(rate)),
            format!("{reached:.0} a second"),
            reached >= 0.95 * rate as f64,
        );
        for (name, times) in [("connection kept", &kept), ("new connection", &fresh)] {
            let slow = times.at(99);
            verdicts.push(
                format!("right login beside them, {name}, p99"),
                format!("below {} ms", GOAL.as_millis()),
                format!("{:.1} ms", slow.as_secs_f64() * 1e3),
                slow < GOAL,
            );
        }
    }
    print!("{verdicts}");
    demo.stop().await?;
    verdicts.require()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeps {
    Yes,
    No,
}

/// How long right logins took.
struct Times(Vec<Duration>);

impl Times {
    fn at(&self, percent: usize) -> Duration {
        percentile(&self.0, percent)
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |percent| self.at(percent).as_secs_f64() * 1e3;
        let (middle, slow, most) = (milliseconds(50), milliseconds(99), milliseconds(100));
        write!(f, "{middle:.1} ms | {slow:.1} ms | {most:.1} ms")
    }
}

/// Logs in again and again, each time with a request that is answered.
async fn right_logins(target: &Target, during: Duration, keeps: Keeps) -> Result<Times> {
    let started = Instant::now();
    let mut times = Vec::new();
    let mut connection: Option<Connection> = None;
    while started.elapsed() < during {
        let begun = Instant::now();
        let mut used = match connection.take() {
            Some(used) => used,
            None => target.connect().await?,
        };
        let found = [StatusCode::MULTI_STATUS];
        used.send("PROPFIND", "", &[("depth", "0")], super::dav::TOKEN, &found)
            .await?;
        times.push(begun.elapsed());
        connection = (keeps == Keeps::Yes).then_some(used);
        sleep(PAUSE).await;
    }
    Ok(Times(times))
}

/// Who guesses, on a thread and, where there are several cores, a core of its own.
struct Guesses {
    shared: Arc<Shared>,
    thread: thread::JoinHandle<Result<()>>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    /// Answers 401 and 429.
    told: AtomicU64,
    refused: AtomicU64,
}

impl Guesses {
    fn start(target: &Target, rate: usize) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let (theirs, target) = (shared.clone(), target.clone());
        let guess = move || {
            if rate == 0 {
                return Ok(());
            }
            let last = thread::available_parallelism().map_or(1, usize::from) - 1;
            let mut cores = CpuSet::new();
            cores.set(last).context("name a core")?;
            sched_setaffinity(Pid::from_raw(0), &cores).context("take a core")?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("start the runtime")?;
            runtime.block_on(guess(&theirs, &target, rate))
        };
        let thread = thread::Builder::new().spawn(guess);
        Ok(Self {
            shared,
            thread: thread.context("start a thread")?,
        })
    }

    fn counts(&self) -> (u64, u64) {
        let count = |it: &AtomicU64| it.load(Ordering::Relaxed);
        (count(&self.shared.told), count(&self.shared.refused))
    }

    fn stop(self) -> Result<(u64, u64)> {
        let counts = self.counts();
        self.shared.is_over.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(ended) => ended.context("guess at passwords")?,
            Err(_) => bail!("the thread that guesses panicked"),
        }
        Ok(counts)
    }
}

async fn guess(shared: &Arc<Shared>, target: &Target, rate: usize) -> Result<()> {
    let due = Arc::new(Semaphore::new(0));
    let mut tasks = JoinSet::new();
    for index in 0..CONNECTIONS {
        let stream = target.http2().await?;
        let (sender, connection) = h2::client::handshake(stream).await.context("HTTP/2")?;
        tasks.spawn(async move { connection.await.context("a connection ended") });
        for stream in 0..STREAMS {
            let (sender, due, shared) = (sender.clone(), due.clone(), shared.clone());
            let request = wrong(target, index * STREAMS + stream)?;
            tasks.spawn(async move { again_and_again(sender, &request, &due, &shared).await });
        }
    }
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut let_go = 0;
    let started = Instant::now();
    while !shared.is_over.load(Ordering::Relaxed) {
        ticks.tick().await;
        let owed = (started.elapsed().as_secs_f64() * rate as f64) as usize;
        // What nobody took up is not made up for: a burst would be another attack.
        let most = rate / 10;
        due.add_permits((owed - let_go).min(most.saturating_sub(due.available_permits())));
        let_go = owed;
        if let Some(ended) = tasks.try_join_next() {
            ended.context("a task of the benchmark panicked")??;
        }
    }
    Ok(())
}

/// A request with a wrong password, for a user that there is or for none.
fn wrong(target: &Target, index: usize) -> Result<Request<()>> {
    let user = match index % 2 {
        0 => target.user.clone(),
        _ => format!("nobody{index}"),
    };
    let login = BASE64.encode(format!("{user}:wrong{index}").as_bytes());
    let uri = format!("https://{}{}", target.authority(), target.book);
    Request::get(uri)
        .header("authorization", format!("Basic {login}"))
        .body(())
        .context("make a request")
}

async fn again_and_again(
    sender: h2::client::SendRequest<Bytes>,
    request: &Request<()>,
    due: &Semaphore,
    shared: &Shared,
) -> Result<()> {
    loop {
        due.acquire().await.context("wait for a turn")?.forget();
        let mut sender = sender.clone().ready().await.context("wait for a stream")?;
        let sent = sender.send_request(request.clone(), true);
        let (response, _) = sent.context("send a request")?;
        let (head, mut body) = response.await.context("read an answer")?.into_parts();
        while let Some(data) = body.data().await {
            let length = data.context("read an answer")?.len();
            body.flow_control()
                .release_capacity(length)
                .context("go on reading")?;
        }
        let count = match head.status {
            StatusCode::UNAUTHORIZED => &shared.told,
            StatusCode::TOO_MANY_REQUESTS => &shared.refused,
            status => bail!("a wrong login was answered {status}"),
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}
