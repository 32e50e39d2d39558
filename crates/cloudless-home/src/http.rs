//! HTTP/1.1 and HTTP/2 in front of the CardDAV service and the servers behind home, with bounds on
//! everything a client sends.

mod answer;
mod received;
mod requests;
mod security_headers;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use cloudless_carddav::CardDav;
use cloudless_proto::Hostname;
use http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

pub(crate) use self::answer::Answer;
pub(crate) use self::received::Received;
use self::requests::Requests;
pub(crate) use self::requests::{Waiting, WaitingGuard};
use crate::config::Timings;
use crate::tunnel::{Activity, Watched};
use crate::upstream::{self, Current, Found, Tunnels, Visit};
use crate::visitor::{Refusals, VisitorRefusal};

/// The longest request head, HTTP/1 and HTTP/2 alike, in bytes.
const HEAD_MAX: u32 = 32 * 1024;
/// Header fields in an HTTP/1 request.
const HEADERS_MAX: usize = 100;
/// Requests at a time in one HTTP/2 connection.
const STREAMS_MAX: u32 = 64;
/// What a client may send ahead of the reading, HTTP/2.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// An HTTP/2 client that answers no ping for this long is gone.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
const PING_INTERVAL: Duration = Duration::from_secs(60);

/// How long one that has sent no request yet may do so when its connection is to end.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// The hosts that requests of one connection may be for.
#[derive(Clone, Debug)]
pub(crate) enum Hosts {
    /// The server name of the TLS handshake.
    Only(Hostname),
    /// This machine, whatever the port: a page on the Web that has its name resolve to a loopback
    /// address (DNS rebinding) is none of these.
    Loopback,
}

impl Hosts {
    /// Whether the request says one host, and a permitted one, wherever it says it. HTTP/1.0 knows
    /// no Host: on a loopback port there is one host that can be meant.
    fn permit<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let in_target = request
            .uri()
            .authority()
            .map(|authority| authority.as_str());
        let mut hosts = request
            .headers()
            .get_all(HOST)
            .iter()
            .map(|host| host.to_str().unwrap_or_default())
            .chain(in_target)
            .peekable();
        let is_http_1 = request.version() == Version::HTTP_11;
        if is_http_1 && request.headers().get_all(HOST).iter().count() != 1 {
            return Err(Refusal::NotOneHost);
        }
        let is_old_program =
            matches!(self, Self::Loopback) && request.version() == Version::HTTP_10;
        let is_said = hosts.peek().is_some() || is_old_program;
        if is_said && hosts.all(|host| self.permit_host(host)) {
            Ok(())
        } else {
            Err(Refusal::OtherHost)
        }
    }

    fn permit_host(&self, host: &str) -> bool {
        let Some(name) = without_port(host) else {
            return false;
        };
        match self {
            Self::Only(hostname) => name.parse::<Hostname>().is_ok_and(|name| name == *hostname),
            Self::Loopback => {
                name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" || name == "[::1]"
            }
        }
    }
}

/// Why a request is answered by nobody here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// HTTP/1.1 without Host, or with more than one (RFC 9112 §3.2).
    NotOneHost,
    /// Another host, or none, in a connection to this one (RFC 9110 §15.5.20).
    OtherHost,
}

/// The host of `host[:port]` (RFC 9110 §7.2); `None` if the port is none.
fn without_port(host: &str) -> Option<&str> {
    let name_end = host.rfind(']').map_or(0, |bracket| bracket + 1);
    match host[name_end..].rfind(':').map(|colon| name_end + colon) {
        Some(colon) => {
            let is_port = host[colon + 1..].bytes().all(|byte| byte.is_ascii_digit());
            is_port.then(|| &host[..colon])
        }
        None => Some(host),
    }
}

/// Who answers the requests of a connection.
pub(crate) struct Site {
    pub(crate) hosts: Hosts,
    pub(crate) carddav: CardDav,
    /// Servers behind home, which a connection from this machine does not get to.
    pub(crate) behind: Option<Behind>,
}

/// The servers behind home, and what they are told of a connection.
pub(crate) struct Behind {
    pub(crate) upstreams: Arc<Current>,
    /// The visitor, as the relay told.
    pub(crate) address: Option<SocketAddr>,
    /// The port that visitors reach the relay at.
    pub(crate) public_port: u16,
    pub(crate) refusals: Refusals,
}

impl Site {
    /// What servers behind home need to know, of a connection that gets to them.
    fn visit(&self, waiting: Arc<Waiting>, shutdown: &CancellationToken) -> Option<Visit> {
        let (behind, Hosts::Only(hostname)) = (self.behind.as_ref()?, &self.hosts) else {
            return None;
        };
        Some(Visit {
            hostname: hostname.clone(),
            address: behind.address,
            public_port: behind.public_port,
            refusals: behind.refusals.clone(),
            waiting,
            tunnels: Tunnels::new(shutdown),
        })
    }
}

/// Serves one connection to its end. On `shutdown` requests under way are finished, new ones are
/// not accepted. A connection without a request is idle whatever bytes move, and one over HTTP/2 with
/// requests that do not move on: pings keep nobody's place.
pub(crate) async fn serve<C>(
    connection: C,
    site: Site,
    timings: &Timings,
    shutdown: CancellationToken,
) where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Activity::new();
    let watched = TokioIo::new(Watched::new(connection, activity.clone()));
    let requests = Requests::new();
    let waiting = Waiting::new();
    let visit = Arc::new(site.visit(waiting.clone(), &shutdown));
    let site = Arc::new(site);
    let (deadline, silence) = (timings.request, timings.header_read);
    let stop = shutdown.clone();
    let counter = requests.clone();
    let visiting = visit.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (site, visit, stop) = (site.clone(), visiting.clone(), stop.clone());
        let under_way = counter.begin(request.version());
        let counter = counter.clone();
        async move {
            let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
            let version = request.version();
            let visit = Option::as_ref(&visit);
            let due = Instant::now() + deadline;
            let (request, rest) = Received::of(request, &counter);
            let mut response = respond(request, &site, visit, deadline).await;
            let silence = received::patience(&response, silence);
            let is_done = tokio::select! {
                is_done = timeout_at(due, rest.discard(silence, &counter)) => is_done,
                () = stop.cancelled() => Ok(rest.is_done()),
            };
            let is_own = matches!(response.body(), Answer::CardDav(_));
            if is_own {
                security_headers::add(response.headers_mut(), &site.hosts);
            }
            // HTTP/2 ends the stream only.
            if version < Version::HTTP_2 && (is_chunked || !is_done.unwrap_or(false)) {
                close_after(&mut response);
            }
            Ok::<_, Infallible>(response.map(|body| under_way.until_sent(body)))
        }
    });
    let builder = builder(timings);
    let mut connection = pin!(builder.serve_connection_with_upgrades(watched, service));
    let mut stop = pin!(async {
        shutdown.cancelled().await;
        // A client that has just connected asks at once, and would be refused.
        let _ = timeout(FIRST_REQUEST, requests.begun()).await;
    });
    let mut is_shutting_down = false;
    let mut cut_off = None;
    loop {
        let idle_since = || requests.idle_since(&activity).max(waiting.last());
        let idle_end = || idle_since() + timings.idle;
        let wake = cut_off.unwrap_or_else(idle_end);
        tokio::select! {
            served = connection.as_mut() => {
                if let Err(error) = served {
                    tracing::debug!(%error, "Connection ended");
                }
                break;
            }
            () = stop.as_mut(), if !is_shutting_down => {
                is_shutting_down = true;
                connection.as_mut().graceful_shutdown();
            }
            () = sleep_until(wake) => {
                if Instant::now() < idle_end() {
                    cut_off = None;
                } else if cut_off.is_some() || requests.is_any_under_way() {
                    return;
                } else {
                    tracing::debug!("Connection idle");
                    cut_off = Some(Instant::now() + timings.drain);
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
    if let Some(visit) = Option::as_ref(&visit) {
        visit.tunnels.ended().await;
    }
}

fn builder(timings: &Timings) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(timings.header_read)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

async fn respond(
    request: Request<Received>,
    site: &Site,
    visit: Option<&Visit>,
    deadline: Duration,
) -> Response<Answer> {
    let version = request.version();
    let refuse = |status, text| {
        if let Some(visit) = visit {
            visit.refusals.count(VisitorRefusal::RequestRefused);
        }
        refusal(status, text, version)
    };
    match site.hosts.permit(&request) {
        Ok(()) => {}
        Err(Refusal::NotOneHost) => {
            let text = "an HTTP/1.1 request has one Host header\n";
            return refuse(StatusCode::BAD_REQUEST, text);
        }
        Err(Refusal::OtherHost) => {
            let text = "this host is not served on this connection\n";
            return refuse(StatusCode::MISDIRECTED_REQUEST, text);
        }
    }
    if let (Some(visit), Some(behind)) = (visit, &site.behind) {
        let upstreams = behind.upstreams.get();
        match upstreams.find(&visit.hostname, request.uri().path()) {
            Found::Own => {}
            Found::Server(server) => return server.serve(request, visit).await,
            Found::NoSlash => return upstream::to_slash(request.uri()),
            Found::DotSegment => {
                let text = "the path must not contain `.` or `..`\n";
                return refuse(StatusCode::BAD_REQUEST, text);
            }
        }
    }
    match timeout(deadline, site.carddav.respond(request)).await {
        Ok(response) => response.map(Answer::CardDav),
        Err(_) => refuse(StatusCode::REQUEST_TIMEOUT, "the request took too long\n"),
    }
}

/// An answer after which the connection is of no more use.
fn refusal(status: StatusCode, text: &'static str, version: Version) -> Response<Answer> {
    let mut response = upstream::says(status, text);
    if version < Version::HTTP_2 {
        close_after(&mut response);
    }
    response
}

/// Ends an HTTP/1 connection with this answer. So does a request with chunks: there may have been a
/// length beside them, which is not to be seen any more (RFC 9112 section 6.3), and what somebody
/// before us took for a part of its body must not be a request.
pub(crate) fn close_after(response: &mut Response<Answer>) {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hosts: &Hosts, target: &str, host: Option<&str>) -> bool {
        permit(hosts, Version::HTTP_2, target, Vec::from_iter(host)).is_ok()
    }

    fn permit(
        hosts: &Hosts,
        version: Version,
        target: &str,
        names: Vec<&str>,
    ) -> Result<(), Refusal> {
        let mut request = Request::builder().version(version).uri(target);
        for name in names {
            request = request.header(HOST, name);
        }
        hosts.permit(&request.body(()).unwrap())
    }

    /// RFC 9112 §3.2.
    #[test]
    fn http_1_1_has_one_host_header() {
        let only = Hosts::Only("home.example.org".parse().unwrap());
        let (name, other) = ("home.example.org", "other.example.org");
        let (old, current) = (Version::HTTP_10, Version::HTTP_11);
        for target in ["/", "http://home.example.org/"] {
            for (hosts, names) in [
                (&only, vec![]),
                (&only, vec![name, name]),
                (&only, vec![name, other]),
                (&Hosts::Loopback, vec![]),
                (&Hosts::Loopback, vec!["localhost", "localhost"]),
            ] {
                let refused = permit(hosts, current, target, names);
                assert_eq!(refused, Err(Refusal::NotOneHost));
            }
        }
        assert_eq!(permit(&only, current, "/", vec![name]), Ok(()));
        let misdirected = Err(Refusal::OtherHost);
        assert_eq!(permit(&only, current, "/", vec![other]), misdirected);
        assert_eq!(permit(&only, old, "/", vec![]), misdirected);
        assert_eq!(permit(&Hosts::Loopback, old, "/", vec![]), Ok(()));
        let rebound = permit(&Hosts::Loopback, old, "/", vec![other]);
        assert_eq!(rebound, misdirected);
        let rebound = permit(&Hosts::Loopback, old, "http://other.example.org/", vec![]);
        assert_eq!(rebound, misdirected);
    }

    #[test]
    fn host_is_the_server_name_whatever_port_and_case() {
        let hosts = Hosts::Only("home.example.org".parse().unwrap());
        for host in [
            "home.example.org",
            "Home.Example.ORG:8443",
            "home.example.org.",
            "home.example.org:",
        ] {
            assert!(check(&hosts, "/", Some(host)), "{host}");
        }
        for host in [
            "other.example.org",
            "home.example.org.evil.example",
            "home.example.org:80@evil.example",
            "evil.example:home.example.org",
            "home.example.org:x",
            "",
            "127.0.0.1",
        ] {
            assert!(!check(&hosts, "/", Some(host)), "{host}");
        }
        assert!(!check(&hosts, "/", None));
    }

    #[test]
    fn every_place_that_names_a_host_must_agree() {
        let hosts = Hosts::Only("home.example.org".parse().unwrap());
        assert!(check(&hosts, "https://home.example.org/", None));
        assert!(check(
            &hosts,
            "https://home.example.org/",
            Some("home.example.org")
        ));
        assert!(!check(
            &hosts,
            "https://evil.example/",
            Some("home.example.org")
        ));
        assert!(!check(
            &hosts,
            "https://home.example.org/",
            Some("evil.example")
        ));
        let twice = Request::builder()
            .header(HOST, "home.example.org")
            .header(HOST, "evil.example")
            .body(())
            .unwrap();
        assert!(hosts.permit(&twice).is_err());
    }

    #[test]
    fn loopback_is_this_machine_by_its_three_names() {
        for host in [
            "localhost",
            "LOCALHOST:5232",
            "127.0.0.1",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:1",
        ] {
            assert!(check(&Hosts::Loopback, "/", Some(host)), "{host}");
        }
        for host in [
            "::1",
            "rebound.example",
            "127.0.0.1.example",
            "localhost.",
            "10.0.0.1",
            "[::1]x",
        ] {
            assert!(!check(&Hosts::Loopback, "/", Some(host)), "{host}");
        }
    }
}
