use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;

use super::*;
use crate::config::{BootClock, Clock};

mod clock;
mod pinned;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn host(name: &str) -> Hostname {
    name.parse().unwrap()
}

/// Certificates in a fresh directory, at a time that the test moves.
struct Fixture {
    directory: TempDir,
    now: Arc<Mutex<SystemTime>>,
    since_boot: Arc<Mutex<Duration>>,
    certificates: Certificates,
}

impl Fixture {
    fn new(hostnames: &[&str]) -> Self {
        Self::open(TempDir::new().unwrap(), hostnames, SystemTime::now())
    }

    fn open(directory: TempDir, hostnames: &[&str], now: SystemTime) -> Self {
        let source = |name: &&str| (host(name), CertificateSource::Own);
        let sources: Vec<_> = hostnames.iter().map(source).collect();
        Self::with_sources(directory, &sources, now)
    }

    fn with_sources(
        directory: TempDir,
        sources: &[(Hostname, CertificateSource)],
        now: SystemTime,
    ) -> Self {
        let now = Arc::new(Mutex::new(now));
        let clock = now.clone();
        let clock: Clock = Arc::new(move || *clock.lock().unwrap());
        let since_boot = Arc::<Mutex<Duration>>::default();
        let boot_clock = since_boot.clone();
        let boot_clock: BootClock = Arc::new(move || *boot_clock.lock().unwrap());
        let state_dir = directory.path().to_owned();
        let certificates = Certificates::new(state_dir, sources, clock, boot_clock).unwrap();
        certificates.refresh();
        Self {
            directory,
            now,
            since_boot,
            certificates,
        }
    }

    fn after(self, hostnames: &[&str], step: Duration) -> Self {
        let now = *self.now.lock().unwrap() + step;
        Self::open(self.directory, hostnames, now)
    }

    fn pass(&self, step: Duration) {
        *self.now.lock().unwrap() += step;
        *self.since_boot.lock().unwrap() += step;
    }

    /// Somebody sets the clock.
    fn set(&self, now: SystemTime) {
        *self.now.lock().unwrap() = now;
    }

    fn now(&self) -> SystemTime {
        *self.now.lock().unwrap()
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap()
    }

    fn trust(&self) -> Trust {
        Trust::new(&self.text("ca.pem"))
    }

    /// The leaf that a client sees which trusts `ca.pem`.
    fn handshake(&self, name: &str) -> Result<CertificateDer<'static>, rustls::Error> {
        let config = self
            .certificates
            .server_config(&host(name))
            .expect("a certificate");
        self.trust().handshake(config, name)
    }

    fn expiry(&self) -> Option<SystemTime> {
        let status = self.certificates.status();
        let expires_at = u64::try_from(status[0].expires_at?).unwrap();
        Some(UNIX_EPOCH + Duration::from_millis(expires_at))
    }
}

/// A client that trusts some authorities.
struct Trust(Arc<ClientConfig>);

impl Trust {
    fn new(pem: &str) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(Arc::new(config))
    }

    fn handshake(
        &self,
        server: Arc<ServerConfig>,
        name: &str,
    ) -> Result<CertificateDer<'static>, rustls::Error> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(self.0.clone(), name).unwrap();
        let mut server = ServerConnection::new(server).unwrap();
        while client.is_handshaking() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                server.read_tls(&mut rest).unwrap();
                server.process_new_packets()?;
            }
            bytes.clear();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                client.read_tls(&mut rest).unwrap();
                client.process_new_packets()?;
            }
        }
        Ok(client.peer_certificates().unwrap()[0].clone().into_owned())
    }
}

#[test]
fn a_device_that_trusts_the_authority_accepts_the_host() {
    let fixture = Fixture::new(&["home.example.org", "localhost"]);
    fixture.handshake("home.example.org").unwrap();
    fixture.handshake("localhost").unwrap();
    assert!(
        fixture
            .certificates
            .server_config(&host("other.example.org"))
            .is_none()
    );
}

#[test]
fn the_authority_cannot_speak_for_another_name() {
    let fixture = Fixture::new(&["home.example.org"]);
    let directory = fixture.directory.path().join("certificates");
    let home = host("home.example.org");
    let authority = Authority::open_or_create(&directory, &home, fixture.now()).unwrap();
    for name in ["evil.example.org", "example.org", "evilhome.example.org"] {
        let leaf = leaf::replace(
            &directory,
            &host(name),
            &authority,
            LeafKind::Renewed,
            fixture.now(),
        );
        let leaf = leaf.unwrap();
        let tickets = aws_lc_rs::Ticketer::new().unwrap();
        let config = leaf.server_config(&host(name), tickets).unwrap();
        let error = fixture.trust().handshake(config, name).unwrap_err();
        // The chain is refused for the name constraint, not for the signature or the name asked.
        assert!(
            matches!(&error, rustls::Error::InvalidCertificate(cause)
                if format!("{cause:?}").contains("NameConstraint")),
            "{name}: {error:?}"
        );
    }
}

#[test]
fn the_authority_cannot_speak_for_an_address_or_sign_another_authority() {
    let fixture = Fixture::new(&["home.example.org"]);
    let authority = CertificateDer::from_pem_slice(fixture.text("ca.pem").as_bytes()).unwrap();
    let (_, authority) = x509_parser::parse_x509_certificate(&authority).unwrap();
    let basic = authority.basic_constraints().unwrap().unwrap();
    assert!(basic.critical && basic.value.ca);
    assert_eq!(basic.value.path_len_constraint, Some(0));
    let names = authority.name_constraints().unwrap().unwrap();
    assert!(names.critical);
    assert_eq!(names.value.permitted_subtrees.as_ref().unwrap().len(), 1);
    assert_eq!(names.value.excluded_subtrees.as_ref().unwrap().len(), 2);
    let life = authority
        .validity()
        .time_to_expiration()
        .unwrap()
        .whole_days();
    assert!((3640..3660).contains(&life), "{life}");
}

#[test]
fn the_leaf_is_short_lived_and_for_servers() {
    let fixture = Fixture::new(&["home.example.org"]);
    let leaf = fixture.handshake("home.example.org").unwrap();
    let (from, until) = authority::validity(&leaf).unwrap();
    assert!(until.duration_since(from).unwrap() <= 397 * DAY);
    assert!(from < fixture.now());
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    assert!(
        leaf.extended_key_usage()
            .unwrap()
            .unwrap()
            .value
            .server_auth
    );
    assert!(!leaf.is_ca());
}

#[test]
fn keys_are_for_the_owner_alone() {
    let fixture = Fixture::new(&["home.example.org"]);
    let mode = |name: &str| {
        let metadata = std::fs::metadata(fixture.directory.path().join(name)).unwrap();
        metadata.permissions().mode() & 0o7777
    };
    assert_eq!(mode("certificates/home.example.org.pem"), 0o600);
    assert_eq!(mode("certificates/home.example.org_ca.pem"), 0o600);
    assert_eq!(mode("certificates"), 0o700);
    assert!(!fixture.text("ca.pem").contains("PRIVATE"));
    let files = std::fs::read_dir(fixture.directory.path().join("certificates")).unwrap();
    assert_eq!(files.count(), 2, "a temporary file was left");
}

#[test]
fn a_restart_keeps_authority_and_leaf() {
    let fixture = Fixture::new(&["home.example.org"]);
    let (authority, leaf) = (
        fixture.text("ca.pem"),
        fixture.handshake("home.example.org").unwrap(),
    );
    let fixture = fixture.after(&["home.example.org"], DAY);
    assert_eq!(fixture.text("ca.pem"), authority);
    assert_eq!(fixture.handshake("home.example.org").unwrap(), leaf);
}

#[test]
fn another_hostname_disturbs_no_trust() {
    let fixture = Fixture::new(&["home.example.org"]);
    let trust = fixture.trust();
    let fixture = fixture.after(&["home.example.org", "m.example.org"], DAY);
    let config = fixture
        .certificates
        .server_config(&host("home.example.org"))
        .unwrap();
    trust.handshake(config, "home.example.org").unwrap();
    fixture.handshake("m.example.org").unwrap();
}

#[test]
fn each_name_has_its_authority_in_a_file_of_its_own() {
    let names = ["home.example.org", "m.example.org"];
    let fixture = Fixture::new(&names);
    let alone = names.map(|name| fixture.text(&format!("ca-{name}.pem")));
    assert_eq!(alone.concat(), fixture.text("ca.pem"));
    for (name, pem) in names.iter().zip(&alone) {
        assert_eq!(pem.matches("BEGIN CERTIFICATE").count(), 1);
        assert!(!pem.contains("PRIVATE"));
        let config = fixture.certificates.server_config(&host(name)).unwrap();
        Trust::new(pem).handshake(config, name).unwrap();
    }
    // What a name had before there were such files.
    let path = ca_file_of(fixture.directory.path(), &host(names[1]));
    std::fs::remove_file(&path).unwrap();
    let fixture = fixture.after(&names, DAY);
    assert_eq!(std::fs::read_to_string(path).unwrap(), alone[1]);
    assert_eq!(fixture.text("ca.pem"), alone.concat());
}

#[test]
fn the_leaf_is_renewed_when_a_third_of_its_life_is_left() {
    let fixture = Fixture::new(&["home.example.org"]);
    let first = fixture.expiry().unwrap();
    fixture.pass(262 * DAY);
    fixture.certificates.refresh();
    assert_eq!(fixture.expiry(), Some(first), "renewed too early");
    fixture.pass(4 * DAY);
    fixture.certificates.refresh();
    let second = fixture.expiry().unwrap();
    assert!(second > first + 200 * DAY, "not renewed");
    // Also while home was down.
    let fixture = fixture.after(&["home.example.org"], 300 * DAY);
    assert!(fixture.expiry().unwrap() > second + 200 * DAY);
}

#[test]
fn an_expired_certificate_is_never_shown() {
    let fixture = Fixture::new(&["home.example.org"]);
    fixture.pass(400 * DAY);
    assert!(
        fixture
            .certificates
            .server_config(&host("home.example.org"))
            .is_none()
    );
    assert_eq!(fixture.expiry(), None);
    fixture.certificates.refresh();
    assert!(
        fixture
            .certificates
            .server_config(&host("home.example.org"))
            .is_some()
    );
}

#[test]
fn a_clock_that_lost_the_time_makes_no_authority() {
    let epoch = UNIX_EPOCH + DAY;
    let fixture = Fixture::open(TempDir::new().unwrap(), &["home.example.org"], epoch);
    assert!(
        fixture
            .certificates
            .server_config(&host("home.example.org"))
            .is_none()
    );
    let error = fixture.certificates.status()[0].error.clone().unwrap();
    assert!(error.contains("1970-01-02"), "{error}");
    assert!(!fixture.directory.path().join("certificates").exists());
    fixture.set(SystemTime::now());
    fixture.certificates.refresh();
    fixture.handshake("home.example.org").unwrap();
}

#[test]
fn an_authority_whose_time_is_over_is_told_and_not_replaced() {
    let fixture = Fixture::new(&["home.example.org"]);
    let before = fixture.text("ca.pem");
    fixture.pass(11 * 365 * DAY);
    fixture.certificates.refresh();
    let error = fixture.certificates.status()[0].error.clone().unwrap();
    assert!(error.contains("is good from"), "{error}");
    assert_eq!(fixture.text("ca.pem"), before);
}

#[test]
fn a_damaged_leaf_is_replaced_and_a_damaged_authority_is_told() {
    let fixture = Fixture::new(&["home.example.org", "b.example.org"]);
    let leaf = fixture
        .directory
        .path()
        .join("certificates/home.example.org.pem");
    std::fs::write(&leaf, "garbage").unwrap();
    let fixture = fixture.after(&["home.example.org", "b.example.org"], DAY);
    fixture.handshake("home.example.org").unwrap();

    let authority = fixture
        .directory
        .path()
        .join("certificates/home.example.org_ca.pem");
    std::fs::write(&authority, "garbage").unwrap();
    let fixture = fixture.after(&["home.example.org", "b.example.org"], DAY);
    assert!(
        fixture
            .certificates
            .server_config(&host("home.example.org"))
            .is_none()
    );
    assert_eq!(std::fs::read_to_string(&authority).unwrap(), "garbage");
    // The other host goes on.
    fixture.handshake("b.example.org").unwrap();
}

#[test]
fn prepare_writes_what_a_running_home_then_uses() {
    let directory = TempDir::new().unwrap();
    let now = SystemTime::now();
    let path = prepare(directory.path(), &[host("home.example.org")], now).unwrap();
    let bundle = std::fs::read_to_string(path).unwrap();
    let fixture = Fixture::open(directory, &["home.example.org"], now);
    assert_eq!(fixture.text("ca.pem"), bundle);
    fixture.handshake("home.example.org").unwrap();
}

/// What a public authority has issued: key and certificate in PEM.
fn public_certificate(name: &str, not_before: SystemTime, life: Duration) -> String {
    let mut params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
    params.not_before = not_before.into();
    params.not_after = (not_before + life).into();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    format!("{}{}", key.serialize_pem(), certificate.pem())
}

fn with_public_certificate(pem: &str, now: SystemTime) -> Fixture {
    let directory = TempDir::new().unwrap();
    let home = host("home.example.org");
    acme::stored::write(directory.path(), &home, pem).unwrap();
    Fixture::with_sources(directory, &[(home, CertificateSource::Acme)], now)
}

#[test]
fn a_public_certificate_is_served_from_its_first_moment_to_its_last() {
    let start = SystemTime::now();
    let pem = public_certificate("home.example.org", start, 45 * DAY);
    let home = host("home.example.org");
    for (at, is_served) in [
        (start - Duration::from_secs(60), false),
        (start + DAY, true),
        (start + 45 * DAY - Duration::from_secs(2), true),
        (start + 45 * DAY, false),
        (start + 90 * DAY, false),
    ] {
        let fixture = with_public_certificate(&pem, at);
        let config = fixture.certificates.server_config(&home);
        assert_eq!(
            config.is_some(),
            is_served,
            "{:?}",
            at.duration_since(start)
        );
        assert_eq!(fixture.expiry().is_some(), is_served);
    }
}

#[test]
fn a_public_certificate_of_another_name_or_key_is_never_served() {
    let now = SystemTime::now();
    let other = public_certificate("other.example.org", now, 45 * DAY);
    let good = public_certificate("home.example.org", now, 45 * DAY);
    let start = good.find("-----BEGIN CERTIFICATE").unwrap();
    let other_key = &other[..other.find("-----BEGIN CERTIFICATE").unwrap()];
    let mixed = format!("{other_key}{}", &good[start..]);
    for pem in [&other, &mixed, &good[..good.len() - 40], ""] {
        let fixture = with_public_certificate(pem, now + DAY);
        let home = host("home.example.org");
        assert!(fixture.certificates.server_config(&home).is_none());
        assert!(fixture.certificates.status()[0].error.is_some());
        // What an authority sends is looked at in the same way, and changes nothing.
        let fixture = with_public_certificate(&good, now + DAY);
        assert!(fixture.certificates.install(&home, pem).is_err());
        let config = fixture.certificates.server_config(&home);
        assert!(config.is_some());
    }
}
