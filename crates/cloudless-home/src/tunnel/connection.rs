//! A connection to a relay with its control stream open: what a session and a join have in common.

use std::sync::Arc;
use std::time::Duration;

use cloudless_http2::server::{self, Respond};
use cloudless_http2::{Config, Error, PingPong, RecvStream};
use cloudless_proto::PublicKey;
use cloudless_proto::control;
use cloudless_proto::control::FromRelay;
use cloudless_tls::Stream;
use http::{Method, Request, Response, StatusCode};
use rustls::ClientConfig;
use tokio::net::TcpStream;

use super::activity::{Activity, Watched};
use super::control::{Control, ControlError};
use super::dial::{DialError, Dialed, Way, dial_tls};
use super::path::Path;
use super::portal::Portals;
use super::ssh::SshError;
use crate::config::Relay;

/// Visitors in one session; the relay is told so.
pub(crate) const VISITORS_MAX: u32 = 1024;
/// What a visitor may have under way, each direction.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;

const HEADER_LIST_LEN: u32 = 8 * 1024;

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
    Http2(#[source] Error),
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
    http2: server::Connection<Watched<Stream<TcpStream>>>,
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
    Opened(Request<RecvStream>, Respond),
}

impl Connection {
    /// Dials the relay and answers its control stream. Sets no deadline of its own. The
    /// [`PingPong`] works only while the connection is polled.
    pub(crate) async fn open(
        way: Way<'_>,
        relay: &Relay,
        tls: Arc<ClientConfig>,
        portals: &Portals,
    ) -> Result<(Self, PingPong), ConnectionError> {
        let dialed = dial_tls(way, relay, tls, portals).await;
        let Dialed {
            stream,
            relay_key,
            path,
        } = dialed.map_err(ConnectionError::Dial)?;
        let activity = Activity::new();
        let config = Config {
            stream_window: STREAM_WINDOW,
            frame_len: control::FRAME_LEN as u32,
            streams_max: VISITORS_MAX,
            header_list_len: HEADER_LIST_LEN,
        };
        let mut http2 = server::accept(Watched::new(stream, activity.clone()), config);
        let ping_pong = http2.ping_pong();
        let (request, respond) = http2.next().await.map_err(ended)?;
        if request.method() != Method::POST || request.uri().path() != control::CONTROL_PATH {
            return Err(ConnectionError::NoControl);
        }
        let send = respond.answer(&ok()).map_err(ConnectionError::Http2)?;
        let control = Control::new(send, request.into_body());
        Ok((
            Self {
                http2,
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
            arrival = self.http2.next() => {
                let (request, respond) = arrival.map_err(ended)?;
                Ok(Event::Opened(request, respond))
            }
            said = self.control.hear() => said.map(Event::Said).map_err(ConnectionError::Control),
        }
    }

    /// Refuses further streams; the open ones go on.
    pub(crate) fn refuse_new_streams(&mut self) {
        self.http2.leave();
    }

    /// How many streams are open, the control stream included.
    pub(crate) fn n_streams(&self) -> usize {
        self.http2.n_streams()
    }

    /// Whether anything that was said has not left.
    pub(crate) fn has_unsent(&self) -> bool {
        self.http2.has_unsent()
    }
}

fn ended(error: Error) -> ConnectionError {
    match error {
        Error::Closed => ConnectionError::Closed,
        error => ConnectionError::Http2(error),
    }
}

/// The answer to the control stream and to every visitor.
pub(crate) fn ok() -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::OK;
    response
}
