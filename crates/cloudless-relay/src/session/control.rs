//! The control stream: lines of JSON both ways, for as long as the session lives.

use std::time::Duration;

use bytes::Bytes;
use cloudless_http2::client::Requests;
use cloudless_http2::{RecvStream, SendStream};
use cloudless_proto::Hostname;
use cloudless_proto::control::{self, CONTROL_PATH, DecodeError, FromHome, FromRelay, MAX_LINE};
use cloudless_proto::lines::{self, LineTooLong};
use http::{Method, Request, StatusCode};
use tokio::time::{Instant, sleep_until};

/// Between two messages of a home: whoever talks without end is heard slowly.
const PAUSE: Duration = Duration::from_millis(10);

/// The relay's end of a control stream.
#[derive(Debug)]
pub(super) struct Control {
    send: SendStream,
    receive: RecvStream,
    decoder: lines::Decoder,
    /// When the next message is read at the earliest.
    heard_from: Instant,
}

impl Control {
    /// Opens the control stream, which must be the first stream of its session.
    pub(super) async fn open(
        requests: &Requests,
        server_name: &Hostname,
    ) -> Result<Self, ControlError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("https://{server_name}{CONTROL_PATH}"))
            .body(())
            .map_err(ControlError::Request)?;
        let (response, send) = requests.open(&request).map_err(ControlError::Stream)?;
        let response = response.await.map_err(ControlError::Stream)?;
        if response.status() != StatusCode::OK {
            return Err(ControlError::Status(response.status()));
        }
        Ok(Self {
            send,
            receive: response.into_body(),
            decoder: lines::Decoder::new(MAX_LINE),
            heard_from: Instant::now(),
        })
    }

    /// The next message of a type that this relay knows. May be cancelled without losing bytes, and
    /// without beginning a pause anew.
    pub(super) async fn next(&mut self) -> Result<FromHome, ControlError> {
        loop {
            sleep_until(self.heard_from).await;
            let line = self.line().await?;
            // After a message of a later version, too: it takes as much work.
            self.heard_from = Instant::now() + PAUSE;
            if let Some(message) = control::decode(&line).map_err(ControlError::Malformed)? {
                return Ok(message);
            }
        }
    }

    async fn line(&mut self) -> Result<Vec<u8>, ControlError> {
        loop {
            if let Some(line) = self.decoder.next_line().map_err(ControlError::TooLong)? {
                return Ok(line);
            }
            let bytes = self.receive.data().await.ok_or(ControlError::Ended)?;
            let bytes = bytes.map_err(ControlError::Stream)?;
            self.decoder.push(&bytes);
            self.receive.release(bytes.len());
        }
    }

    /// Queues a message without waiting for the home to take it. For the first message only:
    /// nothing bounds what would wait.
    pub(super) fn queue(&mut self, message: &FromRelay) -> Result<(), ControlError> {
        let line = Bytes::from(lines::encode(message));
        self.send.queue(line).map_err(ControlError::Stream)
    }

    /// Sends a message as soon as the home takes it.
    pub(super) async fn send(&mut self, message: &FromRelay) -> Result<(), ControlError> {
        let line = Bytes::from(lines::encode(message));
        let sent = self.send.send_all(line).await;
        sent.map_err(ControlError::Stream)
    }

    /// Sends the last message and waits for the home to end the stream too.
    pub(super) async fn finish(mut self, message: &FromRelay) -> Result<(), ControlError> {
        let line = Bytes::from(lines::encode(message));
        self.send.finish(line).map_err(ControlError::Stream)?;
        while let Some(bytes) = self.receive.data().await {
            let n = bytes.map_err(ControlError::Stream)?.len();
            self.receive.release(n);
        }
        Ok(())
    }
}

/// Why a control stream cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum ControlError {
    #[error("the home ended the control stream")]
    Ended,
    #[error("the home sent a line that is no message")]
    Malformed(#[source] DecodeError),
    #[error("the control request cannot be written")]
    Request(#[source] http::Error),
    #[error("the home answered the control request with {0}")]
    Status(StatusCode),
    #[error("the control stream failed")]
    Stream(#[source] cloudless_http2::Error),
    #[error("the home sent a line that is too long")]
    TooLong(#[source] LineTooLong),
}

#[cfg(test)]
mod tests;
