//! A request to a server behind home and its answer, with a limit for each wait.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cloudless_carddav::Body;
use cloudless_proto::Hostname;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use tokio::time::sleep_until;

use super::body::{Progress, RequestBody, Turn, UpstreamBody};
use super::fields::{self, Edge, MalformedAnswer};
use super::places::Place;
use super::server::Server;
use super::tunnel::{self, Tunnels};
use crate::http::{Answer, Received, Waiting};
use crate::visitor::{Refusals, VisitorRefusal};

/// When a visitor may try again, in seconds.
const RETRY: HeaderValue = HeaderValue::from_static("30");

/// What home knows of the connection that a request came in.
pub(crate) struct Visit {
    /// The name that it was made for.
    pub(crate) hostname: Hostname,
    /// The visitor, as the relay told.
    pub(crate) address: Option<SocketAddr>,
    /// The port that visitors reach the relay at.
    pub(crate) public_port: u16,
    pub(crate) refusals: Refusals,
    /// Keeps the connection while a server is waited for.
    pub(crate) waiting: Arc<Waiting>,
    /// The connection's WebSockets.
    pub(crate) tunnels: Tunnels,
}

/// Why there is no answer of the server.
#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    #[error("the request cannot be sent on: {0}")]
    Request(#[from] http::Error),
    #[error("the server has as many requests as it gets at one time")]
    Busy,
    #[error("the visitor did not send the request to its end")]
    Visitor,
    #[error("the server {what} for {limit:?}")]
    Slow { what: &'static str, limit: Duration },
    #[error("the server gave no answer")]
    Failed(#[source] legacy::Error),
    #[error("the server's answer is refused")]
    Malformed(#[source] MalformedAnswer),
}

impl ExchangeError {
    /// What the visitor's request is counted as.
    fn refusal(&self) -> VisitorRefusal {
        match self {
            Self::Request(_) | Self::Visitor => VisitorRefusal::RequestRefused,
            Self::Busy => VisitorRefusal::UpstreamBusy,
            Self::Slow { .. } => VisitorRefusal::UpstreamSlow,
            Self::Failed(cause) if cause.is_connect() => VisitorRefusal::UpstreamUnreachable,
            Self::Failed(_) | Self::Malformed(_) => VisitorRefusal::UpstreamFailed,
        }
    }
}

impl Server {
    /// Sends a request on, and answers with what the server answers, or with why it does not.
    pub(crate) async fn serve(
        &self,
        request: Request<Received>,
        visit: &Visit,
    ) -> Response<Answer> {
        let version = request.version();
        if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
            visit.refusals.count(VisitorRefusal::RequestRefused);
            return says(
                StatusCode::METHOD_NOT_ALLOWED,
                "this method is not passed on\n",
            );
        }
        self.count();
        match self.exchange(request, visit).await {
            Ok(response) => response,
            Err(error) => {
                visit.refusals.count(error.refusal());
                self.failure(&error, version)
            }
        }
    }

    async fn exchange(
        &self,
        request: Request<Received>,
        visit: &Visit,
    ) -> Result<Response<Answer>, ExchangeError> {
        let _waiting = visit.waiting.begin();
        let place = self.places.take(visit.address, self.timeouts().connect);
        let place = place.await.ok_or(ExchangeError::Busy)?;
        let (mut head, body) = request.into_parts();
        let method = head.method.clone();
        let is_empty = body.is_end_stream();
        if is_empty && fields::wants_websocket(&method, head.version, &head.headers) {
            return self.websocket(head, visit, place).await;
        }
        let is_counted = head.headers.contains_key(CONTENT_LENGTH)
            || [Method::POST, Method::PUT, Method::PATCH].contains(&method);
        self.readdress(&mut head, visit)?;
        if is_empty && is_counted {
            let none = HeaderValue::from_static("0");
            head.headers.insert(CONTENT_LENGTH, none);
        }
        let may_repeat = is_empty && method.is_idempotent();
        let again = may_repeat.then(|| head.clone());
        let (body, progress) = RequestBody::new(body, &place);
        let request = Request::from_parts(head, body);
        let answer = self.ask(&self.client, request, &progress, &place);
        let answer = match (answer.await, again) {
            // The server closed a connection of the pool in the moment when it was used.
            (Err(ExchangeError::Failed(error)), Some(head)) if !error.is_connect() => {
                let (body, progress) = RequestBody::new(Received::empty(), &place);
                let request = Request::from_parts(head, body);
                self.ask(&self.client, request, &progress, &place).await
            }
            (answer, _) => answer,
        };
        self.pass_on(answer?, &method, visit, place)
    }

    /// Makes a server's answer one to the visitor.
    fn pass_on(
        &self,
        answer: Response<Incoming>,
        method: &Method,
        visit: &Visit,
        place: Place,
    ) -> Result<Response<Answer>, ExchangeError> {
        let (mut head, body) = answer.into_parts();
        fields::to_visitor(head.status, method, &mut head.headers)
            .map_err(ExchangeError::Malformed)?;
        // The version of the visitor's connection counts.
        head.version = Version::default();
        head.extensions.clear();
        let idle = self.timeouts().idle;
        let (waiting, failures) = (visit.waiting.clone(), self.failures.clone());
        let body = UpstreamBody::new(body, idle, waiting, failures, place);
        Ok(Response::from_parts(head, Answer::Upstream(body)))
    }

    /// A request that becomes a WebSocket if the server agrees.
    async fn websocket(
        &self,
        mut head: Parts,
        visit: &Visit,
        place: Place,
    ) -> Result<Response<Answer>, ExchangeError> {
        let method = head.method.clone();
        // Taken out before the request goes on, or the server's side would be it.
        let visitor = head.extensions.remove::<hyper::upgrade::OnUpgrade>();
        self.readdress(&mut head, visit)?;
        tunnel::ask_for_websocket(&mut head.headers);
        let (body, progress) = RequestBody::new(Received::empty(), &place);
        let request = Request::from_parts(head, body);
        let mut answer = self
            .ask(&self.upgrading, request, &progress, &place)
            .await?;
        let is_switched = answer.status() == StatusCode::SWITCHING_PROTOCOLS
            && tunnel::is_websocket(answer.headers());
        let Some(visitor) = visitor.filter(|_| is_switched) else {
            return self.pass_on(answer, &method, visit, place);
        };
        let server = hyper::upgrade::on(&mut answer);
        let (mut head, _) = answer.into_parts();
        fields::remove_hop_by_hop(&mut head.headers);
        tunnel::ask_for_websocket(&mut head.headers);
        head.extensions.clear();
        let idle = self.timeouts().idle;
        visit.tunnels.join(visitor, server, idle, place);
        let nothing = Answer::CardDav(Body::from(Bytes::new()));
        Ok(Response::from_parts(head, nothing))
    }

    /// Makes a visitor's request one to the server.
    fn readdress(&self, head: &mut Parts, visit: &Visit) -> Result<(), ExchangeError> {
        let authority = visit.authority(head);
        let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let prefix = self.stripped();
        let target = target.strip_prefix(prefix).unwrap_or(target);
        let edge = Edge {
            address: visit.address,
            authority: &authority,
            prefix,
        };
        fields::to_server(&mut head.headers, &edge);
        head.uri = Uri::builder()
            .scheme(self.scheme())
            .authority(authority.clone())
            .path_and_query(target)
            .build()?;
        head.version = Version::HTTP_11;
        // What hyper keeps there is of the visitor's connection.
        head.extensions.clear();
        Ok(())
    }

    /// Sends a request and waits until its answer begins.
    async fn ask(
        &self,
        client: &legacy::Client<super::connect::Connector, RequestBody>,
        request: Request<RequestBody>,
        progress: &Progress,
        place: &Place,
    ) -> Result<Response<Incoming>, ExchangeError> {
        let mut answer = pin!(client.request(request));
        let mut changes = progress.clone();
        loop {
            let (turn, since) = *changes.borrow_and_update();
            let (limit, slow) = self.limit(turn);
            tokio::select! {
                answer = answer.as_mut() => {
                    return match answer {
                        Ok(answer) => {
                            self.failures.reached();
                            Ok(answer)
                        }
                        Err(_) if progress.borrow().0 == Turn::Broken => Err(ExchangeError::Visitor),
                        Err(error) => Err(ExchangeError::Failed(error)),
                    };
                }
                // Whose body is dropped has had its turn.
                Ok(()) = changes.changed() => {}
                () = place.stay().token().cancelled() => return Err(ExchangeError::Visitor),
                () = sleep_until(since + limit) => {
                    // The same turn may have moved on meanwhile.
                    if progress.borrow().1 == since {
                        return Err(slow);
                    }
                }
            }
        }
    }

    /// How long somebody has for his turn, and what is wrong after that.
    fn limit(&self, turn: Turn) -> (Duration, ExchangeError) {
        let timeouts = self.timeouts();
        match turn {
            Turn::Visitor | Turn::Broken => (timeouts.idle, ExchangeError::Visitor),
            Turn::Server => {
                let limit = timeouts.idle.max(timeouts.connect + timeouts.first_byte);
                let what = "took nothing of a request";
                (limit, ExchangeError::Slow { what, limit })
            }
            Turn::Answer => {
                let limit = timeouts.first_byte;
                let what = "did not begin to answer";
                // A connection may have to be made first.
                (
                    limit + timeouts.connect,
                    ExchangeError::Slow { what, limit },
                )
            }
        }
    }

    /// What a visitor is told, which is nothing about the server; its owner finds more in the status.
    fn failure(&self, error: &ExchangeError, version: Version) -> Response<Answer> {
        match error {
            ExchangeError::Failed(cause) if cause.is_connect() => {
                self.failures.unreached(error);
                self.failures.note(error);
            }
            ExchangeError::Visitor | ExchangeError::Request(_) => {}
            _ => self.failures.note(error),
        }
        tracing::debug!(
            error = error as &dyn std::error::Error,
            "A request to a server behind home failed"
        );
        match error {
            ExchangeError::Request(_) => says(StatusCode::BAD_REQUEST, "bad request\n"),
            ExchangeError::Visitor => {
                let text = "the request took too long\n";
                let mut response = says(StatusCode::REQUEST_TIMEOUT, text);
                if version < Version::HTTP_2 {
                    crate::http::close_after(&mut response);
                }
                response
            }
            ExchangeError::Busy => {
                let text = "the service behind this page has too much to do; try again later\n";
                says(StatusCode::SERVICE_UNAVAILABLE, text)
            }
            ExchangeError::Slow { .. } => {
                let text = "the service behind this page takes too long; try again later\n";
                says(StatusCode::GATEWAY_TIMEOUT, text)
            }
            ExchangeError::Failed(_) | ExchangeError::Malformed(_) => {
                let text = "the service behind this page gives no answer; try again later\n";
                says(StatusCode::BAD_GATEWAY, text)
            }
        }
    }
}

impl Visit {
    /// Whom the visitor asked for. Only ports that visitors can come by are passed on, so that
    /// nobody makes up pools of connections, which are kept by this.
    fn authority(&self, head: &Parts) -> Authority {
        let in_header = || {
            let host = head.headers.get(http::header::HOST)?;
            host.to_str().ok()?.parse::<Authority>().ok()
        };
        let asked = head.uri.authority().cloned().or_else(in_header);
        let port = asked.and_then(|it| it.port_u16());
        let hostname = self.hostname.as_str();
        let text = match port.filter(|port| *port == self.public_port && *port != 443) {
            Some(port) => format!("{hostname}:{port}"),
            None => hostname.to_owned(),
        };
        text.parse()
            .unwrap_or_else(|_| Authority::from_static("invalid"))
    }
}

/// Leads a visitor to the path with a slash at its end.
pub(crate) fn to_slash(uri: &Uri) -> Response<Answer> {
    let query = uri.query().map(|query| format!("?{query}"));
    let location = format!("{}/{}", uri.path(), query.unwrap_or_default());
    let mut response = says(StatusCode::PERMANENT_REDIRECT, "");
    if let Ok(location) = HeaderValue::from_maybe_shared(Bytes::from(location)) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// A short answer of home itself.
pub(crate) fn says(status: StatusCode, text: &'static str) -> Response<Answer> {
    let body = Body::from(Bytes::from_static(text.as_bytes()));
    let mut response = Response::new(Answer::CardDav(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, plain);
    if status.is_server_error() {
        headers.insert(RETRY_AFTER, RETRY);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}
