//! Homes that only keep their tunnels up, thousands in a process: what the relay has to do for
//! each is the same as for a whole home.

use std::io::{BufRead, stdin};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use cloudless_proto::control::{self, FromHome, FromRelay, VERSION};
use cloudless_proto::lines::{self, Decoder};
use cloudless_proto::redial::{Pace, Schedule};
use cloudless_proto::takeover::{Instance, SessionId};
use cloudless_proto::{Hostname, PublicKey};
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::Response;
use rcgen::{KeyPair, PKCS_ED25519};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer,
    UnixTime,
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::bench::statistics::percentile;

/// How long a dial may take, as at home.
const DIAL_MAX: Duration = Duration::from_secs(20);
/// Dials of one home at a time.
const DIALS_MAX: usize = 10;
/// After this long a home is given up.
const GIVE_UP: Duration = Duration::from_secs(60);

/// A line on standard input: have so many tunnels up.
#[derive(Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) relay: SocketAddr,
    pub(crate) server_name: Hostname,
    /// None closes all.
    pub(crate) n_homes: usize,
}

/// The answer to an order.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Tunnels {
    /// Until the last of the new tunnels was welcomed.
    pub(crate) all: Duration,
    /// Until a new tunnel was welcomed, from the moment on at which all were told to dial.
    pub(crate) p50: Duration,
    /// Dials beyond the first one of each home.
    pub(crate) n_redials: usize,
}

/// A tunnel that is up.
pub(super) type Tunnel = (Connection<TlsStream<TcpStream>, Bytes>, Streams);
/// The control stream, which ends with the tunnel.
pub(super) type Streams = (SendStream<Bytes>, RecvStream);

/// Makes keys, prints the public ones as a line of JSON, then follows orders until there are no
/// more. So many homes at most.
pub(crate) async fn serve(n_homes: usize) -> Result<()> {
    let keys: Vec<Arc<CertifiedKey>> = (0..n_homes).map(|_| key()).collect::<Result<_>>()?;
    let public = keys.iter().map(|it| {
        let spki = it
            .end_entity_cert()
            .context("a key without its public half")?;
        PublicKey::from_spki(spki).context("a key of another kind")
    });
    let public: Vec<PublicKey> = public.collect::<Result<_>>()?;
    println!("{}", serde_json::to_string(&public).context("write JSON")?);

    // The runtime's own standard input reads ahead on another thread, so that tunnels move on.
    let (order, mut orders) = tokio::sync::mpsc::channel(1);
    let reader = std::thread::spawn(move || {
        for line in stdin().lock().lines() {
            if line.is_err() || line.is_ok_and(|it| order.blocking_send(it).is_err()) {
                return;
            }
        }
    });
    let mut idle = JoinSet::new();
    while let Some(line) = orders.recv().await {
        let order: Order = serde_json::from_str(&line).context("read an order")?;
        if order.n_homes == 0 {
            idle.shutdown().await;
        }
        let new = keys.get(idle.len()..order.n_homes).unwrap_or_default();
        let tunnels = dial_all(new, &order, &mut idle).await?;
        println!("{}", serde_json::to_string(&tunnels).context("write JSON")?);
    }
    drop(idle);
    reader.join().ok().context("reading orders failed")
}

async fn dial_all(
    keys: &[Arc<CertifiedKey>],
    order: &Order,
    idle: &mut JoinSet<()>,
) -> Result<Tunnels> {
    let started = Instant::now();
    let mut dials = JoinSet::new();
    for (number, key) in keys.iter().enumerate() {
        let config = Arc::new(config(key)?);
        let (relay, name) = (order.relay, order.server_name.clone());
        let instance = instance()?;
        dials.spawn(async move {
            let back = come_back(relay, &name, &config, number, instance);
            let (tunnel, n_dials) = timeout(GIVE_UP, back).await.context("given up")?;
            anyhow::Ok((tunnel, started.elapsed(), n_dials - 1))
        });
    }
    let mut times = Vec::new();
    let mut n_redials = 0;
    while let Some(dialed) = dials.join_next().await {
        let (tunnel, time, redials) = dialed.context("a home panicked")??;
        times.push(time);
        n_redials += redials;
        idle.spawn(keep(tunnel));
    }
    Ok(Tunnels {
        all: times.iter().max().copied().unwrap_or_default(),
        p50: percentile(&times, 50),
        n_redials,
    })
}

/// Dials when home would until a tunnel is up; also returns how often.
async fn come_back(
    relay: SocketAddr,
    name: &Hostname,
    config: &Arc<ClientConfig>,
    number: usize,
    instance: Instance,
) -> (Tunnel, usize) {
    let now = || Instant::now().into_std();
    let mut schedule = Schedule::new(Pace::default(), now());
    let answered = Arc::new(Notify::new());
    let mut dials = JoinSet::new();
    let mut n_dials = 0;
    loop {
        let next = schedule
            .next_dial()
            .map_or_else(Instant::now, Instant::from_std);
        // The golden ratio spreads the homes as chance would.
        let random = ((number * 31 + n_dials) as f64 * 0.618_034).fract();
        tokio::select! {
            () = sleep_until(next), if dials.len() < DIALS_MAX => {
                n_dials += 1;
                schedule.dialed(now(), random);
                let (name, config) = (name.clone(), Arc::clone(config));
                let answered = Arc::clone(&answered);
                let session = SessionId { instance, epoch: n_dials as u64 };
                dials.spawn(timeout(DIAL_MAX, async move {
                    let tcp = TcpStream::connect(relay).await.ok()?;
                    answered.notify_one();
                    Some(open(tcp, &name, config, session).await)
                }));
            }
            () = answered.notified() => schedule.answered(now()),
            Some(Ok(dialed)) = dials.join_next() => match dialed {
                Ok(Some(Ok(tunnel))) => return (tunnel, n_dials),
                // Nobody answered.
                Ok(None) => {}
                Ok(Some(Err(_))) | Err(_) => schedule.failed(now(), random),
            },
        }
    }
}

/// Answers pings until the relay ends it. There are no visitors.
async fn keep((mut connection, streams): Tunnel) {
    while let Some(Ok(_)) = connection.accept().await {}
    drop(streams);
}

/// Opens a tunnel over a connection with this key, up to the relay's welcome.
pub(super) async fn dial_over(
    tcp: TcpStream,
    name: &Hostname,
    key: &Arc<CertifiedKey>,
) -> Result<Tunnel> {
    let session = SessionId {
        instance: instance()?,
        epoch: 1,
    };
    open(tcp, name, Arc::new(config(key)?), session).await
}

/// The ClientHello of a home with this key.
pub(super) fn hello(name: &Hostname, key: &Arc<CertifiedKey>) -> Result<Vec<u8>> {
    let name = ServerName::try_from(name.to_string()).context("take the name for TLS")?;
    let config = Arc::new(config(key)?);
    let mut connection = rustls::ClientConnection::new(config, name).context("begin TLS")?;
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).context("write a hello")?;
    Ok(hello)
}

async fn open(
    tcp: TcpStream,
    name: &Hostname,
    config: Arc<ClientConfig>,
    session: SessionId,
) -> Result<Tunnel> {
    tcp.set_nodelay(true).context("set TCP_NODELAY")?;
    let name = ServerName::try_from(name.to_string()).context("take the name for TLS")?;
    let tls = TlsConnector::from(config).connect(name, tcp).await;
    let mut connection = h2::server::handshake(tls.context("TLS")?)
        .await
        .context("HTTP/2")?;
    let opened = connection.accept().await.context("no control stream")?;
    let (request, mut respond) = opened.context("the control stream")?;
    let mut streams = open_control(&mut respond, request.into_body())?;
    let hello = FromHome::Hello {
        version: VERSION,
        software: "bench".to_owned(),
        instance: session.instance,
        epoch: session.epoch,
        legs: true,
        probes: false,
    };
    let hello = Bytes::from(lines::encode(&hello));
    streams.0.send_data(hello, false).context("say hello")?;
    {
        let mut welcome = Box::pin(welcome(&mut streams.1));
        loop {
            tokio::select! {
                welcome = &mut welcome => break welcome?,
                opened = connection.accept() => match opened {
                    // Who has waited for this home may be there before its welcome is read.
                    Some(Ok((_, mut respond))) => respond.send_reset(Reason::REFUSED_STREAM),
                    Some(Err(error)) => return Err(error).context("the tunnel broke"),
                    None => bail!("the relay closed the tunnel"),
                },
            }
        }
    }
    Ok((connection, streams))
}

fn open_control(respond: &mut SendResponse<Bytes>, receive: RecvStream) -> Result<Streams> {
    let send = respond.send_response(Response::new(()), false);
    Ok((send.context("answer the control stream")?, receive))
}

async fn welcome(receive: &mut RecvStream) -> Result<()> {
    let mut decoder = Decoder::new(control::MAX_LINE);
    loop {
        while let Some(line) = decoder.next_line().context("a line without an end")? {
            match control::decode(&line).context("read a message")? {
                Some(FromRelay::Welcome { .. }) => return Ok(()),
                Some(FromRelay::Refused { message, .. }) => bail!("refused: {message}"),
                _ => {}
            }
        }
        let data = receive.data().await.context("the control stream ended")?;
        let data = data.context("read the control stream")?;
        decoder.push(&data);
        let flow_control = receive.flow_control();
        flow_control.release_capacity(data.len()).context("flow")?;
    }
}

/// Of another process each time, as far as a relay can tell.
fn instance() -> Result<Instance> {
    let mut bytes = [0; 16];
    let random = aws_lc_rs::default_provider().secure_random;
    random.fill(&mut bytes).ok().context("no random bytes")?;
    Ok(Instance::new(bytes))
}

pub(super) fn key() -> Result<Arc<CertifiedKey>> {
    let key = KeyPair::generate_for(&PKCS_ED25519).context("make a key")?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let signer = aws_lc_rs::default_provider()
        .key_provider
        .load_private_key(key)
        .context("use a key")?;
    let spki = signer
        .public_key()
        .context("a key without its public half")?;
    let certificate = CertificateDer::from(spki.to_vec());
    Ok(Arc::new(CertifiedKey::new(vec![certificate], signer)))
}

/// TLS 1.3 with raw public keys, as the tunnel has it.
fn config(key: &Arc<CertifiedKey>) -> Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = AnyRelay(provider.signature_verification_algorithms);
    let resolver = AlwaysResolvesClientRawPublicKeys::new(Arc::clone(key));
    let mut config = builder(provider)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![control::ALPN.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn builder(
    provider: Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>> {
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .context("set up TLS")
}

/// The relay was started by this benchmark, so its key is not looked at.
#[derive(Debug)]
struct AnyRelay(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyRelay {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let spki = SubjectPublicKeyInfoDer::from(key.as_ref());
        rustls::crypto::verify_tls13_signature_with_raw_key(message, &spki, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
