//! A home as small as it can be: it speaks the tunnel protocol and leaves visitors to the test.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use cloudless_proto::PublicKey;
use cloudless_proto::control::{self, ALPN, FromHome, FromRelay, MAX_LINE, Refusal, VERSION};
use cloudless_proto::join_code::JoinCode;
use cloudless_proto::lines::{self, Decoder};
use cloudless_proto::takeover::Instance;
use data_encoding::HEXLOWER;
use h2::server::{self, SendResponse};
use h2::{RecvStream, SendStream};
use http::{Method, Request, Response};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{RELAY_NAME, soon};

/// An Ed25519 key made of one repeated byte. The key stands for the home process too: its instance
/// is the same byte unless a test says otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HomeKey(pub(crate) u8);

impl HomeKey {
    pub(crate) fn identity(self) -> PrivatePkcs8KeyDer<'static> {
        // RFC 8410 section 7: an Ed25519 private key is this prefix and 32 bytes.
        let mut key = HEXLOWER
            .decode(b"302e020100300506032b657004220420")
            .unwrap();
        key.extend([self.0; 32]);
        PrivatePkcs8KeyDer::from(key)
    }

    pub(crate) fn public(self) -> PublicKey {
        cloudless_relay::public_key(&self.identity()).unwrap()
    }
}

/// One tunnel, from the home's side. Dropping it closes the connection.
pub(crate) struct Tunnel {
    send: SendStream<Bytes>,
    receive: RecvStream,
    decoder: Decoder,
    arrivals: mpsc::Receiver<Arrival>,
    frozen: watch::Sender<bool>,
    driver: JoinSet<()>,
}

impl Tunnel {
    /// Dials up to the open control stream.
    pub(crate) async fn dial(address: SocketAddr, key: HomeKey) -> Self {
        Self::dial_with(address, key, |_| {}).await
    }

    /// The same from another address of the loopback network, which has no more than one over IPv6.
    pub(crate) async fn dial_from(source: [u8; 4], address: SocketAddr, key: HomeKey) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((source, 0))).unwrap();
        let stream = socket.connect(address).await.unwrap();
        Self::open(stream, key, |_| {}).await
    }

    /// Dials up to the open control stream, as a home that takes only so many streams at a time.
    pub(crate) async fn dial_with_streams(
        address: SocketAddr,
        key: HomeKey,
        streams_max: u32,
    ) -> Self {
        Self::dial_with(address, key, |http2| {
            http2.max_concurrent_streams(streams_max);
        })
        .await
    }

    /// Dials up to the open control stream, as a home whose streams take so many bytes unasked.
    pub(crate) async fn dial_with_window(address: SocketAddr, key: HomeKey, window: u32) -> Self {
        Self::dial_with(address, key, |http2| {
            http2.initial_window_size(window);
        })
        .await
    }

    async fn dial_with(
        address: SocketAddr,
        key: HomeKey,
        adjust: impl FnOnce(&mut server::Builder),
    ) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::open(stream, key, adjust).await
    }

    /// Dials as a home that trusts the relay by these keys, the newest first, and says so; without
    /// any as one that does not say. Returns the key that the relay proves too.
    pub(crate) async fn dial_trusting(
        address: SocketAddr,
        key: HomeKey,
        relay_keys: &[PublicKey],
    ) -> (Self, PublicKey) {
        let stream = TcpStream::connect(address).await.unwrap();
        let authority = |key: &PublicKey| DistinguishedName::from(key.to_authority());
        let verifier = Arc::new(Trusting {
            authorities: relay_keys.iter().map(authority).collect(),
        });
        let tls = soon(start_tls(stream, tls_config_with(key, verifier))).await;
        let tls = tls.unwrap();
        let proven = PublicKey::from_spki(&tls.get_ref().1.peer_certificates().unwrap()[0]);
        (Self::over(tls, |_| {}).await, proven.unwrap())
    }

    async fn open(
        stream: TcpStream,
        key: HomeKey,
        adjust: impl FnOnce(&mut server::Builder),
    ) -> Self {
        let tls = soon(start_tls(stream, tls_config(key))).await.unwrap();
        Self::over(tls, adjust).await
    }

    async fn over(tls: TlsStream<TcpStream>, adjust: impl FnOnce(&mut server::Builder)) -> Self {
        let mut http2 = server::Builder::new();
        http2
            .initial_window_size(2 * 1024 * 1024)
            .initial_connection_window_size((1 << 31) - 1)
            .max_concurrent_streams(1024);
        adjust(&mut http2);
        let mut connection = soon(http2.handshake::<_, Bytes>(tls)).await.unwrap();
        let (request, mut respond) = soon(connection.accept()).await.unwrap().unwrap();
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), &*format!("https://{RELAY_NAME}/control"));
        let send = respond.send_response(Response::new(()), false).unwrap();

        let (arrived, arrivals) = mpsc::channel(64);
        let (frozen, mut is_frozen) = watch::channel(false);
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            loop {
                // The tunnel lives longer than this task.
                let _ = is_frozen.wait_for(|frozen| !frozen).await;
                let accepted = tokio::select! {
                    _ = is_frozen.wait_for(|frozen| *frozen) => continue,
                    accepted = connection.accept() => accepted,
                };
                match accepted {
                    Some(Ok((request, respond))) => {
                        arrived.send(Arrival { request, respond }).await.unwrap();
                    }
                    Some(Err(_)) | None => return,
                }
            }
        });
        Self {
            send,
            receive: request.into_body(),
            decoder: Decoder::new(MAX_LINE),
            arrivals,
            frozen,
            driver,
        }
    }

    /// Dials, says Hello, and is welcome.
    pub(crate) async fn online(address: SocketAddr, key: HomeKey, epoch: u64) -> Self {
        let mut tunnel = Self::dial(address, key).await;
        tunnel.hello(key.0, epoch);
        tunnel.hear_welcome().await;
        tunnel
    }

    pub(crate) fn hello(&mut self, instance: u8, epoch: u64) {
        self.say_hello(instance, epoch, (false, false));
    }

    /// As a home that would dial legs.
    pub(crate) fn hello_with_legs(&mut self, instance: u8, epoch: u64) {
        self.say_hello(instance, epoch, (true, false));
    }

    /// As a home that would tell whether phones reach it.
    pub(crate) fn hello_with_probes(&mut self, instance: u8, epoch: u64) {
        self.say_hello(instance, epoch, (false, true));
    }

    fn say_hello(&mut self, instance: u8, epoch: u64, (legs, probes): (bool, bool)) {
        self.say(&FromHome::Hello {
            version: VERSION,
            software: "test/1".to_owned(),
            instance: Instance::new([instance; 16]),
            epoch,
            legs,
            probes,
        });
    }

    pub(crate) fn join(&mut self, code: &JoinCode) {
        self.say(&FromHome::Join {
            version: VERSION,
            software: "test/1".to_owned(),
            hostname: code.hostname.clone(),
            secret: code.secret.clone(),
        });
    }

    pub(crate) fn say(&mut self, message: &FromHome) {
        self.say_bytes(lines::encode(message));
    }

    pub(crate) fn say_bytes(&mut self, bytes: Vec<u8>) {
        self.send.send_data(bytes.into(), false).unwrap();
    }

    /// The relay's next message; `None` when it has ended the control stream or the tunnel.
    pub(crate) async fn hear(&mut self) -> Option<FromRelay> {
        loop {
            if let Some(line) = self.decoder.next_line().unwrap() {
                return control::decode(&line).unwrap();
            }
            let bytes = soon(self.receive.data()).await?.ok()?;
            self.receive
                .flow_control()
                .release_capacity(bytes.len())
                .unwrap();
            self.decoder.push(&bytes);
        }
    }

    pub(crate) async fn hear_welcome(&mut self) -> Vec<String> {
        match self.hear().await {
            Some(FromRelay::Welcome { hostnames, .. }) => {
                hostnames.iter().map(ToString::to_string).collect()
            }
            message => panic!("{message:?}"),
        }
    }

    /// The keys in the welcome, or in what the relay says when they have changed.
    pub(crate) async fn hear_keys(&mut self) -> Vec<PublicKey> {
        match self.hear().await {
            Some(FromRelay::Welcome { keys, .. } | FromRelay::Keys { keys }) => keys,
            message => panic!("{message:?}"),
        }
    }

    pub(crate) async fn hear_joined(&mut self) {
        let message = self.hear().await;
        assert!(
            matches!(message, Some(FromRelay::Joined { .. })),
            "{message:?}"
        );
    }

    pub(crate) async fn hear_refused(&mut self) -> Refusal {
        match self.hear().await {
            Some(FromRelay::Refused { reason, .. }) => reason,
            message => panic!("{message:?}"),
        }
    }

    /// The next visitor.
    pub(crate) async fn arrival(&mut self) -> Arrival {
        soon(self.arrivals.recv())
            .await
            .expect("the tunnel is closed")
    }

    /// The next visitor, which must have sent exactly these bytes so far; accepted.
    pub(crate) async fn accept(&mut self, opening: &[u8]) -> HomeStream {
        let mut stream = self.arrival().await.accept();
        stream.expect(opening).await;
        stream
    }

    /// Whether no visitor has come that was not taken yet.
    pub(crate) fn has_no_arrival(&mut self) -> bool {
        self.arrivals.try_recv().is_err()
    }

    /// Goes on holding the connection but does nothing with it, not even answer pings.
    pub(crate) fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    /// Goes on after that.
    pub(crate) fn thaw(&self) {
        self.frozen.send_replace(false);
    }

    /// Waits until the relay has closed the tunnel.
    pub(crate) async fn closed(&mut self) {
        let _ = soon(self.driver.join_next()).await;
    }

    /// Whether the relay has closed the tunnel.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.driver.try_join_next().is_some()
    }
}

/// A visitor that the home has not answered yet.
pub(crate) struct Arrival {
    pub(crate) request: Request<RecvStream>,
    pub(crate) respond: SendResponse<Bytes>,
}

impl Arrival {
    pub(crate) fn refuse(mut self) {
        let mut response = Response::new(());
        *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        self.respond.send_response(response, true).unwrap();
    }

    pub(crate) fn accept(mut self) -> HomeStream {
        let send = self
            .respond
            .send_response(Response::new(()), false)
            .unwrap();
        HomeStream {
            send,
            receive: self.request.into_body(),
        }
    }
}

/// A visitor's stream, from the home's side.
pub(crate) struct HomeStream {
    pub(crate) send: SendStream<Bytes>,
    pub(crate) receive: RecvStream,
}

impl HomeStream {
    /// Sends all, at the pace that the relay allows.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), h2::Error> {
        let mut bytes = Bytes::copy_from_slice(bytes);
        while !bytes.is_empty() {
            self.send.reserve_capacity(bytes.len());
            let mut capacity = self.send.capacity();
            while capacity == 0 {
                let assigned = std::future::poll_fn(|cx| self.send.poll_capacity(cx)).await;
                capacity = assigned.unwrap_or_else(|| Err(h2::Reason::CANCEL.into()))?;
            }
            self.send
                .send_data(bytes.split_to(capacity.min(bytes.len())), false)?;
        }
        Ok(())
    }

    pub(crate) fn finish(&mut self) {
        self.send.send_data(Bytes::new(), true).unwrap();
    }

    /// Reads exactly as many bytes as expected, and compares.
    pub(crate) async fn expect(&mut self, expected: &[u8]) {
        let mut bytes = Vec::new();
        while bytes.len() < expected.len() {
            let chunk = soon(self.receive.data())
                .await
                .expect("the stream ended")
                .unwrap();
            self.receive
                .flow_control()
                .release_capacity(chunk.len())
                .unwrap();
            bytes.extend_from_slice(&chunk);
        }
        assert!(bytes == expected, "other bytes than expected");
    }

    pub(crate) async fn expect_end(&mut self) {
        // A frame may have nothing but the end in it.
        while let Some(chunk) = soon(self.receive.data()).await {
            assert_eq!(chunk.unwrap(), b""[..]);
        }
    }

    /// Waits until the relay resets the stream.
    pub(crate) async fn expect_reset(&mut self) {
        let reason = soon(std::future::poll_fn(|cx| self.send.poll_reset(cx)))
            .await
            .unwrap();
        assert_eq!(reason, h2::Reason::CANCEL);
    }
}

pub(crate) async fn connect_tls(
    address: SocketAddr,
    config: ClientConfig,
) -> io::Result<TlsStream<TcpStream>> {
    start_tls(TcpStream::connect(address).await?, config).await
}

async fn start_tls(stream: TcpStream, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(RELAY_NAME).unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// The ClientHello with which a home dials.
pub(crate) fn tunnel_hello() -> Vec<u8> {
    hello_of(tls_config(HomeKey(99)))
}

/// The same, but longer than any home's by so many bytes and some.
pub(crate) fn long_tunnel_hello(more: usize) -> Vec<u8> {
    let mut config = tls_config(HomeKey(99));
    let padding = std::iter::repeat_n(vec![b'x'; 250], more.div_ceil(250));
    config.alpn_protocols.extend(padding);
    hello_of(config)
}

fn hello_of(config: ClientConfig) -> Vec<u8> {
    let name = ServerName::try_from(RELAY_NAME).unwrap();
    let config = Arc::new(config);
    let mut connection = rustls::ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}

pub(crate) fn tls_config(key: HomeKey) -> ClientConfig {
    tls_config_with(key, Arc::new(PinnedKey(HomeKey(200).public())))
}

fn tls_config_with(key: HomeKey, verifier: Arc<dyn ServerCertVerifier>) -> ClientConfig {
    let signing_key = any_eddsa_type(&key.identity()).unwrap();
    let spki = CertificateDer::from(key.public().to_spki().to_vec());
    let certified = Arc::new(CertifiedKey::new(vec![spki], signing_key));
    let mut config = tls_builder_with(verifier)
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config
}

pub(crate) fn tls_builder() -> TlsBuilder {
    tls_builder_with(Arc::new(PinnedKey(HomeKey(200).public())))
}

type TlsBuilder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn tls_builder_with(verifier: Arc<dyn ServerCertVerifier>) -> TlsBuilder {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
}

/// Takes what the relay proves, and names the keys that it would like to see.
#[derive(Debug)]
struct Trusting {
    authorities: Vec<DistinguishedName>,
}

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        panic!("the relay speaks TLS 1.2");
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        PinnedKey(HomeKey(0).public()).verify_tls13_signature(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        (!self.authorities.is_empty()).then_some(&self.authorities)
    }
}

/// Accepts the relay's key and no other.
#[derive(Debug)]
struct PinnedKey(PublicKey);

impl ServerCertVerifier for PinnedKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        assert_eq!(PublicKey::from_spki(end_entity), Some(self.0));
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        panic!("the relay speaks TLS 1.2");
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(key.as_ref());
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature_with_raw_key(message, &spki, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
