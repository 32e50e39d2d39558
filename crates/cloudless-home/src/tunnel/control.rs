//! The control stream: the first stream of a session, one JSON object per line, both ways.

use bytes::Bytes;
use cloudless_http2::{RecvStream, SendStream};
use cloudless_proto::control::{self, DecodeError, FromHome, FromRelay};
use cloudless_proto::lines::{self, Decoder, LineTooLong};

/// Why the control stream is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The relay sent something that is no message.
    #[error("the relay sent a message that this version cannot read; upgrade home or relay")]
    Decode(#[source] DecodeError),
    /// The relay speaks another version.
    #[error("{}", control::skew(u64::from(control::VERSION), *.relay))]
    Version {
        /// The relay's version.
        relay: u64,
    },
    /// The relay ended the stream.
    #[error("the relay ended the control stream")]
    Ended,
    /// The stream broke.
    #[error("the control stream broke")]
    Http2(#[source] cloudless_http2::Error),
    /// The relay sent an endless line.
    #[error("the relay sent a message that is too long")]
    TooLong(#[source] LineTooLong),
}

/// Home's end of the control stream. Its messages only move while the connection is polled.
pub(crate) struct Control {
    send: SendStream,
    recv: RecvStream,
    decoder: Decoder,
}

impl Control {
    pub(crate) fn new(send: SendStream, recv: RecvStream) -> Self {
        Self {
            send,
            recv,
            decoder: Decoder::new(control::MAX_LINE),
        }
    }

    /// Whether the relay has not taken yet what was said before.
    pub(crate) fn has_unsent(&self) -> bool {
        self.send.queued() > 0
    }

    /// Queues a message. What home says often it says only [while nothing waits](Self::has_unsent), so the
    /// queue stays short.
    pub(crate) fn say(&mut self, message: &FromHome) -> Result<(), ControlError> {
        let line = Bytes::from(lines::encode(message));
        self.send.queue(line).map_err(ControlError::Http2)
    }

    /// The relay's next message; those of a type that this version does not know are skipped.
    /// May be dropped and called again without losing anything.
    pub(crate) async fn hear(&mut self) -> Result<FromRelay, ControlError> {
        loop {
            while let Some(line) = self.decoder.next_line().map_err(ControlError::TooLong)? {
                match control::decode(&line) {
                    Ok(Some(message)) => return Ok(message),
                    Ok(None) => {}
                    Err(DecodeError::Version { version: relay }) => {
                        return Err(ControlError::Version { relay });
                    }
                    Err(error) => return Err(ControlError::Decode(error)),
                }
            }
            let Some(chunk) = self.recv.data().await else {
                return Err(ControlError::Ended);
            };
            let chunk = chunk.map_err(ControlError::Http2)?;
            self.decoder.push(&chunk);
            self.recv.release(chunk.len());
        }
    }

    /// Tells the relay that home is done with the session.
    pub(crate) fn end(&mut self) {
        if let Err(error) = self.send.finish(Bytes::new()) {
            tracing::debug!(%error, "The control stream was gone before its end");
        }
    }
}
