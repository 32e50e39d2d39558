//! Moves a connection's bytes: the only part that touches what is below HTTP/2, or a timer.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::error::Error;
use crate::readiness::Direction;
use crate::state::{Shared, State};
use crate::transmit::Out;

thread_local! {
    /// The buffer in which frames were gathered last: it is made and wiped once, not for each write.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Rounds in one poll.
const ROUNDS_MAX: usize = 8;
/// Writes in one round, and
const WRITES_MAX: usize = 4;
/// bytes that are received in one.
const RECEIVE_MAX: usize = 64 * 1024;

/// What a round has come to.
enum Round {
    /// There may be more to be done now.
    Again,
    /// Something has come that is waited for.
    Enough,
    /// All waits for the peer, a socket or a timer.
    Nothing,
}

/// How far sending has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    All,
    Some,
}

/// One connection over `T`.
pub(crate) struct Driver<T> {
    io: T,
    pub(crate) shared: Arc<Shared>,
    /// What was gathered and is not written, and how much of it is.
    out: Option<(Out, usize)>,
    /// What was written may not have left.
    must_flush: bool,
    woken: Vec<(u32, Direction)>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<T: AsyncBufRead + AsyncWrite + Unpin> Driver<T> {
    pub(crate) fn new(io: T, shared: Arc<Shared>) -> Self {
        Self {
            io,
            shared,
            out: None,
            must_flush: false,
            woken: Vec::new(),
            timer: None,
        }
    }

    /// Moves what can be moved, until `is_enough` of what has come. Otherwise ready at the end of the
    /// connection only.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut is_enough: impl FnMut(&mut State) -> bool,
    ) -> Poll<Result<(), Error>> {
        let shared = Arc::clone(&self.shared);
        shared.readiness.register(cx.waker());
        for _ in 0..ROUNDS_MAX {
            // Not for longer than a round: whoever holds a stream has to wait for it.
            let mut state = shared.lock();
            if let Some(error) = &state.error {
                return Poll::Ready(Err(error.clone()));
            }
            match self.round(cx, &mut state, &mut is_enough) {
                Ok(Round::Again) => {}
                Ok(Round::Enough) => return Poll::Ready(Ok(())),
                Ok(Round::Nothing) => return Poll::Pending,
                Err(error) => {
                    state.fail(error.clone());
                    // The peer is told why if it takes it at once.
                    let _ = self.send(cx, &mut state);
                    return Poll::Ready(Err(error));
                }
            }
        }
        // Other tasks have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends some and receives some.
    fn round(
        &mut self,
        cx: &mut Context<'_>,
        state: &mut State,
        is_enough: &mut impl FnMut(&mut State) -> bool,
    ) -> Result<Round, Error> {
        self.shared.readiness.take(&mut self.woken);
        for (id, direction) in self.woken.drain(..) {
            state.woken(id, direction);
        }
        state.take_due(Instant::now());
        let sent = match self.send(cx, state) {
            Poll::Ready(sent) => Some(sent.map_err(Error::broken)?),
            Poll::Pending => None,
        };
        if let Some(error) = &state.error {
            return Err(error.clone());
        }
        if is_enough(state) {
            return Ok(Round::Enough);
        }
        if sent == Some(Sent::All) && state.is_done() {
            return match Pin::new(&mut self.io).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => Err(Error::Closed),
                Poll::Ready(Err(error)) => Err(Error::broken(error)),
                Poll::Pending => Ok(Round::Nothing),
            };
        }
        match Pin::new(&mut self.io).poll_fill_buf(cx) {
            Poll::Ready(Ok([])) => Err(state.closed()),
            Poll::Ready(Ok(bytes)) => {
                let n = bytes.len().min(RECEIVE_MAX);
                let received = state.receive(&bytes[..n]);
                Pin::new(&mut self.io).consume(n);
                received.map(|()| Round::Again)
            }
            Poll::Ready(Err(error)) => Err(Error::broken(error)),
            Poll::Pending if sent == Some(Sent::Some) => Ok(Round::Again),
            Poll::Pending => Ok(match self.poll_timer(cx, state.next_due()) {
                Poll::Ready(()) => Round::Again,
                Poll::Pending => Round::Nothing,
            }),
        }
    }

    /// Whether all that was said has gone to what is below.
    pub(crate) fn has_unsent(&self) -> bool {
        self.out.is_some() || self.must_flush || self.shared.lock().wants_to_send()
    }

    /// Sends what is to be sent, but no more than a round's part of it.
    fn send(&mut self, cx: &mut Context<'_>, state: &mut State) -> Poll<std::io::Result<Sent>> {
        for _ in 0..WRITES_MAX {
            while let Some((out, n_written)) = &mut self.out {
                let rest = &out.bytes()[*n_written..];
                if rest.is_empty() {
                    if let Some((out, _)) = self.out.take() {
                        SPARE.set(out.into_buffer());
                    }
                    break;
                }
                let n = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
                if n == 0 {
                    return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
                }
                *n_written += n;
                self.must_flush = true;
            }
            if self.must_flush {
                ready!(Pin::new(&mut self.io).poll_flush(cx))?;
                self.must_flush = false;
            }
            if !state.wants_to_send() {
                return Poll::Ready(Ok(Sent::All));
            }
            let mut out = Out::new(SPARE.take());
            state.fill(&mut out);
            if out.bytes().is_empty() {
                SPARE.set(out.into_buffer());
                return Poll::Ready(Ok(Sent::All));
            }
            self.out = Some((out, 0));
        }
        Poll::Ready(Ok(Sent::Some))
    }

    /// Ready when a source that had to wait may have its turn.
    fn poll_timer(&mut self, cx: &mut Context<'_>, due: Option<Instant>) -> Poll<()> {
        let Some(due) = due else {
            self.timer = None;
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        timer.as_mut().poll(cx)
    }
}

impl<T> Drop for Driver<T> {
    fn drop(&mut self) {
        self.shared.lock().fail(Error::Closed);
    }
}
