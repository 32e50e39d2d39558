//! Hostnames where TLS demands a certificate of each device.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cloudless_home::admin::{Command, DeviceAdded, Reply};
use data_encoding::BASE64;
use p12_keystore::{KeyStore, Pkcs12ImportPolicy};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, ClientConfig, HandshakeKind, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::fixture::{HOST, Home, PATIENCE};
use crate::relay::{FakeRelay, FakeSession};
use crate::visitor::tls;

/// Where a certificate is demanded.
const DEMANDING: &str = "m.home.example.org";

type Chain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

struct Demanding {
    home: Home,
    session: FakeSession,
    _relay: FakeRelay,
}

impl Demanding {
    async fn start() -> Self {
        let relay = FakeRelay::bind().await;
        let home = Home::start_with(vec![relay.relay()], |config| {
            let hostname: cloudless_proto::Hostname = DEMANDING.parse().unwrap();
            config.hostnames.push(hostname.clone());
            config.client_certificates = [hostname].into();
        })
        .await;
        let session = relay.welcome(HOST).await;
        Self {
            home,
            session,
            _relay: relay,
        }
    }

    async fn add(&self, name: &str) -> Enrolled {
        let command = Command::DeviceAdd {
            user: "me".to_owned(),
            name: name.to_owned(),
            create_user: false,
            client_certificate: true,
        };
        match self.home.ask(&command).await {
            Reply::DeviceAdded(added) => Enrolled::new(&added),
            other => panic!("{other:?}"),
        }
    }

    async fn revoke(&self, name: &str) {
        let command = Command::DeviceRevoke {
            user: "me".to_owned(),
            name: name.to_owned(),
        };
        let reply = self.home.ask(&command).await;
        assert!(matches!(reply, Reply::DeviceRevoked { .. }), "{reply:?}");
    }

    /// A client that shows this certificate, or none.
    fn client(&self, chain: Option<&Chain>) -> ClientConfig {
        let plain = self.home.trust();
        let Some((certificates, key)) = chain else {
            return plain;
        };
        let mut roots = RootCertStore::empty();
        let pem = cloudless_home::certificate::ca_file(self.home.directory.path());
        let pem = std::fs::read(pem).unwrap();
        for certificate in rustls_pki_types::pem::PemObject::pem_slice_iter(&pem) {
            roots.add(certificate.unwrap()).unwrap();
        }
        ClientConfig::builder_with_provider(plain.crypto_provider().clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates.clone(), key.clone_key())
            .unwrap()
    }

    /// One request; the status, or why TLS ended.
    async fn ask(
        &self,
        hostname: &str,
        client: &ClientConfig,
        authorization: &str,
    ) -> Result<u16, std::io::Error> {
        let stream = tls(&self.session, client.clone(), hostname, b"http/1.1").await?;
        status(stream, hostname, authorization).await
    }
}

async fn status(
    mut stream: TlsStream<DuplexStream>,
    hostname: &str,
    authorization: &str,
) -> Result<u16, std::io::Error> {
    let request = format!(
        "PROPFIND /dav/ HTTP/1.1\r\nhost: {hostname}\r\nauthorization: {authorization}\r\n\
         depth: 0\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    let read = timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
    read.unwrap()?;
    Ok(answer[9..12].parse().expect("a status"))
}

/// What a device was given.
struct Enrolled {
    authorization: String,
    chain: Chain,
    added: DeviceAdded,
}

impl Enrolled {
    fn new(added: &DeviceAdded) -> Self {
        let packed = added.client_certificate.as_ref().expect("a certificate");
        let bytes = BASE64
            .decode(packed.pkcs12_base64.expose().as_bytes())
            .unwrap();
        let policy = Pkcs12ImportPolicy::Strict;
        let store = KeyStore::from_pkcs12(&bytes, packed.password.expose(), policy).unwrap();
        let (name, chain) = store.private_key_chain().expect("a key");
        assert_eq!(name, format!("{} {}", added.user, added.device));
        let der = |it: &p12_keystore::Certificate| CertificateDer::from(it.as_der().to_vec());
        let certificates: Vec<_> = chain.certs().iter().map(der).collect();
        assert_eq!(certificates.len(), 2, "the authority is there too");
        let key = PrivatePkcs8KeyDer::from(chain.key().as_der().to_vec());
        let credentials = format!("{}:{}", added.user, added.password.expose());
        Self {
            authorization: format!("Basic {}", BASE64.encode(credentials.as_bytes())),
            chain: (certificates, key.into()),
            added: added.clone(),
        }
    }
}

#[track_caller]
fn assert_alert(result: Result<u16, std::io::Error>, wanted: AlertDescription) {
    let error = result.expect_err("TLS has to end");
    let cause = error.get_ref().and_then(|it| it.downcast_ref());
    let alert = rustls::Error::AlertReceived(wanted);
    assert_eq!(cause, Some(&alert), "{error:?}");
}

#[tokio::test]
async fn a_device_needs_its_certificate_and_its_password_and_has_one_name_to_go_to() {
    let demanding = Demanding::start().await;
    let (phone, tablet) = (
        demanding.add("phone 2").await,
        demanding.add("tablet").await,
    );
    let urls = [format!("https://{DEMANDING}/")];
    assert_eq!(phone.added.public_urls, urls);
    assert_eq!(phone.added.local_urls, [""; 0]);
    let client = demanding.client(Some(&phone.chain));
    let plain = demanding.client(None);
    let wrong = "Basic bWU6d3Jvbmc=";
    for (hostname, client, authorization, wanted) in [
        (DEMANDING, &client, &phone.authorization, 207),
        (DEMANDING, &client, &tablet.authorization, 401),
        (DEMANDING, &client, &demanding.home.authorization, 401),
        (DEMANDING, &client, &wrong.to_owned(), 401),
        (HOST, &client, &phone.authorization, 401),
        (HOST, &plain, &phone.authorization, 401),
        (HOST, &plain, &demanding.home.authorization, 207),
    ] {
        let told = demanding.ask(hostname, client, authorization).await;
        assert_eq!(told.unwrap(), wanted, "{hostname} {authorization}");
    }
    // Nor on home's own machine.
    let mut local = tokio::net::TcpStream::connect(demanding.home.local)
        .await
        .unwrap();
    let authorization = &phone.authorization;
    let request = format!(
        "PROPFIND /dav/ HTTP/1.1\r\nhost: localhost\r\nauthorization: {authorization}\r\n\
         connection: close\r\n\r\n"
    );
    local.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    local.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    // Whose certificate it is is no secret between the two hosts: another name is refused as ever.
    let stream = tls(&demanding.session, client, DEMANDING, b"http/1.1").await;
    let told = status(stream.unwrap(), HOST, &phone.authorization).await;
    assert_eq!(told.unwrap(), 421);
}

/// A person who counts how often a certificate is asked of them, and has none.
#[derive(Debug, Default)]
struct Prompts(AtomicUsize);

impl ResolvesClientCert for Prompts {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A browser would show its owner a dialog.
#[tokio::test]
async fn no_client_of_another_name_is_asked_for_a_certificate() {
    let demanding = Demanding::start().await;
    let phone = demanding.add("phone 2").await;
    let prompts = Arc::new(Prompts::default());
    let mut client = demanding.client(None);
    client.client_auth_cert_resolver = prompts.clone();
    let authorization = &demanding.home.authorization;
    let told = demanding.ask(HOST, &client, authorization).await;
    assert_eq!(told.unwrap(), 207);
    assert_eq!(prompts.0.load(Ordering::Relaxed), 0);
    let told = demanding
        .ask(DEMANDING, &client, &phone.authorization)
        .await;
    assert_alert(told, AlertDescription::CertificateRequired);
    assert_eq!(prompts.0.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn without_a_good_certificate_tls_ends_before_http() {
    let demanding = Demanding::start().await;
    let phone = demanding.add("phone 2").await;
    let none = demanding.client(None);
    let told = demanding.ask(DEMANDING, &none, &phone.authorization).await;
    assert_alert(told, AlertDescription::CertificateRequired);

    // Of another home, whose authority has the same name.
    let other = Demanding::start().await.add("phone 2").await;
    let forged = demanding.client(Some(&other.chain));
    let told = demanding
        .ask(DEMANDING, &forged, &phone.authorization)
        .await;
    let error = told.expect_err("another authority");
    assert!(error.to_string().contains("alert"), "{error}");

    // One that this home's authority has signed, and no device has.
    let authority = demanding.home.directory.path();
    let authority = authority.join("certificates/client_authority.pem");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&authority).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&authority).unwrap();
    let issuer_key = rcgen::KeyPair::from_pem(&text).unwrap();
    let certificate = rustls_pki_types::pem::PemObject::from_pem_slice(text.as_bytes()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(&certificate, issuer_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let signed = params.signed_by(&key, &issuer).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let unknown = (vec![signed.der().clone()], PrivateKeyDer::from(key));
    let unknown = demanding.client(Some(&unknown));
    let told = demanding
        .ask(DEMANDING, &unknown, &phone.authorization)
        .await;
    assert_alert(told, AlertDescription::CertificateRevoked);

    // TLS 1.2 would show the certificate to the relay.
    let (certificates, key) = &phone.chain;
    let old = ClientConfig::builder_with_provider(none.crypto_provider().clone())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_client_auth_cert(certificates.clone(), key.clone_key())
        .unwrap();
    let told = demanding.ask(DEMANDING, &old, &phone.authorization).await;
    assert_alert(told, AlertDescription::ProtocolVersion);

    let asked = demanding.home.status().await.requests;
    assert_eq!(asked, [], "HTTP was heard");
}

#[tokio::test]
async fn a_revocation_ends_connections_and_no_ticket_outlives_it() {
    let demanding = Demanding::start().await;
    let (phone, tablet) = (
        demanding.add("phone 2").await,
        demanding.add("tablet").await,
    );
    let mut client = demanding.client(Some(&phone.chain));
    client.resumption = Resumption::in_memory_sessions(8);
    for _ in 0..2 {
        let stream = tls(&demanding.session, client.clone(), DEMANDING, b"http/1.1").await;
        let stream = stream.unwrap();
        let kind = stream.get_ref().1.handshake_kind();
        assert_eq!(kind, Some(HandshakeKind::Full), "there was a ticket");
        let told = status(stream, DEMANDING, &phone.authorization).await;
        assert_eq!(told.unwrap(), 207);
    }
    let connect = async |client: &ClientConfig, alpn| {
        let stream = tls(&demanding.session, client.clone(), DEMANDING, alpn).await;
        stream.unwrap()
    };
    let others = demanding.client(Some(&tablet.chain));
    let (mut http1, mut http2) = (
        connect(&client, b"http/1.1").await,
        connect(&client, b"h2").await,
    );
    let other = connect(&others, b"http/1.1").await;
    demanding.revoke("phone 2").await;
    for stream in [&mut http1, &mut http2] {
        // What came before the end, such as the settings of HTTP/2, is of no matter.
        let read = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
        let _ = read.expect("the connection ends");
    }
    let counted = timeout(PATIENCE, async {
        while demanding.home.status().await.refused.get("device_revoked") != Some(&2) {}
    });
    counted.await.expect("both are counted");
    let told = demanding
        .ask(DEMANDING, &client, &phone.authorization)
        .await;
    assert_alert(told, AlertDescription::CertificateRevoked);
    let told = status(other, DEMANDING, &tablet.authorization).await;
    assert_eq!(told.unwrap(), 207, "another device goes on");
    // The name can be given again, with another certificate.
    let again = demanding.add("phone 2").await;
    let client = demanding.client(Some(&again.chain));
    let told = demanding
        .ask(DEMANDING, &client, &again.authorization)
        .await;
    assert_eq!(told.unwrap(), 207);
    let told = demanding
        .ask(DEMANDING, &client, &phone.authorization)
        .await;
    assert_eq!(told.unwrap(), 401);
}

#[tokio::test]
async fn a_certificate_is_of_no_use_where_no_name_demands_one() {
    let relay = FakeRelay::bind().await;
    let home = Home::start(vec![relay.relay()]).await;
    let command = Command::DeviceAdd {
        user: "me".to_owned(),
        name: "phone 2".to_owned(),
        create_user: false,
        client_certificate: true,
    };
    let Reply::Error { message } = home.ask(&command).await else {
        panic!("there is no name for it");
    };
    assert!(message.contains("client_certificates = true"), "{message}");
    let Reply::Devices { devices } = home.ask(&Command::DeviceList { user: None }).await else {
        panic!("no devices");
    };
    assert_eq!(devices.len(), 1);
}
