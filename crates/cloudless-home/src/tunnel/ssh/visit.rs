//! A visitor that came through an SSH server: who it is and whom it wants, and its visit.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use cloudless_proto::Hostname;
use cloudless_proto::client_hello;
use cloudless_proto::proxy_protocol::{self, Version};
use cloudless_proto::request_head::{self, RequestHead};
use russh::ChannelWriteHalf;
use russh::client::Msg;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::inbox::Inbox;
use super::stream::Stream;
use crate::visitor::{self, HTTP_PORT, HTTPS_PORT, Visitor, VisitorRefusal};

/// What a visitor wants to speak, by where it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Http,
    Tls,
}

/// A visitor's channel.
pub(super) struct Arrival {
    pub(super) kind: Kind,
    /// Who connected to the server, as it says: the visitor, or a proxy in between.
    pub(super) originator: Option<SocketAddr>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) channel: ChannelWriteHalf<Msg>,
}

/// A visitor that is to be served.
pub(super) type Guest = (Visitor, visitor::Stream);

/// Looks at a visitor's first bytes, which stay to be read; `None` when it was led to https. Sets no
/// deadline.
pub(super) async fn identify(
    mut stream: Stream,
    arrival: &Arrival,
    version: Option<Version>,
    is_own: impl Fn(&Hostname) -> bool,
) -> Result<Option<Guest>, VisitorRefusal> {
    let (hostname, port, address) = match arrival.kind {
        Kind::Tls => {
            let address = match version {
                Some(version) => proxied(&mut stream, version).await?,
                None => arrival.originator,
            };
            let hostname = server_name(&stream).await?;
            (hostname, HTTPS_PORT, address)
        }
        Kind::Http => match head(&stream).await {
            Ok(head) if head.host.as_ref().is_none_or(|host| !is_own(host)) => {
                answer(stream, "404 Not Found", None).await;
                return Err(VisitorRefusal::HttpRefused);
            }
            Ok(head) if head.is_validation() => (head.host, HTTP_PORT, arrival.originator),
            Ok(head) => {
                answer(stream, "308 Permanent Redirect", location(&head)).await;
                return Ok(None);
            }
            Err(status) => {
                if let Some(status) = status {
                    answer(stream, status, None).await;
                }
                return Err(VisitorRefusal::HttpRefused);
            }
        },
    };
    let visitor = Visitor {
        hostname,
        port,
        address,
    };
    Ok(Some((visitor, visitor::Stream::Ssh(stream))))
}

/// Takes the header of the proxy in front away; returns the address that it tells.
async fn proxied(
    stream: &mut Stream,
    version: Version,
) -> Result<Option<SocketAddr>, VisitorRefusal> {
    let missing = VisitorRefusal::ProxyProtocolMissing;
    let mut known = 0;
    loop {
        let bytes = peek(stream, &mut known).await.ok_or(missing)?;
        let is_version = match version {
            Version::V1 => bytes.starts_with(b"P"),
            Version::V2 => bytes.starts_with(b"\r"),
        };
        match proxy_protocol::parse(&bytes) {
            proxy_protocol::Parsed::Incomplete { .. } if is_version => {}
            proxy_protocol::Parsed::Header { len, addresses } if is_version => {
                let mut header = vec![0; len];
                stream.read_exact(&mut header).await.map_err(|_| missing)?;
                return Ok(addresses.map(|it| it.source));
            }
            _ => return Err(missing),
        }
    }
}

/// The name that a visitor wants, if it says one.
async fn server_name(stream: &Stream) -> Result<Option<Hostname>, VisitorRefusal> {
    use client_hello::{Parsed, Reader};
    let failed = VisitorRefusal::HandshakeFailed;
    let (mut reader, mut known) = (Reader::new(), 0);
    loop {
        let before = known;
        let bytes = peek(stream, &mut known).await.ok_or(failed)?;
        match reader.push(bytes.get(before..).ok_or(failed)?) {
            Parsed::Incomplete => {}
            Parsed::Name(hostname, _) => return Ok(Some(hostname)),
            Parsed::NoServerName(_) => return Ok(None),
            _ => {
                tracing::debug!("A visitor's ClientHello is none");
                return Err(failed);
            }
        }
    }
}

/// A visitor's request; the status to refuse it with, if there is anybody to refuse.
async fn head(stream: &Stream) -> Result<RequestHead, Option<&'static str>> {
    use request_head::{Parsed, Reader};
    let (mut reader, mut known) = (Reader::new(), 0);
    loop {
        let before = known;
        let bytes = peek(stream, &mut known).await.ok_or(None)?;
        match reader.push(bytes.get(before..).ok_or(None)?) {
            Parsed::Incomplete => {}
            Parsed::Request(head) => return Ok(head),
            Parsed::TooLong => return Err(Some("431 Request Header Fields Too Large")),
            Parsed::Malformed(_) => return Err(Some("400 Bad Request")),
        }
    }
}

/// More bytes than there were; `None` when no more come.
async fn peek(stream: &Stream, known: &mut usize) -> Option<bytes::Bytes> {
    let bytes = stream.peek(*known).await.ok()?;
    let is_more = bytes.len() > *known;
    *known = bytes.len();
    is_more.then_some(bytes)
}

/// Where the same is to be had with TLS.
fn location(head: &RequestHead) -> Option<String> {
    // `*` asks about the server as a whole.
    let path = &head.target_path;
    let path = path.strip_prefix('*').unwrap_or(path);
    let host = head.host.as_ref()?;
    Some(format!("https://{host}{path}"))
}

/// Answers without a body, as the last thing on the connection.
pub(super) async fn answer(channel: impl AsyncWrite, status: &str, location: Option<String>) {
    let mut channel = std::pin::pin!(channel);
    let location = location.map(|it| format!("Location: {it}\r\n"));
    let answer = format!(
        "HTTP/1.1 {status}\r\n{}Content-Length: 0\r\nConnection: close\r\n\r\n",
        location.unwrap_or_default()
    );
    let answered: io::Result<()> = async {
        channel.write_all(answer.as_bytes()).await?;
        channel.shutdown().await
    }
    .await;
    if let Err(error) = answered {
        tracing::debug!(%error, "A visitor left before the answer");
    }
}
