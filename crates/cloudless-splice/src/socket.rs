use std::io;
use std::io::IoSlice;
use std::os::fd::AsFd;
use std::task::{Context, Poll};

use rustix::buffer::{Buffer, spare_capacity};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
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

    /// Ready when the socket may have something to read. One waker is kept, the last one's.
    ///
    /// # Errors
    /// When the process shuts down.
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ready when the socket may take something. One waker is kept, the last one's.
    ///
    /// # Errors
    /// When the process shuts down.
    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// Reads what the socket has into the spare capacity of `buffer`; 0 is the FIN.
///
/// # Errors
/// Those of recv(2), `WouldBlock` among them.
pub(crate) fn read(from: &impl Socket, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let room = buffer.capacity() - buffer.len();
    read_up_to(from, room, || recv(from, spare_capacity(buffer)))
}

/// Reads what the socket has into `buffer`; 0 is the FIN, if there is room.
///
/// # Errors
/// Those of recv(2), `WouldBlock` among them.
pub fn read_into(from: &impl Socket, buffer: &mut [u8]) -> io::Result<usize> {
    let room = buffer.len();
    read_up_to(from, room, || recv(from, &mut *buffer))
}

/// Costs less than read(2), which is not for sockets alone.
fn recv<B: Buffer<u8>>(from: &impl Socket, buffer: B) -> rustix::io::Result<B::Output> {
    rustix::net::recv(from, buffer, RecvFlags::empty()).map(|(output, _)| output)
}

/// Of a signal that programs in Rust ignore anyway, where the system can be told to send none.
const NO_SIGNAL: SendFlags = {
    #[cfg(not(target_vendor = "apple"))]
    let flags = SendFlags::NOSIGNAL;
    #[cfg(target_vendor = "apple")]
    let flags = SendFlags::empty();
    flags
};

/// Costs less than write(2).
fn send(to: &impl Socket, bytes: &[u8]) -> rustix::io::Result<usize> {
    rustix::net::send(to, bytes, NO_SIGNAL)
}

fn read_up_to(
    from: &impl Socket,
    room: usize,
    call: impl FnMut() -> rustix::io::Result<usize>,
) -> io::Result<usize> {
    let mut short = None;
    let read = from.try_io(Interest::READABLE, || {
        let n = uninterrupted(call)?;
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
/// Those of send(2), `WouldBlock` among them.
pub fn write(to: &impl Socket, bytes: &[u8]) -> io::Result<usize> {
    to.try_io(Interest::WRITABLE, || uninterrupted(|| send(to, bytes)))
}

/// Writes what the socket takes of `slices`, one after the other.
///
/// # Errors
/// Those of writev(2), `WouldBlock` among them.
pub fn write_vectored(to: &impl Socket, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    to.try_io(Interest::WRITABLE, || {
        uninterrupted(|| match slices {
            [bytes] => send(to, bytes),
            slices => rustix::io::writev(to, slices),
        })
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

    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_read_ready(self, cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_write_ready(self, cx)
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

    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_read_ready(self, cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_write_ready(self, cx)
    }
}
