//! A connection after its handshake: both directions, and the keys they have in common.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use rustls::{AlertDescription, Error};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::coop::poll_proceed;

use crate::inbound::{Came, Inbound};
use crate::keys::Keys;
use crate::outbound::Outbound;

pub(crate) struct State<S: AsyncRead + AsyncWrite + Unpin> {
    pub(crate) io: S,
    keys: Keys,
    inbound: Inbound,
    outbound: Outbound,
    /// How the peer's direction has ended.
    end: Option<End>,
}

enum End {
    /// As it should.
    Closed,
    Failed(Error),
}

impl<S: AsyncRead + AsyncWrite + Unpin> State<S> {
    pub(crate) fn new(io: S, keys: Keys, inbound: Inbound, outbound: Outbound) -> Self {
        Self {
            io,
            keys,
            inbound,
            outbound,
            end: None,
        }
    }

    /// Waits for data, and shows all of it that is there; none is the end.
    pub(crate) fn poll_fill_buf(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        // Without this what has arrived already would look like progress that costs nothing, and a
        // busy tunnel would let nobody else go on.
        let turn = ready!(poll_proceed(cx));
        loop {
            loop {
                match self.open() {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => self.failed(error),
                }
            }
            if !self.inbound.data().is_empty() {
                break;
            }
            match &self.end {
                Some(End::Closed) => break,
                Some(End::Failed(error)) => return Poll::Ready(Err(invalid(error.clone()))),
                None => {}
            }
            if ready!(self.inbound.poll_fill(&mut self.io, cx))? == 0 {
                let message = "the peer hung up without a close_notify";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, message)));
            }
        }
        turn.made_progress();
        Poll::Ready(Ok(self.inbound.data()))
    }

    /// So much of the data was read.
    pub(crate) fn consume(&mut self, n: usize) {
        self.inbound.consume(n);
    }

    /// Opens one record more; says whether it was there.
    fn open(&mut self) -> Result<bool, Error> {
        if self.end.is_some() {
            return Ok(false);
        }
        let Some(came) = self.inbound.open()? else {
            return Ok(false);
        };
        match came {
            Came::Data | Came::Nothing => {}
            Came::Close => {
                self.end = Some(End::Closed);
                self.inbound.forget();
            }
            Came::KeyUpdate { is_asked_in_return } => {
                self.inbound.go_on_with(self.keys.next_opener()?);
                if is_asked_in_return {
                    self.outbound.update();
                }
            }
        }
        Ok(true)
    }

    /// The peer has sent what it may not, or has said that we have.
    fn failed(&mut self, error: Error) {
        if !matches!(error, Error::AlertReceived(_)) {
            self.outbound.fail(alert(&error));
        }
        self.inbound.forget();
        self.end = Some(End::Failed(error));
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.outbound.is_closed() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.outbound.is_full() {
            ready!(self.poll_drain(cx))?;
        }
        Poll::Ready(self.outbound.take(&mut self.keys, bytes).map_err(invalid))
    }

    /// Sends all that was written.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outbound.is_full() {
            ready!(self.poll_drain(cx))?;
        }
        self.outbound.seal_rest(&mut self.keys).map_err(invalid)?;
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbound.poll_drain(&mut self.io, cx)
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbound.close(&mut self.keys).map_err(invalid)?;
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    /// What was written and has not left, in bytes.
    pub(crate) fn unsent(&self) -> usize {
        self.outbound.len()
    }

    #[cfg(test)]
    pub(crate) fn outbound(&mut self) -> &mut Outbound {
        &mut self.outbound
    }

    /// What the buffers of both directions take.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.inbound.capacity() + self.outbound.capacity()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drop for State<S> {
    /// What was not flushed, or says why this is the end, leaves if the system takes it.
    fn drop(&mut self) {
        if self.unsent() > 0 {
            let _ = self.poll_flush(&mut Context::from_waker(Waker::noop()));
        }
    }
}

/// As tokio-rustls has it.
pub(crate) fn invalid(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// How the peer is told of it.
fn alert(error: &Error) -> AlertDescription {
    match error {
        Error::DecryptError => AlertDescription::BadRecordMac,
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::InvalidMessage(_) => AlertDescription::DecodeError,
        Error::EncryptError | Error::General(_) => AlertDescription::InternalError,
        _ => AlertDescription::UnexpectedMessage,
    }
}
