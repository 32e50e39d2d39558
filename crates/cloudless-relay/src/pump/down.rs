//! The direction from the home to the visitor.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::sync::atomic::Ordering;
use std::task::Poll;

use bytes::{Buf, Bytes};
use cloudless_proto::leg::{self, StreamEnd, TRAILER};
use cloudless_splice::{ForwardError, forward};
use h2::{Reason, RecvStream};

use super::{Cut, Shared};
use crate::budget::Share;
use crate::socket;

/// A shorter chunk of the home is copied, because it may hold the buffer of all that came with it.
const CHUNK_MIN: usize = 8 * 1024;
const SLICES_MAX: usize = 32;

/// All that has arrived is taken at once and waits here, not inside the HTTP/2 connection, so that
/// the budget sees every byte that waits.
pub(super) struct Down<'a> {
    shared: &'a Shared<'a>,
    receive: &'a mut RecvStream,
    waiting: VecDeque<Chunk>,
    share: &'a Share,
}

struct Chunk {
    bytes: Bytes,
    /// Its length when it arrived.
    len: usize,
}

/// These bytes, holding not much more memory than they need.
fn unshared(bytes: Bytes) -> Bytes {
    if bytes.len() < CHUNK_MIN {
        Bytes::copy_from_slice(&bytes)
    } else {
        bytes
    }
}

impl<'a> Down<'a> {
    pub(super) fn new(
        shared: &'a Shared<'a>,
        receive: &'a mut RecvStream,
        share: &'a Share,
    ) -> Self {
        Self {
            shared,
            receive,
            waiting: VecDeque::new(),
            share,
        }
    }

    /// Moves all, `first` before the rest.
    pub(super) async fn run(mut self, first: Option<Bytes>) -> Result<(), Cut> {
        if let Some(bytes) = first {
            self.push(bytes);
        }
        let mut ended = None;
        loop {
            self.write()?;
            if let Some(end) = ended
                && self.waiting.is_empty()
            {
                return match end {
                    StreamEnd::Fin => self.finish(),
                    StreamEnd::GoesOn => on_leg(self.shared).await,
                };
            }
            let (visitor, share) = (self.shared.visitor, self.share);
            tokio::select! {
                ready = visitor.writable(), if !self.waiting.is_empty() => {
                    ready.map_err(Cut::Visitor)?;
                }
                received = self.receive(), if ended.is_none() => ended = received?,
                () = share.evicted() => return Err(Cut::Evicted),
            }
        }
    }

    fn finish(&self) -> Result<(), Cut> {
        socket::finish(self.shared.visitor).map_err(Cut::Visitor)?;
        self.shared.activity.half_closed();
        Ok(())
    }

    fn push(&mut self, bytes: Bytes) {
        let len = bytes.len();
        if len > 0 {
            let bytes = unshared(bytes);
            self.share.add(len);
            self.waiting.push_back(Chunk { bytes, len });
        }
    }

    /// Takes all that has arrived, at least something, and the end if that is next.
    async fn receive(&mut self) -> Result<Option<StreamEnd>, Cut> {
        let mut received = false;
        let end = poll_fn(|cx| {
            loop {
                match self.receive.poll_data(cx) {
                    Poll::Ready(Some(Ok(bytes))) => {
                        self.push(bytes);
                        received = true;
                    }
                    Poll::Ready(Some(Err(error))) if is_no_error(&error) => {
                        return Poll::Ready(Ok(Some(None)));
                    }
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Cut::Home(error))),
                    Poll::Ready(None) => break,
                    Poll::Pending if received => return Poll::Ready(Ok(None)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            match self.receive.poll_trailers(cx) {
                Poll::Ready(Ok(trailers)) => Poll::Ready(Ok(Some(trailers))),
                Poll::Ready(Err(error)) if is_no_error(&error) => Poll::Ready(Ok(Some(None))),
                Poll::Ready(Err(error)) => Poll::Ready(Err(Cut::Home(error))),
                Poll::Pending if received => Poll::Ready(Ok(None)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await?;
        let Some(trailers) = end else {
            return Ok(None);
        };
        let number = trailers
            .as_ref()
            .and_then(|trailers| trailers.get(TRAILER))
            .and_then(|value| leg::from_trailer(value.as_bytes()));
        let end = self.shared.ways.stream_ended(number);
        end.map(Some).map_err(Cut::Lost)
    }

    /// Writes what the socket takes, and lets the home send as much again.
    fn write(&mut self) -> Result<(), Cut> {
        while !self.waiting.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let n_slices = self.waiting.len().min(SLICES_MAX);
            for (slice, chunk) in slices.iter_mut().zip(&self.waiting) {
                *slice = IoSlice::new(&chunk.bytes);
            }
            let n = match self.shared.visitor.try_write_vectored(&slices[..n_slices]) {
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(Cut::Visitor(error)),
            };
            self.advance(n);
            let flow_control = self.receive.flow_control();
            flow_control.release_capacity(n).map_err(Cut::Home)?;
            self.shared.visit.moved_down(n as u64);
            self.shared.activity.moved();
            self.shared.ways.moved_down(n);
        }
        Ok(())
    }

    fn advance(&mut self, mut n: usize) {
        while let Some(chunk) = self.waiting.front_mut() {
            let step = n.min(chunk.bytes.len());
            chunk.bytes.advance(step);
            n -= step;
            if !chunk.bytes.is_empty() {
                return;
            }
            self.share.subtract(chunk.len);
            self.waiting.pop_front();
        }
    }
}

/// RST_STREAM with NO_ERROR is an end like any other (RFC 9113 section 8.1).
fn is_no_error(error: &h2::Error) -> bool {
    error.is_reset() && error.reason() == Some(Reason::NO_ERROR)
}

async fn on_leg(shared: &Shared<'_>) -> Result<(), Cut> {
    let Shared {
        visitor,
        ways,
        activity,
        visit,
    } = shared;
    let counters = visit.counters();
    let moved = |n| {
        visit.moved_down(n);
        counters.leg_bytes_down.fetch_add(n, Ordering::Relaxed);
        activity.moved();
    };
    match forward(ways.leg().await, *visitor, &visit.home().pipes, moved).await {
        Ok(_) => {
            activity.half_closed();
            ways.leg_ended().map_err(Cut::Lost)
        }
        Err(ForwardError::Read(error)) => Err(Cut::Leg(error)),
        Err(ForwardError::Write(error)) => Err(Cut::Visitor(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_waiting_bytes_do_not_hold_the_buffer_they_came_in() {
        let buffer = Bytes::from(vec![7; 16 * 1024]);
        let waiting = unshared(buffer.slice(..100));
        assert_eq!(waiting, buffer[..100]);
        assert!(buffer.is_unique());
    }
}
