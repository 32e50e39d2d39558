//! Answers plain HTTP without passing anything on: what a careless client sends in clear goes no
//! further than this process, and is overwritten there.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use cloudless_proto::request_head::{MAX_LEN, Parsed, Reader, RequestHead};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::listener::Connection;
use crate::run::Relay;
use crate::{fallback, socket};

const READ_LEN: usize = 4096;
/// A certificate authority follows a redirect without checking the certificate it ends at, so these
/// paths of a home's name are never redirected.
const VALIDATION_PATHS: [&str; 2] = [
    "/.well-known/acme-challenge/",
    "/.well-known/pki-validation/",
];

/// Serves one connection of the plain HTTP port: one request, one answer, and the end.
pub(crate) async fn serve(relay: &Arc<Relay>, connection: Connection) {
    let Connection {
        mut stream,
        mut permits,
        ..
    } = connection;
    let read = timeout(relay.config().timings.client_hello, read_head(&mut stream)).await;
    permits.decided();
    let (parsed, head) = match read {
        Ok(Ok(read)) => read,
        Ok(Err(error)) => {
            tracing::debug!(%error, "A connection ended before its request head was complete");
            return relay.counters.count("http_closed_early");
        }
        Err(_) => {
            relay.counters.count("http_timeout");
            return socket::close(stream, &answer("408 Request Timeout", None)).await;
        }
    };
    let route = route(relay, parsed);
    relay.counters.count(route.class());
    if let (Route::NoHome(_), Some(address)) = (&route, relay.config().fallback_http) {
        let Some(_permit) = relay.visitors.admit(relay.config().limits.visitors) else {
            return relay.counters.count("visitor_limit");
        };
        let opening = Bytes::from_owner(head);
        if let Err(error) = fallback::forward(
            stream,
            opening,
            address,
            &relay.pipes,
            &relay.config().timings,
        )
        .await
        {
            tracing::warn!(%error, "The HTTP fallback cannot be reached");
            relay.counters.count("fallback_unreachable");
        }
        return;
    }
    drop(head);
    socket::close(stream, &route.answer()).await;
}

/// What becomes of a request.
enum Route {
    /// Not HTTP, or a request that two servers could read in two ways.
    Malformed,
    /// For a host that is no home's; the class says which.
    NoHome(&'static str),
    /// For a home's name: to this URL.
    Redirect(String),
    TooLong,
    /// A validation of a home's name.
    Validation,
}

impl Route {
    fn class(&self) -> &'static str {
        match self {
            Self::Malformed => "http_malformed",
            Self::NoHome(class) => class,
            Self::Redirect(_) => "http_redirect",
            Self::TooLong => "http_too_long",
            Self::Validation => "http_validation",
        }
    }

    fn answer(&self) -> Vec<u8> {
        match self {
            Self::Malformed => answer("400 Bad Request", None),
            Self::NoHome(_) | Self::Validation => answer("404 Not Found", None),
            Self::Redirect(location) => answer("308 Permanent Redirect", Some(location)),
            Self::TooLong => answer("431 Request Header Fields Too Large", None),
        }
    }
}

fn route(relay: &Relay, parsed: Parsed) -> Route {
    let RequestHead {
        target_path, host, ..
    } = match parsed {
        Parsed::Request(request) => request,
        Parsed::TooLong => return Route::TooLong,
        Parsed::Malformed(_) | Parsed::Incomplete => return Route::Malformed,
    };
    let Some(host) = host else {
        return Route::NoHome("http_no_host");
    };
    if host == relay.config().server_name {
        return Route::NoHome("http_own_name");
    }
    if relay.registry.key_of(&host).is_none() {
        return Route::NoHome("http_unknown_host");
    }
    if VALIDATION_PATHS
        .iter()
        .any(|path| target_path.starts_with(path))
    {
        return Route::Validation;
    }
    // `*` asks about the server as a whole.
    let path = target_path.strip_prefix('*').unwrap_or(&target_path);
    Route::Redirect(format!("https://{host}{path}"))
}

fn answer(status: &str, location: Option<&str>) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {status}\r\n");
    if let Some(location) = location {
        answer.push_str(&format!("Location: {location}\r\n"));
    }
    let date = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    if let Ok(date) = OffsetDateTime::now_utc().format(date) {
        answer.push_str(&format!("Date: {date}\r\n"));
    }
    answer.push_str("Content-Length: 0\r\nConnection: close\r\n\r\n");
    answer.into_bytes()
}

/// Reads one request head, and what came along with it. All of it is overwritten when dropped.
async fn read_head(stream: &mut TcpStream) -> io::Result<(Parsed, Zeroizing<Vec<u8>>)> {
    let mut reader = Reader::new();
    let mut buffer = Zeroizing::new(vec![0; READ_LEN]);
    loop {
        // Beyond its limit the reader would move its bytes and leave a copy behind.
        let room = (MAX_LEN - reader.bytes().len()).min(READ_LEN);
        let n = stream.read(&mut buffer[..room]).await;
        let parsed = match n {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => Ok(reader.push(&buffer[..n])),
            Err(error) => Err(error),
        };
        match parsed {
            Ok(Parsed::Incomplete) => {}
            parsed => {
                let head = Zeroizing::new(reader.into_bytes());
                return parsed.map(|parsed| (parsed, head));
            }
        }
    }
}
