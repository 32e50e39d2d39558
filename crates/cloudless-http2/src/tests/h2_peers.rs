//! h2 at one end of a connection, as older peers have it.

use std::future::poll_fn;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use http::{HeaderMap, Request};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinHandle;

use super::peers::{Asks, End, ROOM, asks, soon};

type ClientConnection = h2::client::Connection<End, Bytes>;
type ServerConnection = h2::server::Connection<End, Bytes>;
type Arrival = (Request<h2::RecvStream>, SendResponse<Bytes>);

/// Opens streams, on a connection that a task drives to its end.
pub(super) struct H2Client {
    pub(super) requests: SendRequest<Bytes>,
    asks: Asks<ClientConnection>,
    pub(super) end: JoinHandle<Result<(), h2::Error>>,
}

impl H2Client {
    pub(super) async fn new(io: End, builder: &h2::client::Builder) -> Self {
        let (requests, mut connection) = soon(builder.handshake(io)).await.unwrap();
        let (asks, mut asked) = asks();
        let end = tokio::spawn(async move {
            loop {
                tokio::select! {
                    ended = &mut connection => return ended,
                    Some(ask) = asked.recv() => ask(&mut connection),
                }
            }
        });
        Self {
            requests,
            asks,
            end,
        }
    }

    pub(super) async fn open(
        &mut self,
        request: Request<()>,
    ) -> (ResponseFuture, h2::SendStream<Bytes>) {
        soon(poll_fn(|cx| self.requests.poll_ready(cx)))
            .await
            .unwrap();
        self.requests.send_request(request, false).unwrap()
    }

    pub(super) async fn ask<R: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut ClientConnection) -> R + Send + 'static,
    ) -> R {
        self.asks.ask(ask).await
    }
}

/// A connection on which streams arrive, driven by a task to its end.
pub(super) struct H2Server {
    arrivals: Receiver<Arrival>,
    asks: Asks<ServerConnection>,
    pub(super) end: JoinHandle<Result<(), h2::Error>>,
}

impl H2Server {
    pub(super) fn new(io: End, builder: &h2::server::Builder) -> Self {
        let (arrived, arrivals) = channel(ROOM);
        let (asks, mut asked) = asks::<ServerConnection>();
        let handshake = builder.handshake(io);
        let end = tokio::spawn(async move {
            let mut connection = handshake.await?;
            loop {
                tokio::select! {
                    arrival = connection.accept() => match arrival {
                        Some(arrival) => drop(arrived.try_send(arrival?)),
                        None => return Ok(()),
                    },
                    Some(ask) = asked.recv() => ask(&mut connection),
                }
            }
        });
        Self {
            arrivals,
            asks,
            end,
        }
    }

    /// The next stream.
    pub(super) async fn arrival(&mut self) -> Arrival {
        soon(self.arrivals.recv()).await.unwrap()
    }

    pub(super) async fn ask<R: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut ServerConnection) -> R + Send + 'static,
    ) -> R {
        self.asks.ask(ask).await
    }
}

/// All that comes on a stream, and its trailers.
pub(super) async fn h2_read_all(
    recv: &mut h2::RecvStream,
) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut all = Vec::new();
    while let Some(bytes) = soon(recv.data()).await {
        let bytes = bytes?;
        recv.flow_control().release_capacity(bytes.len())?;
        all.extend_from_slice(&bytes);
    }
    Ok((all, soon(recv.trailers()).await?))
}

/// Sends all of `bytes` as the stream's window allows, and does not end it.
pub(super) async fn h2_send_all(send: &mut h2::SendStream<Bytes>, mut bytes: Bytes) {
    while !bytes.is_empty() {
        send.reserve_capacity(bytes.len());
        let capacity = soon(poll_fn(|cx| send.poll_capacity(cx))).await;
        let n = capacity.expect("the stream goes on").unwrap();
        send.send_data(bytes.split_to(n.min(bytes.len())), false)
            .unwrap();
    }
}
