//! A connection after its handshake: both directions, and the keys they have in common.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use rustls::{AlertDescription, Error};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::poll_proceed;

use crate::inbound::{Came, Inbound};
use crate::keys::Keys;
use crate::outbound::Outbound;
use crate::patience::Patience;

pub(crate) struct State<S: AsyncRead + AsyncWrite + Unpin> {
    pub(crate) io: S,
    keys: Keys,
    inbound: Inbound,
    outbound: Outbound,
    /// How the peer's direction has ended.
    end: Option<End>,
    /// Flushes are left to the end of the turn.
    pub(crate) is_corked: bool,
    pub(crate) patience: Patience,
}

enum End {
    /// As it should.
    Closed,
    Failed(Error),
    /// The stream below has failed while nobody was there to hear it.
    Broken(io::ErrorKind),
}

impl<S: AsyncRead + AsyncWrite + Unpin> State<S> {
    pub(crate) fn new(io: S, keys: Keys, inbound: Inbound, outbound: Outbound) -> Self {
        Self {
            io,
            keys,
            inbound,
            outbound,
            end: None,
            is_corked: false,
            patience: Patience::default(),
        }
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Without this what has arrived already would look like progress that costs nothing, and a
        // busy tunnel would let nobody else go on.
        let turn = ready!(poll_proceed(cx));
        let before = target.filled().len();
        loop {
            self.inbound.read(target);
            if target.remaining() == 0 {
                break;
            }
            match self.open() {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => self.failed(error),
            }
            if target.filled().len() > before {
                break;
            }
            match &self.end {
                Some(End::Closed) => break,
                Some(End::Failed(error)) => return Poll::Ready(Err(invalid(error.clone()))),
                Some(End::Broken(kind)) => return Poll::Ready(Err((*kind).into())),
                None => {}
            }
            if ready!(self.inbound.poll_fill(&mut self.io, cx))? == 0 {
                let message = "the peer hung up without a close_notify";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, message)));
            }
        }
        turn.made_progress();
        Poll::Ready(Ok(()))
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

    /// Has whoever reads next hear of it.
    pub(crate) fn broke(&mut self, error: &io::Error) {
        self.inbound.forget();
        self.outbound.forget();
        self.end = Some(End::Broken(error.kind()));
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

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_corked && !self.outbound.is_closed() {
            return Poll::Ready(Ok(()));
        }
        self.poll_send(cx)
    }

    /// Sends all that was written.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
    /// What waits for the end of a turn, or says why this is the end, leaves if the system takes it.
    fn drop(&mut self) {
        if self.unsent() > 0 {
            let _ = self.poll_send(&mut Context::from_waker(Waker::noop()));
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
