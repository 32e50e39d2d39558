//! Whether the home at the other end of a tunnel is still there.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use cloudless_http2::PingPong;
use cloudless_proto::RoundTrip;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::activity::Activity;
use crate::config::Timings;

/// What is known about a tunnel's other end, and the way to ask it.
#[derive(Debug)]
pub(crate) struct Liveness {
    heard: Arc<Activity>,
    asked: Notify,
    n_answers: watch::Sender<u64>,
    known: Mutex<Known>,
}

/// What pings have told.
#[derive(Debug, Default)]
struct Known {
    round_trip: Option<RoundTrip>,
    /// When the ping was sent that is not answered yet.
    unanswered: Option<Instant>,
}

impl Liveness {
    /// `heard` is that of the tunnel's [`Heard`] stream.
    pub(crate) fn new(heard: Arc<Activity>) -> Self {
        Self {
            heard,
            asked: Notify::new(),
            n_answers: watch::Sender::new(0),
            known: Mutex::default(),
        }
    }

    /// How long pings take; `None` before the first answer.
    pub(crate) fn round_trip(&self) -> Option<RoundTrip> {
        self.lock().round_trip
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks at once if nothing was heard for `quiet`. Does not wait for the answer: when there is
    /// none the home notices too, and dials anew.
    pub(crate) fn ask_if_quiet(&self, quiet: Duration) {
        if self.heard.last().elapsed() >= quiet {
            self.asked.notify_one();
        }
    }

    /// Asks, and says whether an answer came within `limit`. A home that was asked before and has been
    /// silent ever since has had that time.
    pub(crate) async fn answers(&self, limit: Duration) -> bool {
        let mut n_answers = self.n_answers.subscribe();
        self.asked.notify_one();
        let silent_since = self
            .lock()
            .unanswered
            .map(|sent| sent.max(self.heard.last()));
        let deadline = silent_since.unwrap_or_else(Instant::now) + limit;
        matches!(timeout_at(deadline, n_answers.changed()).await, Ok(Ok(())))
    }

    /// Pings when asked to and when nothing was heard for a while. Returns when the home is dead or
    /// the connection has failed.
    pub(crate) async fn watch(&self, mut ping: impl Ping, timings: &Timings) {
        // A tunnel full of visitors is measured as often as a silent one, a new one at once.
        let mut measured: Option<Instant> = None;
        loop {
            let due = || {
                let last = measured.map(|measured| measured.min(self.heard.last()));
                last.map_or_else(Instant::now, |last| last + timings.ping_interval)
            };
            tokio::select! {
                () = self.asked.notified() => {}
                () = sleep_until(due()) => {
                    if due() > Instant::now() {
                        continue;
                    }
                }
            }
            let sent = Instant::now();
            if ping.send().is_err() {
                return;
            }
            self.lock().unanswered = Some(sent);
            loop {
                let dead = self.heard.last() + timings.dead_after;
                tokio::select! {
                    answer = poll_fn(|cx| ping.poll_answer(cx)) => match answer {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                    () = sleep_until(dead) => {
                        if self.heard.last() + timings.dead_after <= Instant::now() {
                            tracing::debug!("A home answers no ping");
                            return;
                        }
                    }
                }
            }
            let answered = Instant::now();
            measured = Some(answered);
            {
                let mut known = self.lock();
                known.round_trip = Some(RoundTrip::after(known.round_trip, answered - sent));
                known.unanswered = None;
            }
            self.n_answers.send_modify(|n| *n += 1);
        }
    }
}

/// Asks the other end for a sign of life.
pub(crate) trait Ping {
    /// Asks, when the last answer has come.
    fn send(&mut self) -> io::Result<()>;

    /// Waits for the answer.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Ping for PingPong {
    fn send(&mut self) -> io::Result<()> {
        self.send().map_err(io::Error::other)
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_answer(cx).map_err(io::Error::other)
    }
}

/// A stream that notes when bytes arrive.
#[derive(Debug)]
pub(crate) struct Heard<S> {
    stream: S,
    heard: Arc<Activity>,
}

impl<S> Heard<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            heard: Arc::new(Activity::new()),
        }
    }

    /// When bytes last arrived.
    pub(crate) fn heard(&self) -> Arc<Activity> {
        Arc::clone(&self.heard)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let n_before = buffer.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > n_before {
            self.heard.moved();
        }
        poll
    }
}

impl<S: AsyncBufRead + Unpin> AsyncBufRead for Heard<S> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let Self { stream, heard } = self.get_mut();
        let polled = Pin::new(stream).poll_fill_buf(cx);
        if matches!(&polled, Poll::Ready(Ok(bytes)) if !bytes.is_empty()) {
            heard.moved();
        }
        polled
    }

    fn consume(mut self: Pin<&mut Self>, n: usize) {
        Pin::new(&mut self.stream).consume(n);
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    /// Nobody answers.
    struct Mute;

    impl Ping for Mute {
        fn send(&mut self) -> io::Result<()> {
            Ok(())
        }

        fn poll_answer(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_home_that_is_silent_already_gets_no_more_time() {
        const LIMIT: Duration = Duration::from_secs(2);
        const MOMENT: Duration = Duration::from_millis(5);
        let heard = Arc::new(Activity::new());
        let liveness = Liveness::new(Arc::clone(&heard));
        let timings = Timings::default();
        let ask = async || {
            let begun = Instant::now();
            assert!(!liveness.answers(LIMIT).await);
            begun.elapsed()
        };
        let asking = async {
            // The ping of the beginning.
            sleep(LIMIT / 2).await;
            let waited = ask().await;
            assert!(waited.abs_diff(LIMIT / 2) < MOMENT, "{waited:?}");
            assert!(ask().await < MOMENT);
            // Something else was heard, as of a home that sends much.
            heard.moved();
            let waited = ask().await;
            assert!(waited.abs_diff(LIMIT) < MOMENT, "{waited:?}");
        };
        tokio::select! {
            () = liveness.watch(Mute, &timings) => panic!("dead already"),
            () = asking => {}
        }
    }
}
