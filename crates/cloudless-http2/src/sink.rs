//! A socket that what the peer sends is written to.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::socket::AnySocket;
use crate::waiting::Waiting;

const SLICES_MAX: usize = 32;

/// Is told what moves between a stream and a socket. It must not wait, and hold or touch no handle of
/// any stream: all of its connection waits for it.
pub trait Observer: Send + Sync {
    /// So many bytes were read from the socket, or written to it.
    fn moved(&self, n: usize);

    /// So many bytes that were received wait for the socket to take them.
    fn waiting(&self, n: usize);
}

/// Where a stream's bytes go, until the last or an error.
pub(crate) struct Sink {
    socket: Arc<dyn AnySocket>,
    observer: Arc<dyn Observer>,
    /// Has the driver look here again.
    waker: Waker,
    error: Option<io::Error>,
    has_failed: bool,
}

impl Sink {
    pub(crate) fn new(
        socket: Arc<dyn AnySocket>,
        observer: Arc<dyn Observer>,
        waker: Waker,
    ) -> Self {
        Self {
            socket,
            observer,
            waker,
            error: None,
            has_failed: false,
        }
    }

    /// Takes bytes that have come: writes what the socket takes and lets the rest wait. Returns how
    /// many were written.
    pub(crate) fn take(&mut self, bytes: &[u8], waiting: &mut Waiting) -> usize {
        if self.has_failed {
            return 0;
        }
        let mut rest = bytes;
        if waiting.is_empty() {
            while !rest.is_empty() {
                match self.write(&[IoSlice::new(rest)]) {
                    Some(n) => rest = &rest[n..],
                    None => break,
                }
            }
        }
        let n = bytes.len() - rest.len();
        if n > 0 {
            self.observer.moved(n);
        }
        if !rest.is_empty() && !self.has_failed {
            self.keep(rest, waiting);
        }
        n
    }

    /// Lets bytes wait that have come.
    pub(crate) fn keep(&self, bytes: &[u8], waiting: &mut Waiting) {
        waiting.push(bytes);
        self.observer.waiting(waiting.len());
    }

    /// Writes what waits; returns how many bytes the socket has taken.
    pub(crate) fn drain(&mut self, waiting: &mut Waiting) -> usize {
        let mut written = 0;
        while !waiting.is_empty() && !self.has_failed {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let n_slices = waiting.slices(&mut slices);
            let Some(n) = self.write(&slices[..n_slices]) else {
                break;
            };
            waiting.advance(n);
            written += n;
        }
        if written > 0 {
            self.observer.moved(written);
        }
        self.observer.waiting(waiting.len());
        written
    }

    /// What the socket takes; `None` when that is nothing for now, or for ever.
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Option<usize> {
        let error = loop {
            match self.socket.write(slices) {
                Ok(0) => break io::ErrorKind::WriteZero.into(),
                Ok(n) => return Some(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut cx = Context::from_waker(&self.waker);
                    match self.socket.poll_write_ready(&mut cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(error)) => break error,
                        Poll::Pending => return None,
                    }
                }
                Err(error) => break error,
            }
        };
        self.error = Some(error);
        self.has_failed = true;
        None
    }

    /// Somebody else looks here from now on.
    pub(crate) fn wake_instead(&mut self, waker: &Waker) {
        self.waker.clone_from(waker);
    }

    pub(crate) fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    /// Whether the socket takes nothing more, also once somebody knows of it.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A socket that takes all, and keeps of how many slices each write was.
    #[derive(Default)]
    struct Greedy(Mutex<(Vec<usize>, Vec<u8>)>);

    impl AnySocket for Greedy {
        fn poll_read_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_write_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn read(&self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }

        fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let (writes, bytes) = &mut *self.0.lock().unwrap();
            let before = bytes.len();
            writes.push(slices.len());
            slices.iter().for_each(|it| bytes.extend_from_slice(it));
            Ok(bytes.len() - before)
        }
    }

    struct Nobody;

    impl Observer for Nobody {
        fn moved(&self, _: usize) {}

        fn waiting(&self, _: usize) {}
    }

    #[test]
    fn what_waits_in_pieces_is_written_as_it_lies_and_many_pieces_at_a_time() {
        let socket = Arc::new(Greedy::default());
        let mut sink = Sink::new(socket.clone(), Arc::new(Nobody), Waker::noop().clone());
        let mut waiting = Waiting::default();
        let bytes: Vec<u8> = (0..40 * 8000_u32).map(|n| (n / 7) as u8).collect();
        for piece in bytes.chunks(8000) {
            sink.keep(piece, &mut waiting);
        }
        assert_eq!(sink.drain(&mut waiting), bytes.len());
        let (writes, written) = &*socket.0.lock().unwrap();
        assert_eq!(writes, &[SLICES_MAX, 40 - SLICES_MAX]);
        assert!(*written == bytes, "other bytes than waited");
    }
}
