use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::time::Duration;

use cloudless_splice::{ForwardError, Pipes, Socket, forward};
use socket2::{Domain, SockRef, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio::time::timeout;

/// What a connection is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Family {
    V4,
    V6,
    Unix,
}

/// Two connected sockets, whatever they are.
#[derive(Debug)]
pub(crate) enum End {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl End {
    pub(crate) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match self {
                Self::Tcp(stream) => {
                    stream.readable().await?;
                    stream.try_read(buffer)
                }
                Self::Unix(stream) => {
                    stream.readable().await?;
                    stream.try_read(buffer)
                }
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }

    /// Everything until the FIN.
    pub(crate) async fn read_to_end(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.read(&mut buffer).await? {
                0 => return Ok(bytes),
                n => bytes.extend_from_slice(&buffer[..n]),
            }
        }
    }

    /// Writes what the socket takes without waiting.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
        }
    }

    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self {
                Self::Tcp(stream) => stream.writable().await?,
                Self::Unix(stream) => stream.writable().await?,
            }
            match self.try_write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends FIN.
    pub(crate) fn finish(&self) {
        // A socket that was reset has nothing to finish.
        let _ = match self {
            Self::Tcp(stream) => SockRef::from(stream).shutdown(Shutdown::Write),
            Self::Unix(stream) => SockRef::from(stream).shutdown(Shutdown::Write),
        };
    }

    /// Closes with a reset. A Unix socket has none of its own: it resets when it is closed with
    /// bytes unread.
    pub(crate) fn reset(self) {
        if let Self::Tcp(stream) = &self {
            let socket = SockRef::from(stream);
            socket.set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
}

/// Two connected sockets. The buffers of IPv6 are so small that they stall soon.
pub(crate) async fn pair(family: Family) -> (End, End) {
    let address: SocketAddr = match family {
        Family::V4 => (Ipv4Addr::LOCALHOST, 0).into(),
        Family::V6 => (Ipv6Addr::LOCALHOST, 0).into(),
        Family::Unix => {
            let (a, b) = socket2::Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
            let [a, b] = [a, b].map(|socket| {
                socket.set_nonblocking(true).unwrap();
                End::Unix(UnixStream::from_std(socket.into()).unwrap())
            });
            return (a, b);
        }
    };
    let listener = TcpListener::bind(address).await.unwrap();
    let socket = match family {
        Family::V6 => TcpSocket::new_v6(),
        _ => TcpSocket::new_v4(),
    };
    let socket = socket.unwrap();
    if let Family::V6 = family {
        socket.set_send_buffer_size(16 * 1024).unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
    }
    let (connected, accepted) = tokio::join!(
        socket.connect(listener.local_addr().unwrap()),
        listener.accept()
    );
    let (a, b) = (connected.unwrap(), accepted.unwrap().0);
    a.set_nodelay(true).unwrap();
    b.set_nodelay(true).unwrap();
    (End::Tcp(a), End::Tcp(b))
}

/// A connection in the middle of which bytes are forwarded: `near` and `far` are its ends, the other
/// two are joined by [`both_ways`].
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) near: End,
    pub(crate) joined: (End, End),
    pub(crate) far: End,
}

pub(crate) async fn connection(near: Family, far: Family) -> Connection {
    let (near, near_joined) = pair(near).await;
    let (far_joined, far) = pair(far).await;
    Connection {
        near,
        joined: (near_joined, far_joined),
        far,
    }
}

/// Forwards both ways as a relay does: the first error ends both directions, and both sockets are
/// reset. Returns how many bytes went each way.
pub(crate) async fn both_ways(
    (near, far): (End, End),
    pipes: &Pipes,
) -> Result<(u64, u64), ForwardError> {
    let moved = {
        let (up, down) = (one_way(&near, &far, pipes), one_way(&far, &near, pipes));
        tokio::try_join!(up, down)
    };
    if moved.is_err() {
        near.reset();
        far.reset();
    }
    moved
}

/// Forwards one direction between any two ends.
pub(crate) async fn one_way(from: &End, to: &End, pipes: &Pipes) -> Result<u64, ForwardError> {
    async fn to_any(from: &impl Socket, to: &End, pipes: &Pipes) -> Result<u64, ForwardError> {
        let mut n_moved = 0;
        let moved = |n| n_moved += n;
        let total = match to {
            End::Tcp(to) => forward(from, to, pipes, moved).await,
            End::Unix(to) => forward(from, to, pipes, moved).await,
        }?;
        assert_eq!(n_moved, total);
        Ok(total)
    }
    match from {
        End::Tcp(from) => to_any(from, to, pipes).await,
        End::Unix(from) => to_any(from, to, pipes).await,
    }
}

/// Fails a test that hangs.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(60);
    timeout(limit, future).await.expect("it hangs")
}
