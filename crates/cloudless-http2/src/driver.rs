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

    /// Moves all that can be moved, until `is_enough` of what has come. Otherwise ready at the end of
    /// the connection only.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut is_enough: impl FnMut(&mut State) -> bool,
    ) -> Poll<Result<(), Error>> {
        let shared = Arc::clone(&self.shared);
        shared.readiness.register(cx.waker());
        let mut state = shared.lock();
        if let Some(error) = &state.error {
            return Poll::Ready(Err(error.clone()));
        }
        let moved = self.drive(cx, &mut state, &mut is_enough);
        if let Poll::Ready(Err(error)) = &moved {
            state.fail(error.clone());
            // The peer is told why if it takes it at once.
            let _ = self.send(cx, &mut state);
        }
        moved
    }

    fn drive(
        &mut self,
        cx: &mut Context<'_>,
        state: &mut State,
        is_enough: &mut impl FnMut(&mut State) -> bool,
    ) -> Poll<Result<(), Error>> {
        loop {
            self.shared.readiness.take(&mut self.woken);
            for (id, direction) in self.woken.drain(..) {
                state.woken(id, direction);
            }
            state.take_due(Instant::now());
            if let Poll::Ready(Err(error)) = self.send(cx, state) {
                return Poll::Ready(Err(Error::broken(error)));
            }
            let is_sent = self.out.is_none() && !self.must_flush;
            if let Some(error) = &state.error {
                return Poll::Ready(Err(error.clone()));
            }
            if is_enough(state) {
                return Poll::Ready(Ok(()));
            }
            if is_sent && state.is_done() {
                ready!(Pin::new(&mut self.io).poll_shutdown(cx)).map_err(Error::broken)?;
                return Poll::Ready(Err(Error::Closed));
            }
            match Pin::new(&mut self.io).poll_fill_buf(cx) {
                Poll::Ready(Ok([])) => return Poll::Ready(Err(state.closed())),
                Poll::Ready(Ok(bytes)) => {
                    let received = state.receive(bytes);
                    let n = bytes.len();
                    Pin::new(&mut self.io).consume(n);
                    received?;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Error::broken(error))),
                Poll::Pending => {
                    if self.poll_timer(cx, state.next_due()).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Sends all that is to be sent.
    fn send(&mut self, cx: &mut Context<'_>, state: &mut State) -> Poll<std::io::Result<()>> {
        loop {
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
                return Poll::Ready(Ok(()));
            }
            let mut out = Out::new(SPARE.take());
            state.fill(&mut out);
            if out.bytes().is_empty() {
                SPARE.set(out.into_buffer());
                return Poll::Ready(Ok(()));
            }
            self.out = Some((out, 0));
        }
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
