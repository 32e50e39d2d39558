//! The sockets at the ends of streams, whatever their type.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use cloudless_splice::{Socket, read_into, write_vectored};

/// What the driver does with a socket.
pub(crate) trait AnySocket: Send + Sync {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;
    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
}

impl<S: Socket + Send> AnySocket for S {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Socket::poll_read_ready(self, cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Socket::poll_write_ready(self, cx)
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        read_into(self, buffer)
    }

    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        write_vectored(self, slices)
    }
}
