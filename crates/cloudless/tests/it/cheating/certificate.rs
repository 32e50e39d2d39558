//! Somebody with an ACME account of their own, who orders a certificate for a name that is not theirs.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{
    Account, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType, HttpClient,
    Identifier, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair, PublicKeyData as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ServerConfig};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::acme::front::Front;
use crate::client;

const POLLING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(50))
    .backoff(1.5)
    .timeout(Duration::from_secs(60));

/// An account that is not home's.
pub(crate) struct Stranger(Account);

/// A certificate that was got behind home's back.
pub(crate) struct Stolen {
    /// The certificate and what it is signed with.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) pem: String,
    pub(crate) key: KeyPair,
}

impl Stranger {
    pub(crate) async fn register(authority: &Front) -> Self {
        let http = Box::new(Http(Arc::new(client::tls(&authority.ca_file()))));
        let new = NewAccount {
            contact: &[],
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let created = Account::builder_with_http(http).create(&new, authority.directory(), None);
        Self(created.await.unwrap().0)
    }

    /// The URI by which CAA records name the account.
    pub(crate) fn uri(&self) -> &str {
        self.0.id()
    }

    /// Orders a certificate. `prove` is told, before the authority comes to look, what to answer it if it
    /// comes by TLS.
    /// `Err` is what the authority says against it.
    pub(crate) async fn order(
        &self,
        hostname: &str,
        kind: ChallengeType,
        prove: impl Fn(Arc<ServerConfig>),
    ) -> Result<Stolen, String> {
        let names = [Identifier::Dns(hostname.to_owned())];
        let placed = self.0.new_order(&NewOrder::new(&names)).await;
        let mut order = placed.map_err(|error| error.to_string())?;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.unwrap();
            assert_eq!(authorization.status, AuthorizationStatus::Pending);
            let mut challenge = authorization.challenge(kind.clone()).unwrap();
            let digest = challenge.key_authorization().digest();
            prove(proof(hostname, digest.as_ref()));
            let ready = challenge.set_ready().await;
            ready.map_err(|error| error.to_string())?;
        }
        if order.poll_ready(&POLLING).await.ok() != Some(OrderStatus::Ready) {
            return Err(why(&mut order).await);
        }
        let key = KeyPair::generate().unwrap();
        let request = CertificateParams::new([hostname.to_owned()]).unwrap();
        let request = request.serialize_request(&key).unwrap();
        order.finalize_csr(request.der()).await.unwrap();
        let pem = order.poll_certificate(&POLLING).await.unwrap();
        forget_proof(&mut order).await;
        let chain = CertificateDer::pem_slice_iter(pem.as_bytes());
        Ok(Stolen {
            chain: chain.collect::<Result<_, _>>().unwrap(),
            pem,
            key,
        })
    }
}

impl Stolen {
    /// The hash of its key, as logs of certificates tell it.
    pub(crate) fn spki_sha256(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(self.key.subject_public_key_info()))
    }

    pub(crate) fn private_key(&self) -> PrivatePkcs8KeyDer<'static> {
        self.key.serialize_der().into()
    }
}

/// Has the next order prove the name again. Pebble takes a valid authorization once more in one of a
/// hundred orders, also where it is told to do so in none.
async fn forget_proof(order: &mut Order) {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        authorization.unwrap().deactivate().await.unwrap();
    }
}

/// What the authority has found.
async fn why(order: &mut Order) -> String {
    let mut authorizations = order.authorizations();
    let mut said = String::new();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.unwrap();
        authorization.refresh().await.unwrap();
        for problem in authorization
            .challenges
            .iter()
            .filter_map(|it| it.error.as_ref())
        {
            said.push_str(&problem.to_string());
        }
    }
    assert!(!said.is_empty(), "an order that failed without a word");
    said
}

/// TLS that proves a name by TLS-ALPN-01 (RFC 8737 section 3).
fn proof(hostname: &str, digest: &[u8]) -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([hostname.to_owned()]).unwrap();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let mut config = server(vec![certificate], key.serialize_der().into());
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    Arc::new(config)
}

/// TLS with a certificate, and no question about the other side.
pub(crate) fn server(
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    // It need not be good for anything else.
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key.into()).unwrap();
    let pair = rustls::sign::CertifiedKey::new(chain, key);
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(pair)))
}

/// HTTP to the authority, a connection for each request.
struct Http(Arc<ClientConfig>);

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let tls = TlsConnector::from(self.0.clone());
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let uri = std::mem::take(&mut parts.uri);
            let authority = uri.authority().unwrap().as_str().to_owned();
            parts.uri = Uri::try_from(uri.path_and_query().unwrap().as_str()).unwrap();
            parts.headers.insert("host", authority.parse().unwrap());
            let body = body.collect().await.unwrap_or_default().to_bytes();
            let name = ServerName::try_from("localhost").unwrap();
            let mut attempts = 0;
            let (connection, answer) = loop {
                let tcp = TcpStream::connect(("127.0.0.1", uri.port_u16().unwrap()));
                let stream = tls.connect(name.clone(), tcp.await.unwrap()).await.unwrap();
                let started = http1::handshake(TokioIo::new(stream)).await;
                let (mut requests, connection) = started.unwrap();
                let connection = tokio::spawn(connection);
                let request = Request::from_parts(parts.clone(), Full::new(body.clone()));
                attempts += 1;
                match requests.send_request(request).await {
                    Ok(answer) => break (connection, answer),
                    // The authority has ended a connection without an answer, once in many runs.
                    Err(error) => assert!(attempts < 3, "{error:?}"),
                }
            };
            let (parts, body) = answer.into_parts();
            let body = Box::new(body.collect().await.unwrap().to_bytes());
            connection.abort();
            Ok(BytesResponse { parts, body })
        })
    }
}
