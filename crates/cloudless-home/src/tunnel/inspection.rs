//! Who answers in the relay's place: a network that intercepts TLS, or a captive portal.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cloudless_proto::{control, response_head};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Both questions together.
const PATIENCE: Duration = Duration::from_secs(3);
/// Of a name that others chose, so much is shown.
const NAME_MAX: usize = 100;

/// What stands between home and the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It shows a certificate in the relay's place, of this issuer.
    Interceptor { issuer: String },
    /// It speaks plain HTTP where TLS belongs, and redirects there if it says where to.
    Portal { location: Option<String> },
}

/// Asks what answers at an address where the relay should be and is not. Nothing secret is said.
pub(crate) async fn inspect(address: SocketAddr, server_name: &str) -> Option<Found> {
    let asked = async {
        match issuer(address, server_name).await {
            Some(issuer) => Some(Found::Interceptor { issuer }),
            None => portal(address, server_name).await,
        }
    };
    timeout(PATIENCE, asked).await.ok().flatten()
}

/// Who issued the certificate that is shown.
async fn issuer(address: SocketAddr, server_name: &str) -> Option<String> {
    // The relay itself would pass a browser on to the web server behind it, with its certificate;
    // asked for a tunnel it has none to show.
    let asked = shown(address, server_name, Some(control::ALPN)).await;
    let certificate = match asked {
        // The relay would not have said that.
        Err(Some(AlertDescription::NoApplicationProtocol)) => {
            shown(address, server_name, None).await.ok()?
        }
        asked => asked.ok()?,
    };
    let (_, certificate) = X509Certificate::from_der(&certificate).ok()?;
    let issuer = certificate.issuer();
    let organization = issuer.iter_organization().next();
    let name = issuer.iter_common_name().next().or(organization);
    let name = name.and_then(|it| it.as_str().ok().map(str::to_owned));
    Some(shortened(&name.unwrap_or_else(|| issuer.to_string())))
}

/// The certificate that is shown, or the alert in its place.
async fn shown(
    address: SocketAddr,
    server_name: &str,
    alpn: Option<&[u8]>,
) -> Result<CertificateDer<'static>, Option<AlertDescription>> {
    let witness = Arc::new(Witness::default());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| None)?
        .dangerous()
        .with_custom_certificate_verifier(witness.clone())
        .with_no_client_auth();
    config.alpn_protocols = alpn.map(<[u8]>::to_vec).into_iter().collect();
    let name = ServerName::try_from(server_name.to_owned()).map_err(|_| None)?;
    let tcp = TcpStream::connect(address).await.map_err(|_| None)?;
    // It fails, because the witness accepts nothing.
    let failed = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await;
    let mut certificate = witness.0.lock().unwrap_or_else(PoisonError::into_inner);
    certificate.take().ok_or_else(|| {
        let failed = failed.err()?;
        match failed.get_ref()?.downcast_ref::<Error>()? {
            Error::AlertReceived(alert) => Some(*alert),
            _ => None,
        }
    })
}

/// Asks in clear. A captive portal answers everybody so, before they have paid or agreed.
async fn portal(address: SocketAddr, server_name: &str) -> Option<Found> {
    let mut tcp = TcpStream::connect(address).await.ok()?;
    let request = format!("GET / HTTP/1.1\r\nHost: {server_name}\r\nConnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    // An answer that breaks off may have said enough.
    let _ = tcp.take(4096).read_to_end(&mut answer).await;
    // The relay itself answers so to whoever speaks plain HTTP to it.
    response_head::status(&answer).filter(|status| *status != 400)?;
    let location = response_head::location(&answer);
    let location = location.map(|place| shortened(&String::from_utf8_lossy(place)));
    Some(Found::Portal { location })
}

fn shortened(text: &str) -> String {
    let printable = text.chars().filter(|character| !character.is_control());
    printable.take(NAME_MAX).collect()
}

/// Keeps the certificate that it is shown, and accepts none.
#[derive(Debug, Default)]
struct Witness(Mutex<Option<CertificateDer<'static>>>);

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *shown = Some(end_entity.clone().into_owned());
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
