//! The relay that the tests play: the far end of the tunnel, under full control.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use cloudless_home::Relay;
use cloudless_proto::control::{self, FromHome, FromRelay};
use cloudless_proto::lines::{self, Decoder};
use cloudless_proto::{Hostname, PublicKey};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{Method, Request};
use rcgen::{KeyPair, PKCS_ED25519};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs;
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, UnixTime,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

pub(crate) const SERVER_NAME: &str = "relay.example.org";

/// A new Ed25519 key.
pub(crate) fn new_key() -> PrivatePkcs8KeyDer<'static> {
    KeyPair::generate_for(&PKCS_ED25519)
        .unwrap()
        .serialize_der()
        .into()
}

fn certified_key(key: &PrivatePkcs8KeyDer<'static>) -> CertifiedKey {
    let key = PrivateKeyDer::Pkcs8(key.clone_key());
    let key = aws_lc_rs::default_provider()
        .key_provider
        .load_private_key(key)
        .unwrap();
    let spki = key.public_key().unwrap().to_vec();
    CertifiedKey::new(vec![CertificateDer::from(spki)], key)
}

pub(crate) fn public_key(key: &PrivatePkcs8KeyDer<'static>) -> PublicKey {
    PublicKey::from_spki(&certified_key(key).cert[0]).unwrap()
}

/// Listens for homes.
pub(crate) struct FakeRelay {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    pub(crate) key: PublicKey,
    /// What it takes of a stream before the test has heard it, in bytes.
    pub(crate) window: u32,
}

impl FakeRelay {
    pub(crate) async fn bind_at(address: IpAddr) -> Self {
        let key = new_key();
        Self {
            listener: TcpListener::bind((address, 0)).await.unwrap(),
            acceptor: Self::acceptor(&key),
            key: public_key(&key),
            window: 2 * 1024 * 1024,
        }
    }

    /// Proves another key from now on.
    pub(crate) fn prove(&mut self, key: &PrivatePkcs8KeyDer<'static>) {
        self.acceptor = Self::acceptor(key);
        self.key = public_key(key);
    }

    fn acceptor(key: &PrivatePkcs8KeyDer<'static>) -> TlsAcceptor {
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .unwrap()
                .with_client_cert_verifier(Arc::new(AnyRawKey))
                .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::new(
                    certified_key(key),
                ))));
        config.alpn_protocols = vec![control::ALPN.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// How a home is told about it.
    pub(crate) fn relay(&self) -> Relay {
        Relay {
            addresses: vec![self.address().to_string()],
            server_name: SERVER_NAME.parse().unwrap(),
            key: self.key,
        }
    }

    /// The next home that gets as far as the tunnel, and the first line it says.
    pub(crate) async fn accept(&self) -> FakeSession {
        loop {
            let (tcp, _) = self.listener.accept().await.unwrap();
            // A dial that home gave up on is not what the tests wait for.
            if let Some(session) = self.greet(tcp).await {
                return session;
            }
        }
    }

    async fn greet(&self, tcp: tokio::net::TcpStream) -> Option<FakeSession> {
        tcp.set_nodelay(true).unwrap();
        let tls = self.acceptor.accept(tcp).await.ok()?;
        let (_, state) = tls.get_ref();
        let home_key = PublicKey::from_spki(&state.peer_certificates().unwrap()[0]).unwrap();
        let server_name = state.server_name().unwrap().to_owned();
        let (mut requests, mut connection) = h2::client::Builder::new()
            .initial_window_size(self.window)
            .initial_connection_window_size(1 << 30)
            .handshake::<_, Bytes>(tls)
            .await
            .ok()?;
        let (frozen, mut freeze) = watch::channel(false);
        let task = tokio::spawn(async move {
            loop {
                let is_frozen = *freeze.borrow_and_update();
                tokio::select! {
                    _ = &mut connection, if !is_frozen => return,
                    changed = freeze.changed() => if changed.is_err() { return },
                }
            }
        });
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("https://{SERVER_NAME}{}", control::CONTROL_PATH))
            .body(())
            .unwrap();
        let (response, send) = requests.send_request(request, false).ok()?;
        let recv = response.await.ok()?.into_body();
        let mut session = FakeSession {
            requests,
            send,
            recv,
            decoder: Decoder::new(control::MAX_LINE),
            task: task.abort_handle(),
            frozen,
            home_key,
            server_name,
            first: FromHome::Join {
                version: 0,
                software: String::new(),
                hostname: SERVER_NAME.parse().unwrap(),
                secret: cloudless_proto::join_code::JoinSecret::new([0; 16]),
            },
            visitor: Some("192.0.2.7:54321"),
        };
        session.first = session.hear().await?;
        Some(session)
    }

    /// Accepts and welcomes.
    pub(crate) async fn welcome(&self, hostname: &str) -> FakeSession {
        let mut session = self.accept().await;
        session.welcome(hostname);
        session
    }

    /// The next TCP connection, which is then never answered.
    pub(crate) async fn ignore_one(&self) -> tokio::net::TcpStream {
        self.listener.accept().await.unwrap().0
    }
}

/// One tunnel session as the relay has it.
pub(crate) struct FakeSession {
    requests: SendRequest<Bytes>,
    send: SendStream<Bytes>,
    recv: RecvStream,
    decoder: Decoder,
    task: AbortHandle,
    frozen: watch::Sender<bool>,
    pub(crate) home_key: PublicKey,
    /// Whom home takes the relay for.
    pub(crate) server_name: String,
    /// Home's Hello or Join.
    pub(crate) first: FromHome,
    /// What is said of visitors' addresses, if anything.
    pub(crate) visitor: Option<&'static str>,
}

impl FakeSession {
    pub(crate) fn say(&mut self, message: &FromRelay) {
        self.say_bytes(lines::encode(message));
    }

    pub(crate) fn say_bytes(&mut self, bytes: Vec<u8>) {
        self.send.send_data(bytes.into(), false).unwrap();
    }

    pub(crate) fn welcome(&mut self, hostname: &str) {
        self.welcome_with(hostname, &[]);
    }

    /// Welcomes and says which keys the relay has.
    pub(crate) fn welcome_with(&mut self, hostname: &str, keys: &[PublicKey]) {
        self.say(&FromRelay::Welcome {
            version: control::VERSION,
            software: "a test".into(),
            hostnames: vec![hostname.parse::<Hostname>().unwrap()],
            keys: keys.to_owned(),
        });
    }

    /// Home's next message; `None` when the session is over.
    pub(crate) async fn hear(&mut self) -> Option<FromHome> {
        loop {
            if let Some(line) = self.decoder.next_line().unwrap() {
                return Some(control::decode(&line).unwrap().expect("a known message"));
            }
            let chunk = self.recv.data().await?.ok()?;
            self.recv
                .flow_control()
                .release_capacity(chunk.len())
                .unwrap();
            self.decoder.push(&chunk);
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        match &self.first {
            FromHome::Hello { epoch, .. } => *epoch,
            first => panic!("home said {first:?}"),
        }
    }

    /// Opens a visitor's stream.
    pub(crate) async fn connect(&self, hostname: &str) -> (SendStream<Bytes>, RecvStream) {
        self.try_connect(hostname).await.unwrap()
    }

    pub(crate) async fn try_connect(
        &self,
        hostname: &str,
    ) -> Result<(SendStream<Bytes>, RecvStream), h2::Error> {
        let mut requests = self.requests.clone().ready().await?;
        let (response, send) = requests.send_request(self.visit(hostname), false)?;
        Ok((send, response.await?.into_body()))
    }

    /// Opens a stream to a port, as the relay does for what certificate authorities ask.
    pub(crate) async fn connect_to(&self, authority: &str) -> (SendStream<Bytes>, RecvStream) {
        let mut requests = self.requests.clone().ready().await.unwrap();
        let (response, send) = requests
            .send_request(self.visit_at(authority), false)
            .unwrap();
        (send, response.await.unwrap().into_body())
    }

    fn visit(&self, hostname: &str) -> Request<()> {
        self.visit_at(&format!("{hostname}:443"))
    }

    fn visit_at(&self, authority: &str) -> Request<()> {
        let mut request = Request::builder().method(Method::CONNECT).uri(authority);
        if let Some(visitor) = self.visitor {
            request = request.header(control::VISITOR_HEADER, visitor);
        }
        request.body(()).unwrap()
    }

    /// Visitors that come and have gone before home could see them.
    pub(crate) async fn come_and_go(&self, hostname: &str, n_visitors: usize) {
        let mut visitors = Vec::new();
        for _ in 0..n_visitors {
            let mut requests = self.requests.clone().ready().await.unwrap();
            visitors.push(requests.send_request(self.visit(hostname), false).unwrap());
        }
        // HTTP/2 has to send the requests before their resets.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        for (_, mut send) in visitors {
            send.send_reset(h2::Reason::CANCEL);
        }
    }

    /// The relay's process is killed: its end of the TCP connection closes.
    pub(crate) fn kill(self) {
        self.task.abort();
    }

    /// The path goes silent without a word, or comes back.
    pub(crate) fn freeze(&self, is_frozen: bool) {
        self.frozen.send_replace(is_frozen);
    }
}

impl Drop for FakeSession {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Any home's key, as a relay takes it during the handshake.
#[derive(Debug)]
struct AnyRawKey;

impl ClientCertVerifier for AnyRawKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        panic!("the tunnel is TLS 1.3 only");
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let spki = SubjectPublicKeyInfoDer::from(certificate.as_ref());
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature_with_raw_key(message, &spki, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
