//! Learns from a load balancer before the relay who its client is.

use std::io;
use std::net::SocketAddr;

use cloudless_proto::proxy_protocol::{Addresses, Malformed, Parsed, parse};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Why a load balancer's connection cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("the load balancer's header is no PROXY protocol header")]
    Malformed(#[source] Malformed),
    #[error("the load balancer's header cannot be read")]
    Read(#[source] io::Error),
}

/// Reads the header and no byte more; `None` when the connection is the load balancer's own.
pub(crate) async fn read_header(stream: &mut TcpStream) -> Result<Option<Addresses>, HeaderError> {
    let mut header = Vec::new();
    loop {
        match parse(&header) {
            Parsed::Header { addresses, .. } => return Ok(addresses.map(canonical)),
            Parsed::Malformed(malformed) => return Err(HeaderError::Malformed(malformed)),
            Parsed::Incomplete { missing } => {
                let start = header.len();
                header.resize(start + missing, 0);
                let read = stream.read_exact(&mut header[start..]).await;
                read.map_err(HeaderError::Read)?;
            }
        }
    }
}

fn canonical(addresses: Addresses) -> Addresses {
    let canonical = |it: SocketAddr| SocketAddr::new(it.ip().to_canonical(), it.port());
    Addresses {
        source: canonical(addresses.source),
        destination: canonical(addresses.destination),
    }
}
