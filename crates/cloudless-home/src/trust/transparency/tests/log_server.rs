//! A server that speaks the interfaces of Cert Spotter and of crt.sh, and takes webhooks.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

/// A certificate in the log.
#[derive(Clone)]
pub(crate) struct Logged {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) key: String,
    pem: String,
    pub(crate) serial: String,
    pub(crate) not_after: &'static str,
}

/// What the server holds and has heard.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) certificates: Vec<Logged>,
    /// The targets of all requests.
    pub(crate) requests: Vec<String>,
    /// The bodies of webhooks.
    pub(crate) alarms: Vec<Value>,
    /// So many webhooks are still answered with status 500, and are no alarms.
    pub(crate) refusals: u32,
    /// Given in place of any answer: a whole head and body.
    pub(crate) instead: Option<String>,
    /// What time it is at the server; the system's time unless it is set.
    pub(crate) clock: Option<SystemTime>,
    /// Whether it does not tell the time.
    pub(crate) is_timeless: bool,
}

impl Log {
    fn now(&self) -> SystemTime {
        self.clock.unwrap_or_else(SystemTime::now)
    }

    /// The certificates whose end is still to come.
    fn unexpired(&self) -> impl Iterator<Item = &Logged> {
        let now = OffsetDateTime::from(self.now()).format(&Rfc3339).unwrap();
        let (now, _) = now.split_at("2026-11-28T00:00:00".len());
        let now = now.to_owned();
        let certificates = self.certificates.iter();
        certificates.filter(move |it| *it.not_after > *now)
    }

    /// Logs a certificate for a name with a new key, and returns the key's hash.
    pub(crate) fn issue(&mut self, name: &str) -> String {
        let key = KeyPair::generate().unwrap();
        let hash = HEXLOWER.encode(&Sha256::digest(key.subject_public_key_info()));
        let certificate = CertificateParams::new([name.to_owned()]).unwrap();
        self.add(name, &hash, certificate.self_signed(&key).unwrap().pem());
        hash
    }

    /// Logs a certificate that somebody issued for a name, with the hash of its key.
    pub(crate) fn add(&mut self, name: &str, key: &str, pem: String) {
        let id = 1000 + self.certificates.len() as u64;
        self.certificates.push(Logged {
            id,
            name: name.to_owned(),
            key: key.to_owned(),
            pem,
            serial: format!("{id:x}"),
            not_after: "2126-11-28T00:00:00",
        });
    }
}

/// The server; it ends when dropped.
pub(crate) struct LogServer {
    pub(crate) log: Arc<Mutex<Log>>,
    heard: Arc<Notify>,
    address: SocketAddr,
    root: CertificateDer<'static>,
    task: JoinHandle<()>,
}

impl LogServer {
    pub(crate) async fn start() -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let root = certificate.self_signed(&key).unwrap().der().clone();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![root.clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Mutex::new(Log::default()));
        let (shared, heard) = (log.clone(), Arc::new(Notify::new()));
        let hearing = heard.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(stream) = acceptor.accept(stream).await {
                    let _ = serve(stream, &shared).await;
                    hearing.notify_one();
                }
            }
        });
        Self {
            log,
            heard,
            address,
            root,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// Who vouches for it.
    pub(crate) fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    pub(crate) fn issue(&self, name: &str) -> String {
        self.log.lock().unwrap().issue(name)
    }

    /// Waits until the log is like that; looks after each request.
    pub(crate) async fn until(&self, is_so: impl Fn(&Log) -> bool) {
        while !is_so(&self.log.lock().unwrap()) {
            self.heard.notified().await;
        }
    }

    /// The requests since the last call.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap().requests)
    }
}

impl Drop for LogServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    log: &Mutex<Log>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    let body_at = loop {
        if let Some(at) = request.windows(4).position(|it| it == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8_lossy(&request[..body_at]).to_lowercase();
    let length = head.split("content-length: ").nth(1);
    let length: usize = length.map_or(0, |it| it.split("\r\n").next().unwrap().parse().unwrap());
    while request.len() < body_at + length {
        stream.read_buf(&mut request).await?;
    }
    let text = String::from_utf8_lossy(&request).into_owned();
    let target = text.split(' ').nth(1).unwrap().to_owned();
    let answer = {
        let mut log = log.lock().unwrap();
        log.requests.push(target.clone());
        let is_refused = target == "/webhook" && log.refusals > 0;
        if is_refused {
            log.refusals -= 1;
        } else if target == "/webhook" {
            let alarm = serde_json::from_slice(&request[body_at..]).unwrap();
            log.alarms.push(alarm);
        }
        let answer = || {
            let body = answer(&log, &target);
            let length = body.len();
            let date = httpdate::fmt_http_date(log.now());
            let date = match log.is_timeless {
                true => String::new(),
                false => format!("Date: {date}\r\n"),
            };
            let status = match is_refused {
                true => "500 Not now",
                false => "200 OK",
            };
            format!(
                "HTTP/1.1 {status}\r\n{date}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            )
        };
        log.instead.clone().unwrap_or_else(answer)
    };
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn answer(log: &Log, target: &str) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parameter = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    if path == "/v1/issuances" {
        let domain = parameter("domain").unwrap();
        let wildcard = format!("*.{}", domain.split_once('.').unwrap().1);
        let after: u64 = parameter("after").map_or(0, |it| it.parse().unwrap());
        let has_name = |it: &&Logged| it.name == domain || it.name == wildcard;
        // Pages of two.
        let page = log
            .unexpired()
            .filter(has_name)
            .filter(|it| it.id > after)
            .take(2);
        let rows = page.map(|it| {
            json!({
                "id": it.id.to_string(), "tbs_sha256": "00", "pubkey_sha256": it.key.to_uppercase(),
                "issuer": {"friendly_name": "Example CA", "name": "CN=Example CA"},
                "not_before": "2026-11-01T00:00:00Z", "not_after": format!("{}Z", it.not_after),
                "revoked": false
            })
        });
        return Value::from(rows.collect::<Vec<_>>()).to_string();
    }
    if let Some(identity) = parameter("q") {
        let listed: Vec<_> = match parameter("exclude") {
            Some("expired") => log.unexpired().collect(),
            _ => log.certificates.iter().collect(),
        };
        let rows: Vec<_> = listed
            .into_iter()
            .filter(|it| it.name == identity)
            .map(|it| {
                json!({
                    "issuer_ca_id": 1, "issuer_name": "CN=Example CA", "common_name": it.name,
                    "name_value": it.name, "id": it.id, "serial_number": it.serial,
                    "not_before": "2026-11-01T00:00:00", "not_after": it.not_after
                })
            })
            .collect();
        return Value::from(rows).to_string();
    }
    let id: Option<u64> = parameter("d").and_then(|it| it.parse().ok());
    let found = log.certificates.iter().find(|it| Some(it.id) == id);
    found.map_or_else(String::new, |it| it.pem.clone())
}
