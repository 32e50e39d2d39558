//! Reads a connection's ClientHello.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use cloudless_proto::client_hello::{Parsed, Reader};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::listener::Connection;
use crate::outcome::Outcome;
use crate::run::Relay;
use crate::{router, socket};

const READ_LEN: usize = 4096;

/// Serves one connection of the TLS port, to its end.
pub(crate) async fn serve(relay: &Arc<Relay>, mut connection: Connection) {
    let read = read_client_hello(&mut connection.stream);
    match relay
        .in_time(relay.config().timings.client_hello, read)
        .await
    {
        Ok(Ok((parsed, opening))) => router::route(relay, connection, parsed, opening).await,
        Ok(Err(error)) => {
            tracing::debug!(%error, "A connection ended before its ClientHello was complete");
            relay.counters.count(Outcome::ClosedEarly);
        }
        Err(_) => relay.counters.count(Outcome::ClientHelloTimeout),
    }
}

/// Reads until it is clear what the connection is. The returned bytes are all that was read; they
/// are overwritten when the last reference to them is dropped.
async fn read_client_hello(stream: &mut TcpStream) -> io::Result<(Parsed, Bytes)> {
    // Who says nothing costs nothing more than the connection.
    stream.readable().await?;
    socket::configure_accepted(stream)?;
    let mut reader = Reader::new();
    let mut buffer = Zeroizing::new(vec![0; READ_LEN]);
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match reader.push(&buffer[..n]) {
            Parsed::Incomplete => {}
            parsed => {
                let opening = Bytes::from_owner(Zeroizing::new(reader.into_bytes()));
                return Ok((parsed, opening));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn future_len<F>(_: impl Fn(&'static Arc<Relay>, Connection) -> F) -> usize {
        size_of::<F>()
    }

    /// Thousands of visitors wait, and what their tasks are made for is mostly this.
    #[test]
    fn a_visitor_takes_little_memory() {
        let len = future_len(serve);
        assert!(len <= 7 * 1024, "{len} bytes");
    }
}
