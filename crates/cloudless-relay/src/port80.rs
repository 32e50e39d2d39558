//! Answers plain HTTP without passing anything on: what a careless client sends in clear goes no
//! further than this process, and is overwritten there.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use cloudless_proto::Hostname;
use cloudless_proto::request_head::{MAX_LEN, Parsed, Reader};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::home_key::HomeKey;
use crate::listener::Connection;
use crate::outcome::Outcome;
use crate::routes::Servers;
use crate::run::Relay;
use crate::{home, socket, upstream};

const READ_LEN: usize = 4096;

/// Serves one connection of the plain HTTP port: one request, one answer, and the end.
pub(crate) async fn serve(relay: &Arc<Relay>, mut connection: Connection) {
    let config = relay.config();
    let head = read_head(&mut connection.stream);
    let read = relay.in_time(config.timings.client_hello, head).await;
    let (parsed, head) = match read {
        Ok(Ok(read)) => read,
        Ok(Err(error)) => {
            tracing::debug!(%error, "A connection ended before its request head was complete");
            return relay.counters.count(Outcome::HttpClosedEarly);
        }
        Err(_) => {
            relay.counters.count(Outcome::HttpTimeout);
            let last_words = answer("408 Request Timeout", None);
            return socket::close(connection.stream, &last_words).await;
        }
    };
    let route = route(relay, &config, parsed);
    relay.counters.count(route.outcome());
    if let Route::NoHome(_, servers) = &route
        && let Some(address) = &servers.http
    {
        let opening = Bytes::from_owner(head);
        let server = (address, servers.proxy_protocol);
        let last_words = || answer("502 Bad Gateway", None);
        let config = Arc::clone(&config);
        return upstream::pass(relay, config, connection, opening, server, last_words).await;
    }
    drop(head);
    if let Route::Validation(hostname, key, Some(request)) = &route {
        // It costs its home a line of text.
        let visit = home::enter(relay, &mut connection, hostname, *key);
        visit.begins_at_once();
        let answer = home::validate(relay, connection.peer, hostname, request.clone()).await;
        let answer = answer.unwrap_or_else(|| route.answer());
        return socket::close(connection.stream, &answer).await;
    }
    // It keeps its place among the undecided: whoever is slow to take an answer makes room first.
    socket::close(connection.stream, &route.answer()).await;
}

/// What becomes of a request.
enum Route<'a> {
    /// Not HTTP, or a request that two servers could read in two ways.
    Malformed,
    /// For a host that is no home's, which the outcome tells, and for these servers.
    NoHome(Outcome, &'a Servers),
    /// For a home's name: to this URL.
    Redirect(String),
    TooLong,
    /// A validation of a home's name, and the request for it that goes to the home.
    Validation(Hostname, HomeKey, Option<Vec<u8>>),
}

impl Route<'_> {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Malformed => Outcome::HttpMalformed,
            Self::NoHome(outcome, _) => *outcome,
            Self::Redirect(_) => Outcome::HttpRedirect,
            Self::TooLong => Outcome::HttpTooLong,
            Self::Validation(..) => Outcome::HttpValidation,
        }
    }

    fn answer(&self) -> Vec<u8> {
        match self {
            Self::Malformed => answer("400 Bad Request", None),
            Self::NoHome(..) | Self::Validation(..) => answer("404 Not Found", None),
            Self::Redirect(location) => answer("308 Permanent Redirect", Some(location)),
            Self::TooLong => answer("431 Request Header Fields Too Large", None),
        }
    }
}

fn route<'a>(relay: &Relay, config: &'a Config, parsed: Parsed) -> Route<'a> {
    let request = match parsed {
        Parsed::Request(request) => request,
        Parsed::TooLong => return Route::TooLong,
        Parsed::Malformed(_) | Parsed::Incomplete => return Route::Malformed,
    };
    let Some(host) = request.host.clone() else {
        return Route::NoHome(Outcome::HttpNoHost, &config.fallback);
    };
    let key = relay.registry.key_of(&host);
    let Some(key) = key.filter(|_| host != config.server_name) else {
        return match config.routes.of(&host) {
            Some(servers) => Route::NoHome(Outcome::HttpRoute, servers),
            None if host == config.server_name => {
                Route::NoHome(Outcome::HttpOwnName, &config.fallback)
            }
            None => Route::NoHome(Outcome::HttpUnknownHost, &config.fallback),
        };
    };
    if request.is_validation() {
        return Route::Validation(host, key, request.validation_request());
    }
    // `*` asks about the server as a whole.
    let path = &request.target_path;
    let path = path.strip_prefix('*').unwrap_or(path);
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
    // Who says nothing costs nothing more than the connection.
    stream.readable().await?;
    socket::configure_accepted(stream)?;
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
