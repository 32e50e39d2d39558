//! A server before Pebble that adds what this version of it lacks (ARI, profiles), and that can say
//! another time, answer in its place, and hold a request back.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use http::header::{CONTENT_LENGTH, DATE};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::caa::CaaCheck;
use super::pebble::{self, Pebble};

/// The name by which CAA records know the authority.
pub(super) const CAA_IDENTITY: &str = "pebble.test";

/// What the front does, and what it has seen.
#[derive(Default)]
pub(crate) struct Tricks {
    /// Its clock is so many seconds ahead.
    pub(crate) ahead_s: i64,
    /// When it suggests to renew; without, it suggests nothing.
    pub(crate) window: Option<(SystemTime, SystemTime)>,
    /// The profiles that it has.
    pub(crate) profiles: Vec<&'static str>,
    /// Answers this in Pebble's place to the next order.
    pub(crate) refuses_order: Option<(u16, Value)>,
    /// Holds the word that a validation may begin until it is told to go on.
    pub(crate) holds: bool,
    /// Refuses orders that CAA records forbid, which Pebble does not.
    pub(crate) caa: Option<CaaCheck>,
    /// The payload of each order.
    pub(crate) orders: Vec<Value>,
    /// How often it was asked when to renew.
    pub(crate) asked_to_renew: usize,
}

/// A running front; it ends when dropped.
pub(crate) struct Front {
    directory: TempDir,
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    tricks: Mutex<Tricks>,
    /// The name and the method of each challenge, by its path.
    challenges: Mutex<BTreeMap<String, (String, String)>>,
    /// A validation is held.
    held: Notify,
    go_on: Notify,
    pebble: SocketAddr,
    tls: TlsConnector,
}

impl Front {
    pub(crate) fn start(pebble: &Pebble, tricks: Tricks) -> Self {
        let directory = TempDir::new().unwrap();
        let (certificate, key) = pebble::identity(directory.path());
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(pebble.server_ca()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let to_pebble = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let own = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_file(certificate).unwrap()],
                PrivateKeyDer::from_pem_file(key).unwrap(),
            )
            .unwrap();
        let shared = Arc::new(Shared {
            tricks: Mutex::new(tricks),
            challenges: Mutex::default(),
            held: Notify::new(),
            go_on: Notify::new(),
            pebble: pebble.address(),
            tls: TlsConnector::from(Arc::new(to_pebble)),
        });
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = accept(listener, TlsAcceptor::from(Arc::new(own)), shared.clone());
        Self {
            directory,
            address,
            shared,
            accepting: tokio::spawn(accepting),
        }
    }

    /// The URL of the directory.
    pub(crate) fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.address.port())
    }

    /// Who signed the front's own certificate, in PEM.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    pub(crate) fn tricks(&self) -> MutexGuard<'_, Tricks> {
        self.shared.tricks()
    }

    /// Waits until a validation is held.
    pub(crate) async fn await_held(&self) {
        let patience = Duration::from_secs(60);
        let held = tokio::time::timeout(patience, self.shared.held.notified()).await;
        held.expect("a validation");
    }

    /// Holds no validation any more but the one that is held.
    pub(crate) fn hold_no_other(&self) {
        self.tricks().holds = false;
    }

    /// Lets the validation that is held go on, and holds no other one.
    pub(crate) fn go_on(&self) {
        self.tricks().holds = false;
        self.shared.go_on.notify_one();
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn tricks(&self) -> MutexGuard<'_, Tricks> {
        self.tricks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, anyhow::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let path = parts.uri.path().to_owned();
        if path.starts_with("/renewal-info/") {
            return Ok(self.renewal_info());
        }
        let payload = payload(&body);
        if path == "/order-plz" {
            let caa = self.tricks().caa.clone();
            if let Some(caa) = caa
                && let Err(problem) = caa.look(&account(&body), &payload).await
            {
                return problem_document(403, &problem);
            }
            let mut tricks = self.tricks();
            tricks.orders.push(payload.clone());
            if let Some((status, problem)) = tricks.refuses_order.take() {
                let mut answer = problem_document(status, &problem)?;
                answer.headers_mut().insert("retry-after", "7200".parse()?);
                return Ok(answer);
            }
        }
        // A challenge with a payload, which is empty JSON: come and look.
        if path.starts_with("/chalZ/") && payload.is_object() {
            let (caa, challenge) = (self.tricks().caa.clone(), self.challenge(&path));
            if let (Some(caa), Some((name, method))) = (caa, challenge)
                && let Err(problem) = caa.look_at(&account(&body), &name, &[&method]).await
            {
                return problem_document(403, &problem);
            }
            let go_on = self.go_on.notified();
            if self.tricks().holds {
                self.held.notify_one();
                go_on.await;
            }
        }
        let host = parts.headers.get("host").cloned();
        let (mut answer, body) = self.forward(Request::from_parts(parts, body)).await?;
        let body = self.changed(&path, &payload, host, body);
        answer.headers.remove(CONTENT_LENGTH);
        let ahead_s = self.tricks().ahead_s;
        let now = SystemTime::now();
        let by = Duration::from_secs(ahead_s.unsigned_abs());
        let theirs = if ahead_s < 0 { now - by } else { now + by };
        let theirs = httpdate::fmt_http_date(theirs);
        answer.headers.insert(DATE, theirs.parse()?);
        Ok(Response::from_parts(answer, Full::new(body)))
    }

    /// The answer as a newer Pebble would give it.
    fn changed(
        &self,
        path: &str,
        payload: &Value,
        host: Option<http::HeaderValue>,
        body: Bytes,
    ) -> Bytes {
        let Ok(mut value) = serde_json::from_slice::<Value>(&body) else {
            return body;
        };
        self.note_challenges(&value);
        let tricks = self.tricks();
        if path == "/dir" {
            let host = host.and_then(|host| host.to_str().map(str::to_owned).ok());
            if tricks.window.is_some() {
                let host = host.unwrap_or_default();
                value["renewalInfo"] = json!(format!("https://{host}/renewal-info"));
            }
            let profiles = tricks.profiles.iter();
            value["meta"]["profiles"] = profiles.map(|name| (*name, "of the test")).collect();
            value["meta"]["caaIdentities"] = json!([CAA_IDENTITY]);
        }
        if path == "/order-plz" {
            for field in ["replaces", "profile"] {
                if let Some(said) = payload.get(field) {
                    value[field] = said.clone();
                }
            }
        }
        value.to_string().into()
    }

    fn note_challenges(&self, authorization: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = text(&authorization["identifier"]["value"]);
        let challenges = authorization["challenges"].as_array();
        for challenge in challenges.into_iter().flatten() {
            let url = text(&challenge["url"]);
            let path = url.parse::<http::Uri>().unwrap().path().to_owned();
            let mut known = self.challenges.lock().unwrap();
            known.insert(path, (name.clone(), text(&challenge["type"])));
        }
    }

    fn challenge(&self, path: &str) -> Option<(String, String)> {
        self.challenges.lock().unwrap().get(path).cloned()
    }

    fn renewal_info(&self) -> Response<Full<Bytes>> {
        let mut tricks = self.tricks();
        tricks.asked_to_renew += 1;
        let Some((start, end)) = tricks.window else {
            let mut answer = Response::new(Full::default());
            *answer.status_mut() = StatusCode::NOT_FOUND;
            return answer;
        };
        let text = |time: SystemTime| {
            let format = &time::format_description::well_known::Rfc3339;
            time::OffsetDateTime::from(time).format(format).unwrap()
        };
        let window = json!({ "suggestedWindow": { "start": text(start), "end": text(end) } });
        Response::builder()
            .header("retry-after", "21600")
            .body(Full::new(window.to_string().into()))
            .unwrap()
    }

    async fn forward(
        &self,
        request: Request<Bytes>,
    ) -> Result<(http::response::Parts, Bytes), anyhow::Error> {
        let tcp = TcpStream::connect(self.pebble).await?;
        let name = ServerName::try_from("localhost")?;
        let tls = self.tls.connect(name, tcp).await?;
        let (mut sender, connection) = client::handshake(TokioIo::new(tls)).await?;
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(request.map(Full::new)).await?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        connection.abort();
        Ok((parts, body))
    }
}

/// An answer that is a refusal (RFC 7807).
fn problem_document(status: u16, problem: &Value) -> Result<Response<Full<Bytes>>, anyhow::Error> {
    let answer = Response::builder()
        .status(status)
        .header("content-type", "application/problem+json");
    Ok(answer.body(Full::new(problem.to_string().into()))?)
}

/// What a signed request says (RFC 7515 section 7.2.2); null for an empty one.
fn payload(body: &[u8]) -> Value {
    signed(body, "payload")
}

/// The URL of the account that has signed a request (RFC 8555 section 6.2).
fn account(body: &[u8]) -> String {
    let url = signed(body, "protected")["kid"].as_str().map(str::to_owned);
    url.unwrap_or_default()
}

fn signed(body: &[u8], part: &str) -> Value {
    let signed: Option<Value> = serde_json::from_slice(body).ok();
    let part = signed.as_ref().and_then(|it| it[part].as_str());
    let part = part.and_then(|it| BASE64URL_NOPAD.decode(it.as_bytes()).ok());
    part.and_then(|it| serde_json::from_slice(&it).ok())
        .unwrap_or_default()
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (tls, shared) = (tls.clone(), shared.clone());
        // It ends with the runtime, which the test drops.
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(tcp).await else {
                return;
            };
            let answer = |request| {
                let shared = shared.clone();
                async move { shared.answer(request).await }
            };
            let served = server::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer))
                .await;
            drop(served);
        });
    }
}
