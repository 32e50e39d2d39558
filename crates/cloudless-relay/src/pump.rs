//! Moves a visitor's bytes between its socket and its stream in the home's tunnel.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::sync::atomic::Ordering;
use std::task::Poll;

use bytes::{Buf, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::activity::Activity;
use crate::budget::Share;
use crate::config::Timings;
use crate::slots::Slot;
use crate::socket;
use crate::status::HomeCounters;

const READ_LEN: usize = 64 * 1024;
/// A read that fills less of its buffer is copied, so that few bytes do not hold a large buffer
/// while they wait to be sent.
const COPY_MAX: usize = READ_LEN / 4;
/// A shorter chunk of the home is copied, because it may hold the buffer of all that came with it.
const CHUNK_MIN: usize = 8 * 1024;
const SLICES_MAX: usize = 32;

/// A visitor's stream, once the home has accepted it.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) send: SendStream<Bytes>,
    pub(crate) receive: RecvStream,
    /// Bytes of the home that were received already.
    pub(crate) first: Option<Bytes>,
    pub(crate) share: Share,
    /// Freed when the stream is done with.
    pub(crate) _slot: Slot,
    /// Cancelled when the tunnel ends.
    pub(crate) closed: CancellationToken,
}

/// Moves bytes both ways until both sides have ended, or one side or the relay cuts the other.
///
/// END_STREAM and FIN become each other, as do RST_STREAM and a TCP reset. The window of a stream
/// grows only by what its visitor's socket has taken.
pub(crate) async fn pump(
    visitor: TcpStream,
    mut stream: Stream,
    counters: &HomeCounters,
    timings: &Timings,
) {
    let activity = Activity::new();
    let up = up(&visitor, &mut stream.send, &activity, counters);
    let down = Down {
        visitor: &visitor,
        receive: &mut stream.receive,
        waiting: VecDeque::new(),
        share: &stream.share,
        activity: &activity,
        counters,
    };
    let outcome = tokio::select! {
        outcome = async { tokio::try_join!(up, down.run(stream.first)) } => outcome.map(|(end, ())| end),
        () = activity.silent(timings) => Err(Cut::Silent),
        () = stream.closed.cancelled() => Err(Cut::TunnelClosed),
    };
    match outcome {
        Ok(UpEnd::Visitor) => {}
        Ok(UpEnd::Home) => socket::close(visitor, b"").await,
        Err(cut) => {
            tracing::debug!(?cut, "A visitor was cut");
            stream.send.send_reset(Reason::CANCEL);
            socket::reset(visitor);
        }
    }
}

/// Sends all of `bytes`, as fast as the stream's window allows.
pub(crate) async fn send_all(
    stream: &mut SendStream<Bytes>,
    mut bytes: Bytes,
) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let mut capacity = stream.capacity();
        while capacity == 0 {
            let assigned = poll_fn(|cx| stream.poll_capacity(cx)).await;
            capacity = assigned.unwrap_or_else(|| Err(Reason::CANCEL.into()))?;
        }
        stream.send_data(bytes.split_to(capacity.min(bytes.len())), false)?;
    }
    Ok(())
}

/// Why a visitor is cut before both sides have ended.
#[derive(Debug)]
#[expect(dead_code, reason = "the causes are read in the log, through Debug")]
enum Cut {
    /// Too many bytes wait for a visitor that does not read.
    Evicted,
    /// The stream to the home failed.
    Home(h2::Error),
    /// No byte moved for too long.
    Silent,
    TunnelClosed,
    /// The visitor's socket failed.
    Visitor(io::Error),
}

/// Who ended the direction from the visitor to the home.
enum UpEnd {
    /// The home has said all and wants no more: RST_STREAM with NO_ERROR (RFC 9113 section 8.1).
    Home,
    Visitor,
}

async fn up(
    visitor: &TcpStream,
    send: &mut SendStream<Bytes>,
    activity: &Activity,
    counters: &HomeCounters,
) -> Result<UpEnd, Cut> {
    loop {
        tokio::select! {
            ready = visitor.readable() => ready.map_err(Cut::Visitor)?,
            reset = poll_fn(|cx| send.poll_reset(cx)) => {
                activity.half_closed();
                return up_end(reset);
            }
        }
        // The buffer exists only while there is something to read: an idle visitor holds none.
        let mut buffer = BytesMut::with_capacity(READ_LEN);
        let n = match visitor.try_read_buf(&mut buffer) {
            Ok(0) => {
                send.send_data(Bytes::new(), true).map_err(Cut::Home)?;
                activity.half_closed();
                return Ok(UpEnd::Visitor);
            }
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(Cut::Visitor(error)),
        };
        let bytes = if n <= COPY_MAX {
            Bytes::copy_from_slice(&buffer)
        } else {
            buffer.freeze()
        };
        if let Err(error) = send_all(send, bytes).await {
            activity.half_closed();
            // A stream that was reset says so with an error that does not tell why.
            let reset = poll_fn(|cx| Poll::Ready(send.poll_reset(cx))).await;
            return match reset {
                Poll::Ready(reset) => up_end(reset),
                Poll::Pending => Err(Cut::Home(error)),
            };
        }
        counters.bytes_up.fetch_add(n as u64, Ordering::Relaxed);
        activity.moved();
    }
}

fn up_end(reset: Result<Reason, h2::Error>) -> Result<UpEnd, Cut> {
    match reset {
        Ok(Reason::NO_ERROR) => Ok(UpEnd::Home),
        Ok(reason) => Err(Cut::Home(reason.into())),
        Err(error) => Err(Cut::Home(error)),
    }
}

/// The direction from the home to the visitor.
///
/// All that has arrived is taken at once and waits here, not inside the HTTP/2 connection, so that
/// the budget sees every byte that waits.
struct Down<'a> {
    visitor: &'a TcpStream,
    receive: &'a mut RecvStream,
    waiting: VecDeque<Chunk>,
    share: &'a Share,
    activity: &'a Activity,
    counters: &'a HomeCounters,
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

impl Down<'_> {
    async fn run(mut self, first: Option<Bytes>) -> Result<(), Cut> {
        if let Some(bytes) = first {
            self.push(bytes);
        }
        let mut ended = false;
        loop {
            self.write()?;
            if ended && self.waiting.is_empty() {
                socket::finish(self.visitor).map_err(Cut::Visitor)?;
                self.activity.half_closed();
                return Ok(());
            }
            let (visitor, share) = (self.visitor, self.share);
            tokio::select! {
                ready = visitor.writable(), if !self.waiting.is_empty() => {
                    ready.map_err(Cut::Visitor)?;
                }
                received = self.receive(), if !ended => ended = received?,
                () = share.evicted() => return Err(Cut::Evicted),
            }
        }
    }

    fn push(&mut self, bytes: Bytes) {
        let len = bytes.len();
        if len > 0 {
            let bytes = unshared(bytes);
            self.share.add(len);
            self.waiting.push_back(Chunk { bytes, len });
        }
    }

    /// Takes all that has arrived, at least something; returns whether that was the end.
    async fn receive(&mut self) -> Result<bool, Cut> {
        let mut received = false;
        poll_fn(|cx| {
            loop {
                match self.receive.poll_data(cx) {
                    Poll::Ready(Some(Ok(bytes))) => {
                        self.push(bytes);
                        received = true;
                    }
                    Poll::Ready(Some(Err(error)))
                        if error.is_reset() && error.reason() == Some(Reason::NO_ERROR) =>
                    {
                        return Poll::Ready(Ok(true));
                    }
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Cut::Home(error))),
                    Poll::Ready(None) => return Poll::Ready(Ok(true)),
                    Poll::Pending if received => return Poll::Ready(Ok(false)),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }

    /// Writes what the socket takes, and lets the home send as much again.
    fn write(&mut self) -> Result<(), Cut> {
        while !self.waiting.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let n_slices = self.waiting.len().min(SLICES_MAX);
            for (slice, chunk) in slices.iter_mut().zip(&self.waiting) {
                *slice = IoSlice::new(&chunk.bytes);
            }
            let n = match self.visitor.try_write_vectored(&slices[..n_slices]) {
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(Cut::Visitor(error)),
            };
            self.advance(n);
            let flow_control = self.receive.flow_control();
            flow_control.release_capacity(n).map_err(Cut::Home)?;
            self.counters
                .bytes_down
                .fetch_add(n as u64, Ordering::Relaxed);
            self.activity.moved();
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
