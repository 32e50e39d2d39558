//! What peers say in a tunnel, to either end of its HTTP/2: no bytes panic, a peer makes nobody hold
//! more than it was told it may, and is sent no more than its bytes are worth.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use cloudless_http2::client::{self, Answer};
use cloudless_http2::server::{self, Respond};
use cloudless_http2::{Config, Error, RecvStream, SendStream};
use http::{Method, Request, Response};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

const STREAMS_MAX: usize = 8;
const STREAM_WINDOW: usize = 65_535;
const CONFIG: Config = Config {
    stream_window: STREAM_WINDOW as u32,
    frame_len: 32 * 1024 - 9,
    streams_max: STREAMS_MAX as u32,
    header_list_len: 4096,
};
/// What a client says first, with settings of which none is its own.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// What an end says of itself and of the streams that it opens.
const OWN_LEN: usize = 1000;
/// What any frame is answered with is not so many times longer.
const ANSWER_MAX: usize = 20;
/// How often owners look at their streams when nothing comes any more.
const LOOKS_MORE: usize = 4;
/// What a peer that reads nothing has taken anyway.
const ROOM: usize = 200;

/// Panics when that does not hold. The first byte says how the peer is.
pub fn check(bytes: &[u8]) {
    let Some((options, bytes)) = bytes.split_first() else {
        return;
    };
    let has = |bit: u8| options & 1 << bit != 0;
    let peer = |begin: &[u8]| Peer {
        bytes: [begin, bytes].concat(),
        n_read: 0,
        piece: if has(1) { 7 } else { 8 * 1024 },
        room: if has(2) { ROOM } else { usize::MAX },
        n_written: 0,
        pauses: false,
        closes: has(3),
    };
    let (reads, n_bytes) = (has(4), PREFACE.len() + bytes.len());
    let (mut streams, error, n_written) = if has(0) {
        as_client(peer(&[]), reads)
    } else {
        as_server(peer(if has(5) { &[] } else { PREFACE }), reads)
    };
    assert!(n_written <= OWN_LEN + ANSWER_MAX * n_bytes);
    assert!(streams.iter().all(|it| it.unreleased() <= STREAM_WINDOW));
    let n_open = streams.iter_mut().filter_map(Stream::look).count();
    assert!(n_open <= STREAMS_MAX);
    let n_received: usize = streams.iter().map(|it| it.n_received).sum();
    assert!(n_received <= n_bytes);
    // Whoever still waits is told of the end.
    assert!(error.is_none() || n_open == 0);
    assert!(error.is_some() || !has(3), "a peer that has closed is gone");
}

/// Until nothing moves any more: the streams, how the connection has ended, and what the peer was sent.
type Outcome = (Vec<Stream>, Option<Error>, usize);

fn as_server(mut peer: Peer, reads: bool) -> Outcome {
    let mut n_looks = peer.n_pieces() + LOOKS_MORE;
    let mut connection = server::accept(&mut peer, CONFIG);
    let mut streams = Vec::new();
    let error = loop {
        let next = pin!(connection.next()).poll(&mut context());
        match next {
            Poll::Ready(Ok((request, respond))) => {
                let mut stream = Stream::of(request.into_body());
                if reads {
                    stream.send = respond.answer(&Response::new(())).ok();
                } else {
                    stream.unanswered = Some(respond);
                }
                streams.push(stream);
            }
            Poll::Ready(Err(error)) => break Some(error),
            Poll::Pending if n_looks == 0 => break None,
            Poll::Pending => go_on(&mut streams, reads, &mut n_looks),
        }
    };
    let again = pin!(connection.next()).poll(&mut context());
    assert!(error.is_none() || matches!(again, Poll::Ready(Err(_))));
    drop(connection);
    (streams, error, peer.n_written)
}

fn as_client(mut peer: Peer, reads: bool) -> Outcome {
    let mut n_looks = peer.n_pieces() + LOOKS_MORE;
    let (requests, mut connection) = client::connect(&mut peer, CONFIG);
    let mut request = Request::new(());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = "home.example:443".parse().expect("an authority");
    let mut streams: Vec<_> = (0..3)
        .map(|_| {
            let (answer, send) = requests.open(&request).expect("nothing has ended");
            Stream {
                answer: Some(answer),
                send: Some(send),
                ..Stream::default()
            }
        })
        .collect();
    let error = loop {
        match Pin::new(&mut connection).poll(&mut context()) {
            Poll::Ready(ended) => break Some(ended.err().unwrap_or(Error::Closed)),
            Poll::Pending if n_looks == 0 => break None,
            Poll::Pending => go_on(&mut streams, reads, &mut n_looks),
        }
    };
    drop(requests);
    drop(connection);
    (streams, error, peer.n_written)
}

/// Has each stream's owner look at it.
fn go_on(streams: &mut [Stream], reads: bool, n_looks: &mut usize) {
    *n_looks -= 1;
    for stream in streams {
        assert!(stream.unreleased() <= STREAM_WINDOW);
        if reads {
            stream.look();
        }
    }
}

/// One stream and its owner, who sends back what comes.
#[derive(Default)]
struct Stream {
    answer: Option<Answer>,
    unanswered: Option<Respond>,
    recv: Option<RecvStream>,
    send: Option<SendStream>,
    n_received: usize,
}

impl Stream {
    fn of(recv: RecvStream) -> Self {
        Self {
            recv: Some(recv),
            ..Self::default()
        }
    }

    fn unreleased(&self) -> usize {
        self.recv.as_ref().map_or(0, RecvStream::unreleased)
    }

    /// Takes what has come, and sends it back; something if more may come.
    fn look(&mut self) -> Option<()> {
        let mut cx = context();
        if let Some(answer) = &mut self.answer {
            match Pin::new(answer).poll(&mut cx) {
                Poll::Pending => return Some(()),
                Poll::Ready(answered) => {
                    self.answer = None;
                    self.recv = answered.ok().map(Response::into_body);
                }
            }
        }
        let recv = self.recv.as_mut()?;
        loop {
            match recv.poll_data(&mut cx) {
                Poll::Pending => return Some(()),
                Poll::Ready(Some(Ok(bytes))) => {
                    assert!(!bytes.is_empty());
                    self.n_received += bytes.len();
                    recv.release(bytes.len());
                    send_back(self.send.as_mut(), bytes);
                }
                Poll::Ready(Some(Err(_))) => {
                    self.send = None;
                    return None;
                }
                Poll::Ready(None) => {
                    recv.trailers();
                    if let Some(mut send) = self.send.take() {
                        let _ = send.finish(Bytes::new());
                    }
                    return None;
                }
            }
        }
    }
}

/// Sends back what may be sent at once.
fn send_back(send: Option<&mut SendStream>, mut bytes: Bytes) {
    if let Some(send) = send
        && let Poll::Ready(Ok(room)) = send.poll_room(&mut context())
    {
        let _ = send.queue(bytes.split_to(room.min(bytes.len())));
    }
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Says its bytes, and then nothing more.
struct Peer {
    bytes: Vec<u8>,
    n_read: usize,
    /// How many bytes come at a time.
    piece: usize,
    /// What it still takes.
    room: usize,
    n_written: usize,
    /// What comes next does not come at once.
    pauses: bool,
    /// Whether it closes at the end.
    closes: bool,
}

impl Peer {
    fn n_pieces(&self) -> usize {
        self.bytes.len().div_ceil(self.piece)
    }
}

impl AsyncBufRead for Peer {
    fn poll_fill_buf(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let Self {
            bytes,
            n_read,
            piece,
            pauses,
            closes,
            ..
        } = self.get_mut();
        let rest = &bytes[*n_read..];
        if std::mem::take(pauses) || (rest.is_empty() && !*closes) {
            return Poll::Pending;
        }
        Poll::Ready(Ok(&rest[..rest.len().min(*piece)]))
    }

    fn consume(mut self: Pin<&mut Self>, n: usize) {
        self.n_read += n;
        self.pauses = true;
    }
}

impl AsyncRead for Peer {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        unreachable!("bytes are read where they lie")
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let n = bytes.len().min(self.room);
        if n == 0 {
            return Poll::Pending;
        }
        self.room -= n;
        self.n_written += n;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
