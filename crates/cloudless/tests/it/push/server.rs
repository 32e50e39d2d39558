//! A push service on this machine, and a device that can read what it gets.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Longer than any wait between two messages; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A message as the push service sees it.
pub(super) struct Received {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// An answer to a message: the status, and `Retry-After` if it has one.
pub(super) type Answer = (u16, Option<&'static str>);

/// Takes messages over TLS at `localhost`.
pub(super) struct PushServer {
    pub(super) address: SocketAddr,
    received: Receiver<Received>,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

struct State {
    /// What is answered to the next messages; 201 when it is used up.
    answers: Mutex<VecDeque<Answer>>,
    connections: AtomicUsize,
    messages: Sender<Received>,
}

/// The certificate of the push service, and its key.
pub(super) struct Identity(CertifiedKey<rcgen::KeyPair>);

impl Identity {
    /// Makes one, and writes the certificate into a file.
    pub(super) fn new(file: &Path) -> Self {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let identity = generate_simple_self_signed(names).unwrap();
        std::fs::write(file, identity.cert.pem()).unwrap();
        Self(identity)
    }

    fn acceptor(&self) -> TlsAcceptor {
        let key = PrivatePkcs8KeyDer::from(self.0.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.0.cert.der().clone()], key.into())
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

impl PushServer {
    pub(super) async fn start(identity: &Identity) -> Self {
        Self::start_at(identity, (Ipv4Addr::LOCALHOST, 0).into()).await
    }

    pub(super) async fn start_at(identity: &Identity, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (messages, received) = channel(64);
        let state = Arc::new(State {
            answers: Mutex::default(),
            connections: AtomicUsize::new(0),
            messages,
        });
        let accepting = tokio::spawn(accept(listener, identity.acceptor(), state.clone()));
        Self {
            address,
            received,
            state,
            accepting,
        }
    }

    /// Answers the next messages so.
    pub(super) fn answer(&self, answers: &[Answer]) {
        self.state.answers.lock().unwrap().extend(answers);
    }

    /// How many connections there were.
    pub(super) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    pub(super) fn url(&self, host: &str, path: &str) -> String {
        format!("https://{host}:{}{path}", self.address.port())
    }

    /// The next message.
    pub(super) async fn next(&mut self) -> Received {
        let received = timeout(PATIENCE, self.received.recv()).await;
        received.expect("a message").expect("the service runs")
    }

    /// No message is waiting.
    pub(super) fn assert_quiet(&mut self) {
        if let Ok(received) = self.received.try_recv() {
            panic!("a message to {}", received.path);
        }
    }
}

impl Drop for PushServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<State>) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        state.connections.fetch_add(1, Ordering::SeqCst);
        // One message after the other: the order of their arrival is that of the channel.
        serve(socket, &acceptor, &state).await;
    }
}

async fn serve(socket: TcpStream, acceptor: &TlsAcceptor, state: &Arc<State>) {
    let Ok(connection) = acceptor.accept(socket).await else {
        return;
    };
    let service = service_fn(|request: Request<Incoming>| {
        let state = state.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let answer = state.answers.lock().unwrap().pop_front();
            let (status, retry_after) = answer.unwrap_or((201, None));
            let received = Received {
                path: head.uri.path().to_owned(),
                headers: head.headers,
                body,
            };
            state.messages.send(received).await.unwrap();
            let mut response = Response::builder().status(status);
            if let Some(seconds) = retry_after {
                response = response.header("retry-after", seconds);
            }
            Ok::<_, hyper::Error>(response.body(Empty::<Bytes>::new()).unwrap())
        }
    });
    // Home closes the connection when it has its answer.
    let _ = http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(connection), service)
        .await;
}

/// The keys of a device, which the push service does not have.
pub(super) struct Device {
    key: PrivateKey,
    auth_secret: [u8; 16],
}

impl Device {
    pub(super) fn new() -> Self {
        Self {
            key: PrivateKey::generate(&ECDH_P256).unwrap(),
            auth_secret: *b"only for one eye",
        }
    }

    pub(super) fn public_key(&self) -> String {
        BASE64URL_NOPAD.encode(self.key.compute_public_key().unwrap().as_ref())
    }

    pub(super) fn auth_secret(&self) -> String {
        BASE64URL_NOPAD.encode(&self.auth_secret)
    }

    /// Decrypts a message as a user agent does (RFC 8291 §3, RFC 8188 §2).
    pub(super) fn decrypt(&self, body: &[u8]) -> String {
        let (salt, rest) = body.split_at(16);
        let (record_size, rest) = rest.split_at(4);
        assert_eq!(record_size, 4096_u32.to_be_bytes());
        let (sender, record) = rest[1..].split_at(usize::from(rest[0]));
        let own = self.key.compute_public_key().unwrap();
        let peer = UnparsedPublicKey::new(&ECDH_P256, sender);
        let input: [u8; 32] = agree(&self.key, peer, (), |shared| {
            let info: &[&[u8]] = &[b"WebPush: info\0", own.as_ref(), sender];
            Ok(hkdf(&self.auth_secret, shared, info))
        })
        .unwrap();
        let key: [u8; 16] = hkdf(salt, &input, &[b"Content-Encoding: aes128gcm\0"]);
        let nonce: [u8; 12] = hkdf(salt, &input, &[b"Content-Encoding: nonce\0"]);
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).unwrap());
        let mut record = record.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let text = key.open_in_place(nonce, Aad::empty(), &mut record).unwrap();
        let end = text.iter().rposition(|byte| *byte != 0).unwrap();
        assert_eq!(text[end], 2, "the delimiter of the last record");
        String::from_utf8(text[..end].to_vec()).unwrap()
    }
}

fn hkdf<const N: usize>(salt: &[u8], input: &[u8], info: &[&[u8]]) -> [u8; N] {
    struct Length(usize);
    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let prk = Salt::new(HKDF_SHA256, salt).extract(input);
    let mut bytes = [0; N];
    prk.expand(info, Length(N))
        .unwrap()
        .fill(&mut bytes)
        .unwrap();
    bytes
}
