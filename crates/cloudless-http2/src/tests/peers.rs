//! The two ends of a connection, each driven by a task of its own.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite, BufReader, duplex};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::pieces::Pieces;
use crate::client::{self, Answer, Requests};
use crate::server::{self, Arrival};
use crate::{Config, Error, PingPong, RecvStream, SendStream};

pub(super) const CONFIG: Config = Config {
    stream_window: 256 * 1024,
    frame_len: 32 * 1024 - 9,
    streams_max: 100,
    header_list_len: 16 * 1024,
};

pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// One end of a pipe.
pub(super) type End = Box<dyn Io>;

/// For more than any test has waiting.
pub(super) const ROOM: usize = 1 << 18;

/// A pipe that holds so many bytes each way.
pub(super) fn pipe(len: usize) -> (End, End) {
    let (near, far) = duplex(len);
    (Box::new(near), Box::new(far))
}

/// One through which bytes come and go in small pieces.
pub(super) fn pipe_of_pieces(seed: u64, len_max: usize) -> (End, End) {
    let (near, far) = pipe(4 * len_max);
    let near = Pieces::new(near, seed, len_max);
    let far = Pieces::new(far, seed + 1, len_max);
    (Box::new(near), Box::new(far))
}

/// Tells what hangs from what takes its time. Where time is paused it takes none to find out.
pub(super) async fn soon<F: Future>(future: F) -> F::Output {
    let done = timeout(Duration::from_secs(60), future).await;
    done.expect("nobody goes on")
}

/// Bytes none of which is where its neighbor should be.
pub(super) fn data(len: usize, number: usize) -> Bytes {
    let byte = |place: usize| (place * 31 + place / 251 + number * 7) as u8;
    (0..len).map(byte).collect()
}

pub(super) fn connect(authority: &str) -> Request<()> {
    let request = Request::builder().method(Method::CONNECT).uri(authority);
    request.body(()).unwrap()
}

pub(super) fn ok() -> Response<()> {
    Response::new(())
}

/// Opens streams, on a connection that a task drives to its end.
pub(super) struct Client {
    pub(super) requests: Requests,
    pub(super) ping_pong: PingPong,
    pub(super) end: JoinHandle<Result<(), Error>>,
}

impl Client {
    pub(super) fn new(io: End, config: Config) -> Self {
        let (requests, connection) = client::connect(BufReader::new(io), config);
        let ping_pong = connection.ping_pong();
        let end = tokio::spawn(connection);
        Self {
            requests,
            ping_pong,
            end,
        }
    }

    pub(super) fn open(&self) -> (Answer, SendStream) {
        self.requests.open(&connect("home.example:443")).unwrap()
    }

    /// Opens a stream, which the peer answers without a look at what is sent on it.
    pub(super) async fn answered(&self) -> (RecvStream, SendStream) {
        let (answer, send) = self.open();
        let answer = soon(answer).await.unwrap();
        (answer.into_body(), send)
    }

    /// Opens no more streams, and waits until the connection has ended of itself: there is no stream
    /// left.
    pub(super) async fn finished(self) {
        drop(self.requests);
        soon(self.end).await.unwrap().unwrap();
    }
}

type Connection = server::Connection<BufReader<End>>;

/// A connection on which streams arrive, driven by a task to its end.
pub(super) struct Server {
    arrivals: Receiver<Arrival>,
    asks: Asks<Connection>,
    pub(super) end: JoinHandle<Error>,
}

impl Server {
    pub(super) fn new(io: End, config: Config) -> Self {
        let mut connection = server::accept(BufReader::new(io), config);
        let (arrived, arrivals) = channel(ROOM);
        let (asks, mut asked) = asks();
        let end = tokio::spawn(async move {
            loop {
                tokio::select! {
                    arrival = connection.next() => match arrival {
                        Ok(arrival) => drop(arrived.try_send(arrival)),
                        Err(error) => return error,
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
        match soon(self.arrivals.recv()).await {
            Some(arrival) => arrival,
            None => panic!("{:?}", (&mut self.end).await),
        }
    }

    /// The next stream, answered.
    pub(super) async fn accepted(&mut self) -> (RecvStream, SendStream) {
        let (request, respond) = self.arrival().await;
        (request.into_body(), respond.answer(&ok()).unwrap())
    }

    /// A stream that has arrived already, if one has.
    pub(super) fn arrived(&mut self) -> Option<Arrival> {
        self.arrivals.try_recv().ok()
    }

    pub(super) async fn ask<R: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Connection) -> R + Send + 'static,
    ) -> R {
        self.asks.ask(ask).await
    }
}

/// What a task is asked to do with the connection that it drives.
type Ask<C> = Box<dyn FnOnce(&mut C) + Send>;

pub(super) struct Asks<C>(Sender<Ask<C>>);

pub(super) fn asks<C>() -> (Asks<C>, Receiver<Ask<C>>) {
    let (asks, asked) = channel(ROOM);
    (Asks(asks), asked)
}

impl<C> Asks<C> {
    pub(super) async fn ask<R: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut C) -> R + Send + 'static,
    ) -> R {
        let (answer, mut answered) = channel(ROOM);
        let asked = self.0.try_send(Box::new(move |connection| {
            let _ = answer.try_send(ask(connection));
        }));
        assert!(asked.is_ok(), "the connection has ended");
        soon(answered.recv()).await.unwrap()
    }
}

/// Ours at both ends of a pipe that holds so many bytes each way.
pub(super) fn ours(len: usize, config: Config) -> (Client, Server) {
    let (near, far) = pipe(len);
    (Client::new(near, config.clone()), Server::new(far, config))
}

/// A stream between ours, opened and answered, the client's end first.
pub(super) async fn stream(
    client: &Client,
    server: &mut Server,
) -> ((RecvStream, SendStream), (RecvStream, SendStream)) {
    let (near, far) = tokio::join!(client.answered(), server.accepted());
    (near, far)
}

/// All that comes on a stream, released as it is read.
pub(super) async fn read_all(recv: &mut RecvStream) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    while let Some(bytes) = soon(recv.data()).await {
        let bytes = bytes?;
        recv.release(bytes.len());
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}
