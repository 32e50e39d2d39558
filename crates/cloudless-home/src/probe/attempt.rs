//! One connection to one public address, up to the end of the TLS handshake.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cloudless_proto::Hostname;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::arrivals::{Arrivals, client_random};
use super::verdict::Attempt;

/// So many names of a foreign certificate are told.
const NAMES_MAX: usize = 3;

/// Tries to reach this very home under `hostname` at `address`, for `limit` at most.
pub(super) async fn attempt(
    hostname: &Hostname,
    address: SocketAddr,
    arrivals: &Arc<Arrivals>,
    tls: Arc<ClientConfig>,
    limit: Duration,
) -> Attempt {
    let mut stream = match timeout(limit, TcpStream::connect(address)).await {
        Err(_) => return Attempt::NoAnswer,
        Ok(Err(error)) => return unconnected(&error),
        Ok(Ok(stream)) => stream,
    };
    let Some((mut session, opening)) = hello(hostname, tls) else {
        return Attempt::Failed("home cannot make a ClientHello".to_owned());
    };
    let Some(random) = client_random(&opening) else {
        return Attempt::Failed("home cannot read its own ClientHello".to_owned());
    };
    let expected = arrivals.expect(random);
    let shaken = timeout(limit, handshake(&mut session, &mut stream, opening)).await;
    match (shaken, expected.has_arrived()) {
        (Ok(Ok(())), true) => Attempt::Reached,
        (Ok(Err(error)), true) => Attempt::NoHandshake(error.to_string()),
        (Err(_), true) => Attempt::NoWayBack,
        (Ok(Ok(())), false) => Attempt::Foreign(names(&session)),
        (Ok(Err(error)), false) if is_no_tls(&error) => Attempt::Foreign(Vec::new()),
        (Ok(Err(_)), false) => Attempt::Closed,
        (Err(_), false) => Attempt::Silent,
    }
}

/// Whether the other side speaks something else than TLS, as a captive portal may.
fn is_no_tls(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|it| it.downcast_ref());
    matches!(cause, Some(Error::InvalidMessage(_)))
}

fn unconnected(error: &io::Error) -> Attempt {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Attempt::Refused,
        io::ErrorKind::TimedOut => Attempt::NoAnswer,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => Attempt::NoRoute,
        _ => Attempt::Failed(error.to_string()),
    }
}

/// A TLS session and its ClientHello.
fn hello(hostname: &Hostname, tls: Arc<ClientConfig>) -> Option<(ClientConnection, Vec<u8>)> {
    let name = ServerName::try_from(hostname.as_str().to_owned()).ok()?;
    let mut session = ClientConnection::new(tls, name).ok()?;
    let mut opening = Vec::new();
    session.write_tls(&mut opening).ok()?;
    Some((session, opening))
}

async fn handshake(
    session: &mut ClientConnection,
    stream: &mut TcpStream,
    opening: Vec<u8>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(&opening).await?;
    let mut buffer = vec![0; 16 * 1024];
    while session.is_handshaking() {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut unread = &buffer[..length];
        // What comes behind the handshake is left: of what follows a close_notify nothing is ever read.
        while session.is_handshaking() && !unread.is_empty() {
            session.read_tls(&mut unread)?;
            session.process_new_packets().map_err(io::Error::other)?;
        }
        flush(session, stream).await?;
    }
    session.send_close_notify();
    flush(session, stream).await?;
    stream.shutdown().await
}

async fn flush(session: &mut ClientConnection, stream: &mut TcpStream) -> io::Result<()> {
    let mut bytes = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut bytes)?;
    }
    stream.write_all(&bytes).await
}

/// Whom the other side's certificate is for.
fn names(session: &ClientConnection) -> Vec<String> {
    let certificate = session
        .peer_certificates()
        .and_then(|chain| X509Certificate::from_der(chain.first()?).ok());
    let Some((_, certificate)) = certificate else {
        return Vec::new();
    };
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let name = |name: &GeneralName<'_>| match name {
        // Whatever a stranger wrote there, it does not steer the terminal.
        GeneralName::DNSName(name) if name.bytes().all(|it| it.is_ascii_graphic()) => {
            Some((*name).chars().take(253).collect())
        }
        _ => None,
    };
    let names = alternatives.value.general_names.iter().filter_map(name);
    names.take(NAMES_MAX).collect()
}

/// TLS that takes any certificate: whether home was reached is seen at home.
pub(super) fn client_config() -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(AnyCertificate(provider.clone()));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    // A resumed session would show no certificate.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use rustls::{ServerConfig, ServerConnection};
    use rustls_pki_types::PrivatePkcs8KeyDer;
    use tokio::net::TcpListener;

    use super::*;

    /// Such a server would keep a thread busy for ever, which no time limit ends.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_server_that_says_goodbye_behind_its_handshake_and_goes_on_holds_up_nothing() {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["www.example.test".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key.into())
            .unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut tls = ServerConnection::new(Arc::new(server)).unwrap();
            let mut hello = vec![0; 16 * 1024];
            let n = stream.read(&mut hello).await.unwrap();
            tls.read_tls(&mut &hello[..n]).unwrap();
            tls.process_new_packets().unwrap();
            tls.send_close_notify();
            let mut said = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut said).unwrap();
            }
            said.resize(12 * 1024, 0);
            stream.write_all(&said).await.unwrap();
            let _ = stream.read_to_end(&mut hello).await;
        };
        tokio::spawn(serve);
        let tried = tokio::spawn(async move {
            let (hostname, limit) = (
                "home.example.test".parse().unwrap(),
                Duration::from_secs(20),
            );
            attempt(
                &hostname,
                address,
                &Arc::default(),
                client_config().unwrap(),
                limit,
            )
            .await
        });
        let tried = timeout(Duration::from_secs(30), tried).await;
        let names = vec!["www.example.test".to_owned()];
        assert_eq!(tried.unwrap().unwrap(), Attempt::Foreign(names));
    }
}
