//! Who answers in the relay's place: a network that intercepts TLS, or a captive portal.

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

use super::dial::Reached;

/// Both questions together.
const PATIENCE: Duration = Duration::from_secs(3);
/// Of a name that others chose, so much is shown.
const NAME_MAX: usize = 100;
/// Of an answer in clear, so much is read.
const HEAD_MAX: u64 = 4096;

/// What stands between home and the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It shows a certificate in the relay's place, of this issuer.
    Interceptor { issuer: String },
    /// It speaks plain HTTP where TLS belongs, and redirects there if it says where to.
    Portal { location: Option<String> },
}

/// Asks what answers where the relay should be and is not, on the way that led there. Nothing secret is
/// said, but to a proxy how home introduces itself to it.
pub(crate) async fn inspect(reached: &Reached, server_name: &str) -> Option<Found> {
    let asked = async {
        match issuer(reached, server_name).await {
            Some(issuer) => Some(Found::Interceptor { issuer }),
            None => portal(reached, server_name).await,
        }
    };
    timeout(PATIENCE, asked).await.ok().flatten()
}

/// Who issued the certificate that is shown.
async fn issuer(reached: &Reached, server_name: &str) -> Option<String> {
    // The relay itself would pass a browser on to the web server behind it, with its certificate;
    // asked for a tunnel it has none to show.
    let asked = shown(reached, server_name, Some(control::ALPN)).await;
    let certificate = match asked {
        // The relay would not have said that.
        Err(Some(AlertDescription::NoApplicationProtocol)) => {
            shown(reached, server_name, None).await.ok()?
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
    reached: &Reached,
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
    let tcp = reached.again().await.map_err(|_| None)?;
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
async fn portal(reached: &Reached, server_name: &str) -> Option<Found> {
    let tcp = reached.again().await.ok()?;
    let answer = answer_in_clear(tcp, server_name).await?;
    // The relay itself answers so to whoever speaks plain HTTP to it.
    response_head::status(&answer).filter(|status| *status != 400)?;
    let location = response_head::location(&answer);
    let location = location.map(|place| shortened(&String::from_utf8_lossy(place)));
    Some(Found::Portal { location })
}

/// The head of the answer to who asks for a page as a browser does, and whatever came along with it.
pub(super) async fn answer_in_clear(mut tcp: TcpStream, host: &str) -> Option<Vec<u8>> {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.ok()?;
    let mut tcp = tcp.take(HEAD_MAX);
    let mut answer = Vec::new();
    let is_whole = |answer: &[u8]| answer.windows(4).any(|end| end == b"\r\n\r\n");
    // One that breaks off may have said enough, and not everybody closes who is asked to.
    while !is_whole(&answer) && matches!(tcp.read_buf(&mut answer).await, Ok(1..)) {}
    Some(answer)
}

pub(super) fn shortened(text: &str) -> String {
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
