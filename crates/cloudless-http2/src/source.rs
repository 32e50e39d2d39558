//! A socket whose bytes go to the peer.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use cloudless_splice::Pace;
use tokio::time::Instant;

use crate::sink::Observer;
use crate::socket::AnySocket;

/// Where a stream's bytes come from, until the FIN or an error.
pub(crate) struct Source {
    socket: Arc<dyn AnySocket>,
    observer: Arc<dyn Observer>,
    /// Has the driver look here again.
    waker: Waker,
    pace: Option<Pace>,
    /// Nothing is read before then.
    due: Option<Instant>,
    end: Option<io::Result<()>>,
}

/// What one look at a socket has brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// So many bytes, and there may be more.
    More(usize),
    /// So many bytes, and the next ones may not be read before then.
    Paced(usize, Instant),
    /// Nothing, until its waker says so.
    Nothing,
    /// Nothing any more.
    Ended,
}

impl Source {
    pub(crate) fn new(
        socket: Arc<dyn AnySocket>,
        observer: Arc<dyn Observer>,
        waker: Waker,
        pace: Option<Pace>,
        end: Option<io::Result<()>>,
    ) -> Self {
        Self {
            socket,
            observer,
            waker,
            pace,
            due: None,
            end,
        }
    }

    /// Reads into `buffer`, which is not empty.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Read {
        if self.end.is_some() {
            return Read::Ended;
        }
        if let Some(due) = self.due {
            if Instant::now() < due {
                return Read::Nothing;
            }
            self.due = None;
        }
        let mut cx = Context::from_waker(&self.waker);
        let read = loop {
            match self.socket.poll_read_ready(&mut cx) {
                Poll::Pending => return Read::Nothing,
                Poll::Ready(Err(error)) => break Err(error),
                Poll::Ready(Ok(())) => match self.socket.read(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    read => break read,
                },
            }
        };
        match read {
            Ok(0) => self.end = Some(Ok(())),
            Ok(n) => {
                self.observer.moved(n);
                self.due = self.pace.as_mut().and_then(|pace| pace.count(n as u64));
                return self.due.map_or(Read::More(n), |due| Read::Paced(n, due));
            }
            Err(error) => self.end = Some(Err(error)),
        }
        Read::Ended
    }

    /// How it has ended, if it has: with the FIN, or with an error.
    pub(crate) fn take_end(&mut self) -> Option<io::Result<()>> {
        self.end.take()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.end.is_some()
    }
}
