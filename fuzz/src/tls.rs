//! What peers say in a tunnel's TLS, to either end: no bytes panic, what is read is what was sealed as
//! data, in its order and before any fault, and a connection that has failed stays so.

mod ends;
mod peer;

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use cloudless_tls::Stream;
use tokio::io::{AsyncBufRead, AsyncWrite};

use self::ends::{client, name, server};
use self::peer::Peer;

/// What an end says in its handshake, and of an end after that.
const OWN_MAX: usize = 8 * 1024;

/// Panics when that does not hold. The first byte says how the peer is, the rest what it says.
pub fn check(bytes: &[u8]) {
    let Some((options, script)) = bytes.split_first() else {
        return;
    };
    let is_server = options & 1 == 0;
    let mut peer = Peer::new(*options, script);
    let heard = if is_server {
        let accepting = cloudless_tls::accept(server(), &mut peer);
        shaken(accepting).map(|(stream, _)| hear(stream))
    } else {
        let connecting = cloudless_tls::connect(client(), name(), &mut peer);
        shaken(connecting).map(|(stream, _)| hear(stream))
    };
    assert!(peer.n_heard <= OWN_MAX);
    let Some(Heard { bytes, end }) = heard else {
        assert!(peer.said.is_empty(), "a handshake that is whole has failed");
        return;
    };
    assert!(peer.said.starts_with(&bytes), "other data than was sealed");
    if peer.is_flawless() {
        assert_eq!(bytes.len(), peer.said.len());
        assert_ne!(end, End::Failed);
    }
    assert!(!peer.closes || end != End::None, "an end is not heard");
}

/// The end of a handshake with a peer that says all that it will say at once.
fn shaken<T>(handshake: impl Future<Output = io::Result<T>>) -> Option<T> {
    match pin!(handshake).poll(&mut context()) {
        Poll::Ready(shaken) => shaken.ok(),
        Poll::Pending => None,
    }
}

/// What an end has read.
struct Heard {
    bytes: Vec<u8>,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// More may come.
    None,
    /// The peer has said that nothing more comes.
    Closed,
    /// It has hung up without that.
    HungUp,
    /// It has said what it may not, or that we have.
    Failed,
}

/// Reads all that there is, and writes a little in between.
fn hear(mut stream: Stream<&mut Peer<'_>>) -> Heard {
    let mut bytes = Vec::new();
    let end = loop {
        match look(&mut stream, &mut bytes) {
            Some(end) => break end,
            None => assert!(!bytes.is_empty()),
        }
    };
    if matches!(end, End::Closed | End::Failed) {
        let n = bytes.len();
        assert_eq!(look(&mut stream, &mut bytes), Some(end));
        assert_eq!(bytes.len(), n);
    }
    // What waited for data, such as a key that the peer wants changed, leaves with this.
    let written = Pin::new(&mut stream).poll_write(&mut context(), b"more");
    assert!(matches!(written, Poll::Ready(Ok(4) | Err(_))));
    assert!(Pin::new(&mut stream).poll_flush(&mut context()).is_ready());
    Heard { bytes, end }
}

/// Reads what there is now; something when that is the end, for now or ever.
fn look(stream: &mut Stream<&mut Peer<'_>>, bytes: &mut Vec<u8>) -> Option<End> {
    let n = match Pin::new(&mut *stream).poll_fill_buf(&mut context()) {
        Poll::Pending => return Some(End::None),
        Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Some(End::HungUp);
        }
        Poll::Ready(Err(error)) => {
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            return Some(End::Failed);
        }
        Poll::Ready(Ok([])) => return Some(End::Closed),
        Poll::Ready(Ok(data)) => {
            // Not all, so that what is left has to lie in front of what comes next.
            let n = data.len().div_ceil(2);
            bytes.extend_from_slice(&data[..n]);
            n
        }
    };
    Pin::new(stream).consume(n);
    None
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}
