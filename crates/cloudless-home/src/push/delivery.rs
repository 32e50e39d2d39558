//! Sends one message to a push service (RFC 8030 §5).

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::endpoint::{Endpoint, is_public};
use super::schedule::Outcome;
use crate::retry_after;

/// How long a push service keeps a message for a device that is out of reach, in seconds. After a
/// day it asks by itself.
const TTL: &str = "86400";
/// The most headers of an answer.
const HEADERS_MAX: usize = 64;
/// The longest head of an answer, in bytes.
const HEAD_MAX: usize = 16 * 1024;
/// The most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

/// A message, ready to be sent.
pub(super) struct Message {
    pub(super) endpoint: Endpoint,
    pub(super) authorization: String,
    /// What replaces a message that was not delivered yet (RFC 8030 §5.4).
    pub(super) topic: String,
    pub(super) body: Vec<u8>,
}

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error("the name of the push service cannot be looked up")]
    LookUp(#[source] io::Error),
    #[error("the push service has no address of the Internet, and home.toml does not allow others")]
    NotPublic,
    #[error("the push service cannot be reached")]
    Connect(#[source] io::Error),
    #[error("TLS with the push service failed")]
    Tls(#[source] io::Error),
    #[error("the request cannot be made")]
    Request(#[source] http::Error),
    #[error("HTTP with the push service failed")]
    Http(#[source] hyper::Error),
    #[error("the push service closed the connection")]
    Closed,
}

/// Sends messages, each over a connection of its own.
#[derive(Clone)]
pub(super) struct Sender {
    pub(super) tls: Arc<ClientConfig>,
    /// Hosts that may have any address, in lower case.
    pub(super) private_hosts: Arc<[String]>,
    pub(super) timeout: Duration,
}

impl Sender {
    /// Sends a message, once. No redirect is followed.
    pub(super) async fn send(&self, message: Message, now: SystemTime) -> Outcome {
        match tokio::time::timeout(self.timeout, self.post(message)).await {
            Ok(Ok((status, headers))) => {
                tracing::debug!(status = status.as_u16(), "A push service answered");
                outcome(status, &headers, now)
            }
            Ok(Err(error)) => {
                let error = crate::status::chain(&error);
                tracing::debug!(error, "A push message was not sent");
                Outcome::Failed { retry_after: None }
            }
            Err(_) => {
                tracing::debug!("A push service took too long");
                Outcome::Failed { retry_after: None }
            }
        }
    }

    async fn post(&self, message: Message) -> Result<(StatusCode, HeaderMap), DeliveryError> {
        let connection = self.connect(&message.endpoint).await?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(&message.endpoint.path)
            .header(HOST, message.endpoint.authority())
            .header(AUTHORIZATION, message.authorization)
            .header(CONTENT_ENCODING, "aes128gcm")
            .header(CONTENT_TYPE, "application/xml; charset=\"UTF-8\"")
            .header("ttl", TTL)
            .header("topic", message.topic)
            .header("urgency", "normal")
            .body(Full::new(Bytes::from(message.body)))
            .map_err(DeliveryError::Request)?;
        let (mut sender, connection) = http1::Builder::new()
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_MAX)
            .handshake(TokioIo::new(connection))
            .await
            .map_err(DeliveryError::Http)?;
        let mut connection = pin!(connection);
        let mut answer = pin!(sender.send_request(request));
        // The body of the answer says nothing that matters here.
        tokio::select! {
            biased;
            answer = answer.as_mut() => head(answer),
            ended = connection.as_mut() => {
                ended.map_err(DeliveryError::Http)?;
                // The answer may have come with the end.
                tokio::select! {
                    biased;
                    answer = answer.as_mut() => head(answer),
                    () = std::future::ready(()) => Err(DeliveryError::Closed),
                }
            }
        }
    }

    /// Connects to one of the addresses that the host has at this moment. They are looked at here,
    /// and not when the device registered, as a name may be given another address at any time.
    async fn connect(&self, endpoint: &Endpoint) -> Result<TlsStream<TcpStream>, DeliveryError> {
        let is_private = self.private_hosts.contains(&endpoint.host);
        let addresses: Vec<SocketAddr> = lookup_host((endpoint.host.as_str(), endpoint.port))
            .await
            .map_err(DeliveryError::LookUp)?
            .filter(|address| is_private || is_public(address.ip()))
            .take(ADDRESSES_MAX)
            .collect();
        let mut failure = DeliveryError::NotPublic;
        for (tried, address) in addresses.iter().enumerate() {
            // The others get their share of the time.
            let left = u32::try_from(addresses.len() - tried).unwrap_or(1) + 1;
            let connected = tokio::time::timeout(self.timeout / left, TcpStream::connect(address));
            match connected.await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true).map_err(DeliveryError::Connect)?;
                    return TlsConnector::from(self.tls.clone())
                        .connect(endpoint.server_name.clone(), stream)
                        .await
                        .map_err(DeliveryError::Tls);
                }
                Ok(Err(error)) => failure = DeliveryError::Connect(error),
                Err(_) => failure = DeliveryError::Connect(io::ErrorKind::TimedOut.into()),
            }
        }
        Err(failure)
    }
}

fn head(
    answer: hyper::Result<hyper::Response<hyper::body::Incoming>>,
) -> Result<(StatusCode, HeaderMap), DeliveryError> {
    let (head, _) = answer.map_err(DeliveryError::Http)?.into_parts();
    Ok((head.status, head.headers))
}

fn outcome(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Outcome {
    match status {
        status if status.is_success() => Outcome::Taken,
        StatusCode::NOT_FOUND | StatusCode::GONE => Outcome::Gone,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Outcome::Failed {
            retry_after: retry_after::read(headers, now),
        },
        status if status.is_server_error() => Outcome::Failed {
            retry_after: retry_after::read(headers, now),
        },
        _ => Outcome::Refused,
    }
}

#[cfg(test)]
mod tests {
    use http::header::RETRY_AFTER;

    use super::*;

    #[test]
    fn an_answer_says_whether_to_come_again() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let outcome = |status, retry_after: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = retry_after {
                headers.insert(RETRY_AFTER, value.parse().unwrap());
            }
            outcome(StatusCode::from_u16(status).unwrap(), &headers, now)
        };
        let later = |seconds: Option<u64>| Outcome::Failed {
            retry_after: seconds.map(Duration::from_secs),
        };
        for taken in [200, 201, 202, 204] {
            assert_eq!(outcome(taken, None), Outcome::Taken);
        }
        assert_eq!(outcome(404, None), Outcome::Gone);
        assert_eq!(outcome(410, None), Outcome::Gone);
        // A redirect is not followed, and a refused signature stays refused.
        for refused in [301, 307, 400, 401, 403, 413] {
            assert_eq!(outcome(refused, Some("1")), Outcome::Refused, "{refused}");
        }
        assert_eq!(outcome(503, None), later(None));
        assert_eq!(outcome(429, Some("120")), later(Some(120)));
        assert_eq!(
            outcome(500, Some("Sun, 06 Nov 1994 08:50:37 GMT")),
            later(Some(60))
        );
        assert_eq!(
            outcome(500, Some("Tue, 06 Nov 1984 08:50:37 GMT")),
            later(Some(0))
        );
        assert_eq!(outcome(500, Some("soon")), later(None));
    }
}
