//! A phone that tries again and again, to see how long nothing works.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cloudless_testbed::Namespace;
use http::{Request, StatusCode};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::client::{BOOK, Client};

const INTERVAL: Duration = Duration::from_millis(100);
/// A try that takes longer has failed. The relay holds a visitor for up to 5 s.
const TRY: Duration = Duration::from_secs(8);
/// Links tell of themselves for so long after they came up.
const SETTLE: Duration = Duration::from_secs(3);
/// How long all is well before something is done.
const CALM: Duration = Duration::from_millis(500);
/// Nobody waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(120);
/// Outcomes that the test has not read yet; more than a test lasts.
const OUTCOMES_MAX: usize = 10_000;

/// Begins a try every 100 ms, however many are under way: a new TCP connection, a TLS handshake with
/// home, and a small request that home has to answer. Ends when dropped.
pub(crate) struct Prober {
    outcomes: Receiver<Try>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

struct Try {
    begun: Instant,
    ended: Instant,
    error: Option<String>,
}

impl Prober {
    /// Begins on that machine.
    pub(crate) fn start(phone: &Namespace, client: Client) -> Self {
        let (sender, outcomes) = sync_channel(OUTCOMES_MAX);
        let stop = CancellationToken::new();
        let thread = phone.spawn({
            let stop = stop.clone();
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(probe(client, sender, stop));
            }
        });
        Self {
            outcomes,
            stop,
            thread: Some(thread),
        }
    }

    /// Returns when all goes well for a while: what befalls it later is not mixed up with links that
    /// are just coming up.
    pub(crate) fn calm(self) -> Self {
        self.back_after(Instant::now());
        let settled = Instant::now() + SETTLE;
        self.go_on_for(SETTLE, settled);
        assert!(self.go_on_for(CALM, settled) > 0, "nothing works");
        self
    }

    /// How long after `event` the first try was answered that began after it.
    pub(crate) fn back_after(&self, event: Instant) -> Duration {
        let mut last_error = None;
        loop {
            let wait = (event + PATIENCE).saturating_duration_since(Instant::now());
            match self.outcomes.recv_timeout(wait) {
                Ok(outcome) if outcome.begun < event => {}
                Ok(outcome) if outcome.error.is_none() => return outcome.ended - event,
                Ok(outcome) => last_error = outcome.error,
                Err(error) => panic!("not back: {error}; {last_error:?}"),
            }
        }
    }

    /// Goes on for so long; every try must be answered that began after `event` and has ended since the
    /// last look. Returns the longest time that one took.
    #[track_caller]
    pub(crate) fn all_answered(&self, duration: Duration, event: Instant) -> Duration {
        let end = Instant::now() + duration;
        let mut longest = Duration::ZERO;
        loop {
            match self.outcomes.recv_timeout(INTERVAL) {
                Ok(outcome) if outcome.begun < event => {}
                Ok(outcome) => {
                    assert_eq!(outcome.error, None);
                    longest = longest.max(outcome.ended - outcome.begun);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(error) => panic!("{error}"),
            }
            if Instant::now() >= end {
                return longest;
            }
        }
    }

    /// Goes on for so long and returns how many tries succeeded that began after `event`.
    pub(crate) fn go_on_for(&self, duration: Duration, event: Instant) -> usize {
        let end = Instant::now() + duration;
        let mut count = 0;
        loop {
            let wait = end.saturating_duration_since(Instant::now());
            match self.outcomes.recv_timeout(wait) {
                Ok(it) if it.begun >= event && it.error.is_none() => count += 1,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return count,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // What it panicked with is printed already.
            let _ = thread.join();
        }
    }
}

async fn probe(client: Client, outcomes: SyncSender<Try>, stop: CancellationToken) {
    let mut tries = JoinSet::new();
    let mut clock = interval(INTERVAL);
    clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = clock.tick() => {
                let client = client.clone();
                tries.spawn(async move {
                    let begun = Instant::now();
                    let error = match timeout(TRY, ask(&client)).await {
                        Ok(Ok(StatusCode::MULTI_STATUS)) => None,
                        Ok(Ok(status)) => Some(status.to_string()),
                        Ok(Err(error)) => Some(error.to_string()),
                        Err(_) => Some("no answer".to_owned()),
                    };
                    Try { begun, ended: Instant::now(), error }
                });
            }
            Some(Ok(outcome)) = tries.join_next() => {
                if outcomes.try_send(outcome).is_err() {
                    break;
                }
            }
        }
    }
    tries.shutdown().await;
}

async fn ask(client: &Client) -> Result<StatusCode, Box<dyn std::error::Error + Send + Sync>> {
    let request = Request::builder()
        .method("PROPFIND")
        .uri(BOOK)
        .header("depth", "0")
        .body(Bytes::from_static(
            br#"<propfind xmlns="DAV:"><prop><sync-token/></prop></propfind>"#,
        ))?;
    Ok(client.send(request).await?.status)
}
