//! Ends the TLS of a home's tunnel. Both sides prove raw Ed25519 keys (RFC 7250).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cloudless_proto::PublicKey;
use cloudless_proto::control::ALPN;
use cloudless_tls::{Peer, Stream};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    ServerConfig, SignatureScheme, version,
};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::crowd::Room;
use crate::keys::Keys;
use crate::listener::{Connection, Permits};
use crate::outcome::Outcome;
use crate::replay::Replayed;
use crate::run::Relay;
use crate::turns::Turn;
use crate::{session, socket};

/// How long a tunnel waits for its turn. Home gives up after 20 s: in a line of strangers that is longer,
/// those at its end would all have gone when they are reached.
const TURN_WAIT: Duration = Duration::from_secs(15);
/// The longest ClientHello of a home. Thousands wait with theirs.
const HELLO_LEN_MAX: usize = 8 * 1024;

/// A tunnel's bytes, decrypted.
pub(crate) type Tunnel = Stream<Replayed>;

/// How the TLS of tunnels ends: TLS 1.3 only, no resumption, mutual raw public keys.
pub(crate) fn tls(keys: Arc<Keys>) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(cloudless_tls::provider());
    let verifier = RawKeyVerifier::new(&provider);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(keys);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}

/// Serves a home that dialed in, until its session ends.
pub(crate) async fn serve(relay: &Arc<Relay>, connection: Connection, opening: Bytes) {
    let Connection {
        stream,
        peer,
        mut permits,
        ..
    } = connection;
    permits.tunnel();
    if opening.len() > HELLO_LEN_MAX {
        tracing::debug!("A tunnel's ClientHello is too long");
        return relay.counters.count(Outcome::TunnelHandshakeFailed);
    }
    // From here on it competes with tunnels alone: whoever begins thousands of them pushes out no
    // visitor that has not said yet what it wants.
    let config = relay.config();
    let room = config.limits.waiting();
    permits.competes_as(relay.waiting.admit(&permits.shed, peer.ip(), room));
    // Those that have begun go first: with all of them equally far, none would be through for long.
    let is_known = relay.home_sources.knows(peer.ip());
    let turns = match is_known {
        true => &relay.handshakes,
        false => &relay.strange_handshakes,
    };
    let Ok(turn) = timeout(TURN_WAIT, turns.begin()).await else {
        return relay.counters.count(Outcome::TunnelHandshakeTimeout);
    };
    // A home that has lost its patience costs nothing more: its next dial waits, too.
    if socket::has_gone(&stream) {
        return relay.counters.count(Outcome::TunnelHandshakeFailed);
    }
    // It was the relay that was slow until now. Whoever is slow after this is pushed out.
    let room = Room::for_all(config.limits.handshakes);
    permits.competes_as(relay.unwelcomed.admit(&permits.shed, peer.ip(), room));
    // On the heap, so that who waits has no room for a session in it.
    Box::pin(greet(
        relay,
        (stream, opening),
        (turn, is_known),
        peer,
        permits,
    ))
    .await;
}

/// Ends the TLS of a home, and holds its session.
async fn greet(
    relay: &Arc<Relay>,
    (stream, opening): (TcpStream, Bytes),
    (turn, is_known): (Turn, bool),
    peer: SocketAddr,
    permits: Permits,
) {
    // It may have come before its listener had these, and stays for months.
    if let Err(error) = socket::configure(&stream) {
        tracing::debug!(%error, "A tunnel ended before its TLS handshake");
        return relay.counters.count(Outcome::TunnelHandshakeFailed);
    }
    socket::prefer_bbr(&stream);
    socket::limit_unsent(&stream);
    let tls = Arc::clone(&relay.tls);
    let accept = turn.take(cloudless_tls::accept(tls, Replayed::new(opening, stream)));
    let accept = Box::pin(relay.connections.track_future(accept));
    let accept = async {
        match is_known {
            true => accept.await,
            // Whoever it is, homes that come back and all visitors go first.
            false => relay.handshaking.work(accept).await,
        }
    };
    let (tunnel, proven) = match timeout(relay.config().timings.handshake, accept).await {
        Ok(Ok(accepted)) => accepted,
        Ok(Err(error)) => {
            tracing::debug!(%error, "A tunnel's TLS handshake failed");
            return relay.counters.count(Outcome::TunnelHandshakeFailed);
        }
        Err(_) => return relay.counters.count(Outcome::TunnelHandshakeTimeout),
    };
    let Some(key) = peer_key(&proven) else {
        return relay.counters.count(Outcome::TunnelHandshakeFailed);
    };
    if !relay.registry.hostnames_of(&key.into()).is_empty() {
        // Strangers who begin tunnels without end do not push it out any more, nor hold it up the next time.
        permits.settle();
        relay.home_sources.came_from(peer.ip());
    }
    let home = Home { key, address: peer };
    session::serve(relay, tunnel, home, permits).await;
}

/// Who is at the other end of a tunnel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home {
    /// The key it has proven.
    pub(crate) key: PublicKey,
    pub(crate) address: SocketAddr,
}

fn peer_key(peer: &Peer) -> Option<PublicKey> {
    // A client without ALPN passes rustls, but not the contract.
    peer.alpn.as_ref().filter(|protocol| *protocol == ALPN)?;
    PublicKey::from_spki(peer.certificates.first()?)
}

/// Accepts any Ed25519 key that its owner proves to have. What the key may do is decided by the
/// registry, because a key that is unknown may still redeem a join code.
#[derive(Debug)]
struct RawKeyVerifier {
    algorithms: WebPkiSupportedAlgorithms,
}

impl RawKeyVerifier {
    fn new(provider: &CryptoProvider) -> Self {
        Self {
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ClientCertVerifier for RawKeyVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match PublicKey::from_spki(end_entity) {
            Some(_) if intermediates.is_empty() => Ok(ClientCertVerified::assertion()),
            _ => Err(CertificateError::BadEncoding.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(key.as_ref());
        rustls::crypto::verify_tls13_signature_with_raw_key(
            message,
            &spki,
            signature,
            &self.algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::config::Config;
    use crate::identity::new_identity;
    use crate::registry::Registry;
    use crate::turns::Turns;

    const MOMENT: Duration = Duration::from_millis(5);

    fn relay(directory: &TempDir) -> Arc<Relay> {
        let name = "relay.example.test".parse().unwrap();
        let config = Config::new(name, new_identity([200; 32]), Vec::new());
        let registry = Registry::open(directory.path()).unwrap();
        Arc::new(Relay::new(config, registry, CancellationToken::new()).unwrap())
    }

    /// Every turn that there is, so that nobody else gets one.
    async fn all_of(turns: &Turns) -> Vec<Turn> {
        let mut all = Vec::new();
        while let Ok(turn) = timeout(MOMENT, turns.wait()).await {
            all.push(turn);
        }
        all
    }

    /// Serves a client that says hello, and nothing after it; returns what it hears, how long that
    /// took, and what it was counted as.
    async fn dial(relay: &Arc<Relay>, loopback: &str, has_gone: bool) -> (Duration, Vec<String>) {
        let listener = TcpListener::bind(loopback).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (client, (stream, peer)) = (client.unwrap(), accepted.unwrap());
        let mut client = Some(client).filter(|_| !has_gone);
        if has_gone {
            stream.readable().await.unwrap();
        }
        let connection = Connection {
            stream,
            peer,
            destination: None,
            permits: Permits::default(),
        };
        let before = relay.counters.outcomes();
        let begun = Instant::now();
        serve(relay, connection, Bytes::from_static(b"hello")).await;
        let waited = begun.elapsed();
        if let Some(client) = &mut client {
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        }
        let mut counted = relay.counters.outcomes();
        counted.retain(|class, count| before.get(class) != Some(count));
        (waited, counted.into_keys().collect())
    }

    /// However many stand in line before it, strangers or homes: it dials again at last.
    #[tokio::test(start_paused = true)]
    async fn who_waits_for_its_turn_too_long_is_closed_and_counted() {
        for loopback in ["127.0.0.1:0", "[::1]:0"] {
            let directory = TempDir::new().unwrap();
            let relay = relay(&directory);
            for turns in [&relay.strange_handshakes, &relay.handshakes] {
                let all = all_of(turns).await;
                assert!(!all.is_empty());
                let (waited, counted) = dial(&relay, loopback, false).await;
                assert!(waited.abs_diff(TURN_WAIT) < MOMENT, "{waited:?}");
                assert_eq!(counted, ["tunnel_handshake_timeout"]);
                // The next one is not behind it any more, and gets a turn when there is one.
                drop(all);
                let (waited, counted) = dial(&relay, loopback, true).await;
                assert!(waited < MOMENT, "{waited:?}");
                assert_eq!(counted, ["tunnel_handshake_failed"]);
                // From now on this client's place is in the other line.
                relay.home_sources.came_from(loopback_ip(loopback));
            }
            // Strangers hold up no home that comes back.
            let _all = all_of(&relay.strange_handshakes).await;
            let (waited, counted) = dial(&relay, loopback, true).await;
            assert!(waited < MOMENT, "{waited:?}");
            assert_eq!(counted, ["tunnel_handshake_failed"]);
        }
    }

    fn loopback_ip(loopback: &str) -> std::net::IpAddr {
        loopback.parse::<SocketAddr>().unwrap().ip()
    }
}
