//! A connection to a relay with its control stream open: what a session and a join have in common.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cloudless_proto::PublicKey;
use cloudless_proto::control;
use cloudless_proto::control::FromRelay;
use cloudless_tls::{Cork, Stream};
use h2::server::SendResponse;
use h2::{PingPong, RecvStream};
use http::{Method, Request, Response, StatusCode};
use rustls::ClientConfig;
use tokio::net::TcpStream;

use super::activity::{Activity, Watched};
use super::control::{Control, ControlError};
use super::dial::{DialError, Dialed, Way, dial_tls};
use super::path::Path;
use super::ssh::SshError;
use crate::config::Relay;

/// Visitors in one session; the relay is told so.
pub(crate) const VISITORS_MAX: u32 = 1024;
/// What a visitor may have under way, each direction.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
/// The largest that HTTP/2 has: only the stream windows bind.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// Visitors that come and go at once are the relay's ordinary traffic, and one of them must not end
/// the tunnel of all: so many may have gone before they were accepted, and what arrives for so many
/// streams that home has reset is ignored, for so long.
const LATE_STREAMS_MAX: usize = 16 * 1024;
const LATE_FRAMES: Duration = Duration::from_secs(5);
/// How often in the life of a connection something may arrive for a stream even longer gone.
const LATE_ERRORS_MAX: usize = 128 * 1024;

/// Why a connection to a relay ended, or did not come to be.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The relay closed it.
    #[error("the relay closed the connection")]
    Closed,
    /// The control stream failed.
    #[error(transparent)]
    Control(ControlError),
    /// Nobody was reached.
    #[error(transparent)]
    Dial(DialError),
    /// The connection broke.
    #[error("the connection to the relay broke")]
    Http2(#[source] h2::Error),
    /// The relay's first request is not the control stream.
    #[error("the relay does not speak this tunnel protocol; upgrade home or relay")]
    NoControl,
    /// Nothing was heard for too long.
    #[error("nothing was heard from the relay for {} seconds", .0.as_secs())]
    Silent(Duration),
    /// An SSH server in the relay's place does not do what is needed.
    #[error(transparent)]
    Ssh(SshError),
    /// The relay was not reached, or did not answer, in time.
    #[error("the relay did not answer within {} seconds", .0.as_secs())]
    Timeout(Duration),
}

impl ConnectionError {
    /// For how long the relay is not to be dialed, where it has said no.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Dial(DialError::Ssh { source, .. }) => source.retry_after(),
            Self::Ssh(error) => error.retry_after(),
            _ => None,
        }
    }
}

/// An open connection. Nothing moves on it but while [`next`](Self::next) is polled.
pub(crate) struct Connection {
    http2: h2::server::Connection<Watched<Stream<TcpStream>>, Bytes>,
    cork: Cork<TcpStream>,
    pub(crate) control: Control,
    pub(crate) activity: Activity,
    /// The key that the relay has proven.
    pub(crate) relay_key: PublicKey,
    /// Whence and where to.
    pub(crate) path: Option<Path>,
}

/// What the relay did.
pub(crate) enum Event {
    /// It said something on the control stream.
    Said(FromRelay),
    /// It opened a stream.
    Opened(Request<RecvStream>, SendResponse<Bytes>),
}

impl Connection {
    /// Dials the relay and answers its control stream. Sets no deadline of its own. The
    /// [`PingPong`] works only while the connection is polled.
    pub(crate) async fn open(
        way: Way<'_>,
        relay: &Relay,
        tls: Arc<ClientConfig>,
    ) -> Result<(Self, PingPong), ConnectionError> {
        let dialed = dial_tls(way, relay, tls).await;
        let Dialed {
            stream,
            relay_key,
            path,
        } = dialed.map_err(ConnectionError::Dial)?;
        let activity = Activity::new();
        let cork = stream.cork();
        let handshake = h2::server::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(control::FRAME_LEN as u32)
            .max_concurrent_streams(VISITORS_MAX)
            .max_header_list_size(8 * 1024)
            .reset_stream_duration(LATE_FRAMES)
            .max_concurrent_reset_streams(LATE_STREAMS_MAX)
            .max_pending_accept_reset_streams(LATE_STREAMS_MAX)
            .max_local_error_reset_streams(Some(LATE_ERRORS_MAX))
            .handshake(Watched::new(stream, activity.clone()));
        let shaken = cork.drive(handshake).await;
        let mut http2 = shaken.map_err(ConnectionError::Http2)?;
        let ping_pong = http2.ping_pong().ok_or(ConnectionError::Closed)?;
        let (request, mut respond) = cork
            .drive(http2.accept())
            .await
            .ok_or(ConnectionError::Closed)?
            .map_err(ConnectionError::Http2)?;
        if request.method() != Method::POST || request.uri().path() != control::CONTROL_PATH {
            return Err(ConnectionError::NoControl);
        }
        let send = respond
            .send_response(ok(), false)
            .map_err(ConnectionError::Http2)?;
        let control = Control::new(send, request.into_body());
        Ok((
            Self {
                http2,
                cork,
                control,
                activity,
                relay_key,
                path,
            },
            ping_pong,
        ))
    }

    /// Moves the connection on until the relay does something. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Result<Event, ConnectionError> {
        tokio::select! {
            biased;
            accepted = self.cork.drive(self.http2.accept()) => match accepted {
                Some(Ok((request, respond))) => Ok(Event::Opened(request, respond)),
                Some(Err(error)) => Err(ConnectionError::Http2(error)),
                None => Err(ConnectionError::Closed),
            },
            said = self.control.hear() => said.map(Event::Said).map_err(ConnectionError::Control),
        }
    }

    /// Refuses further streams; the open ones go on.
    pub(crate) fn refuse_new_streams(&mut self) {
        self.http2.graceful_shutdown();
    }

    /// Whether any stream is open, the control stream included.
    pub(crate) fn has_streams(&self) -> bool {
        self.http2.has_streams()
    }
}

/// The answer to the control stream and to every visitor.
pub(crate) fn ok() -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::OK;
    response
}
