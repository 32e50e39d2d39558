use std::io;
use std::os::fd::AsFd;

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
