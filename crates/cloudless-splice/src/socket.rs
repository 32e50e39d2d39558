use std::io;
use std::os::fd::AsFd;

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::Shutdown;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

/// A stream socket that tokio watches: TCP or Unix.
pub trait Socket: AsFd + Sync {
    /// Returns when the socket may be ready; an operation may still find that it is not.
    fn ready(&self, interest: Interest) -> impl Future<Output = io::Result<()>> + Send;

    /// Runs `operation` if the socket may be ready. `WouldBlock` from it says that the socket is
    /// not, and [`ready`](Self::ready) waits from then on; so it must mean exactly that.
    ///
    /// # Errors
    /// Those of `operation`, and `WouldBlock` when it was not run.
    fn try_io<R>(
        &self,
        interest: Interest,
        operation: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R>;
}

/// Reads what the socket has into the spare capacity of `buffer`; 0 is the FIN.
///
/// # Errors
/// Those of read(2), `WouldBlock` among them.
pub(crate) fn read(from: &impl Socket, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let room = buffer.capacity() - buffer.len();
    let mut short = None;
    let read = from.try_io(Interest::READABLE, || {
        let n = uninterrupted(|| rustix::io::read(from, spare_capacity(buffer)))?;
        if n > 0 && n < room {
            // Then the socket has nothing more (epoll(7)), and need not be asked in vain.
            short = Some(n);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(n)
    });
    short.map_or(read, Ok)
}

/// Writes what the socket takes of `bytes`.
///
/// # Errors
/// Those of write(2), `WouldBlock` among them.
pub fn write(to: &impl Socket, bytes: &[u8]) -> io::Result<usize> {
    to.try_io(Interest::WRITABLE, || {
        uninterrupted(|| rustix::io::write(to, bytes))
    })
}

/// Sends FIN and leaves reading open.
///
/// # Errors
/// Those of shutdown(2).
pub fn finish(to: &impl Socket) -> io::Result<()> {
    match rustix::net::shutdown(to, Shutdown::Write) {
        // The peer is gone, which the other direction will see.
        Err(Errno::NOTCONN) => Ok(()),
        result => result.map_err(io::Error::from),
    }
}

/// Repeats a system call that a signal has interrupted.
pub(crate) fn uninterrupted(
    mut call: impl FnMut() -> rustix::io::Result<usize>,
) -> io::Result<usize> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result.map_err(io::Error::from),
        }
    }
}

impl Socket for TcpStream {
    async fn ready(&self, interest: Interest) -> io::Result<()> {
        Self::ready(self, interest).await.map(drop)
    }

    fn try_io<R>(
        &self,
        interest: Interest,
        operation: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        Self::try_io(self, interest, operation)
    }
}

impl Socket for UnixStream {
    async fn ready(&self, interest: Interest) -> io::Result<()> {
        Self::ready(self, interest).await.map(drop)
    }

    fn try_io<R>(
        &self,
        interest: Interest,
        operation: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        Self::try_io(self, interest, operation)
    }
}
