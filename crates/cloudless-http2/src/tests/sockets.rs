//! Real sockets at the ends of streams.

mod ends;
mod moves;
mod schedules;

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cloudless_splice::{Socket, write};
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};

use super::peers::soon;
use crate::Observer;

/// What tests do with a socket, TCP or Unix.
trait AnyStream: Socket + AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: Socket + AsyncRead + AsyncWrite + Send + Unpin + 'static> AnyStream for S {}

/// Two connected sockets.
async fn tcp() -> (TcpStream, TcpStream) {
    tcp_of(TcpSocket::new_v4().unwrap()).await
}

/// Two whose buffers are so small that they stall soon.
async fn small_tcp() -> (TcpStream, TcpStream) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(8 * 1024).unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    tcp_of(socket).await
}

async fn tcp_of(socket: TcpSocket) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) =
        soon(async { tokio::join!(socket.connect(address), listener.accept()) }).await;
    (near.unwrap(), far.unwrap().0)
}

fn unix() -> (UnixStream, UnixStream) {
    UnixStream::pair().unwrap()
}

/// Closes with a reset.
fn reset(socket: TcpStream) {
    socket.set_zero_linger().unwrap();
}

/// Writes what the socket takes of `bytes`, which is waited for.
async fn write_some(socket: &impl Socket, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match write(socket, bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                soon(socket.ready(Interest::WRITABLE)).await?;
            }
            written => return written,
        }
    }
}

/// Adds up what it is told.
#[derive(Debug, Default)]
struct Count {
    moved: AtomicUsize,
    waiting: AtomicUsize,
}

impl Count {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    fn moved(&self) -> usize {
        self.moved.load(Ordering::Relaxed)
    }

    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl Observer for Count {
    fn moved(&self, n: usize) {
        assert!(n > 0);
        self.moved.fetch_add(n, Ordering::Relaxed);
    }

    fn waiting(&self, n: usize) {
        self.waiting.store(n, Ordering::Relaxed);
    }
}
