//! A home with a name of the internet's at some level of trust: its relay, its zone, the authority, the
//! logs of certificates, and its owner's phone.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloudless_home::trust::Holding;
use cloudless_proto::trust::{Asset, Attacker, Defense, Defenses, Level, outcome};
use data_encoding::BASE64;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde_json::Value;

use super::knot::{Keys, Knot, Signed, Zone, is_missing};
use super::log_server::LogServer;
use super::relay::CheatingRelay;
use crate::acme::caa::CaaCheck;
use crate::acme::front::{Front, Tricks};
use crate::acme::pebble::{self, Pebble, Settings};
use crate::binary::on;
use crate::client::{self, Client};
use crate::pair::Pair;

pub(crate) const NAME: &str = "home.alice.de";
const ZONE: &str = "alice.de";
const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const ADDRESS: &str = "home.alice.de. 60 A 127.0.0.1\n";

/// Whether all that is needed is installed; says so when it is not.
pub(crate) fn is_installed() -> bool {
    pebble::is_installed() && !is_missing()
}

/// Everything that has a say in who home is taken for.
pub(crate) struct Bed {
    pub(crate) level: Level,
    pub(crate) pair: Pair,
    pub(crate) relay: CheatingRelay,
    pub(crate) front: Front,
    pub(crate) logs: LogServer,
    /// The CAA records that home asks for.
    caa: String,
    keys: Keys,
    dns: NameServer,
    /// Answers as whoever sits near the name servers would like it.
    forger: NameServer,
    pub(crate) phone: Client,
    pebble: Pebble,
}

impl Bed {
    /// Sets a name up as the docs say; returns once home serves it.
    pub(crate) async fn at(level: Level) -> Self {
        let mut bed = Self::prepare(level).await;
        bed.start_home();
        bed.publish();
        bed.phone = bed.new_phone("tablet");
        bed
    }

    /// The same before anything is in the DNS; home is down.
    pub(crate) async fn prepare(level: Level) -> Self {
        let mut pair = Pair::start_as(NAME);
        pair.kill_home();
        let relay = CheatingRelay::before(pair.relay_address()).await;
        let pebble = Pebble::start(&Settings {
            https: relay.address().port(),
            http: pair.relay_http_port(),
            nonces_refused: 0,
            external: None,
            validity_s: None,
        });
        let keys = Keys::new(&["test", "de", ZONE]);
        let dns = NameServer::start(&keys, &zones(&keys, "", Signed::Nsec));
        let forger = NameServer::start(&keys, &forged(&keys, Signed::Nsec));
        let front = Front::start(
            &pebble,
            Tricks {
                caa: Some(caa_check(&keys, &dns)),
                ..Tricks::default()
            },
        );
        let logs = LogServer::start().await;
        let bed = Self {
            level,
            phone: pair.phone(),
            pair,
            relay,
            front,
            logs,
            caa: String::new(),
            keys,
            dns,
            forger,
            pebble,
        };
        bed.configure();
        bed
    }

    fn configure(&self) {
        let certificate = match self.level.is_public_certificate() {
            true => "acme",
            false => "own",
        };
        let trust = self.level;
        let demand = self.level == Level::ClientCertificates;
        let anchors = self.anchors().replace('\n', "\\n");
        let (dns, logs) = (self.dns.address, self.logs.url());
        let text = format!(
            "[hostname.\"{NAME}\"]\ncertificate = \"{certificate}\"\ntrust = \"{trust}\"\n\
             client_certificates = {demand}\n\
             [acme]\ndirectory = \"{}\"\nroot_ca_file = \"{}\"\n\
             [dns]\nresolvers = [\"{dns}\"]\nname_server_port = {}\ntrust_anchor = \"{anchors}\"\n\
             [transparency]\nenabled = {}\ncert_spotter = \"{logs}\"\n\
             crt_sh = \"https://localhost:1\"\nwebhook = \"{logs}/webhook\"\n",
            self.front.directory(),
            self.front.ca_file().display(),
            dns.port(),
            self.level != Level::HonestRelay,
        );
        let file = self.home().join("home.toml");
        let before = fs::read_to_string(&file).unwrap();
        fs::write(file, format!("{before}\n{text}")).unwrap();
    }

    /// Starts home, which asks the logs and the DNS at once; returns once the tunnel is up.
    pub(crate) fn start_home(&mut self) {
        let root = self.pair.folder("logs").join("root.pem");
        fs::write(&root, pem(self.logs.root())).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloudless"));
        command.env("SSL_CERT_FILE", root);
        self.pair.start_home_by(command);
        self.pair.await_tunnel();
    }

    /// Publishes what home asks for in a signed zone, and has it look and order.
    fn publish(&mut self) {
        self.await_account();
        self.caa = self.wanted_records();
        self.sign(true);
        if self.level.is_public_certificate() {
            self.renew().expect(0);
        }
    }

    /// Waits until home has an account at the authority, if it is to have one.
    pub(crate) fn await_account(&self) {
        let end = Instant::now() + PATIENCE;
        while self.level != Level::Pinned && !self.row()["acme"]["account"].is_string() {
            assert!(Instant::now() < end, "no account: {:#}", self.row());
        }
    }

    /// The CAA records that home wants to see, for a zone file.
    pub(crate) fn wanted_records(&self) -> String {
        let report = self.trust("doctor");
        let records = report["records"].as_array().unwrap().iter();
        let line = |it: &Value| it.as_str().unwrap().replacen(" CAA", " 60 CAA", 1) + "\n";
        records.map(line).collect()
    }

    /// Has the owner's zone hold these records, signed.
    pub(crate) fn serve_zone(&mut self, records: &str) {
        let zones = zones(&self.keys, records, Signed::Nsec);
        self.dns.replace(&self.keys, &zones);
    }

    /// Has the owner's zone signed, or not, and home look.
    pub(crate) fn sign(&mut self, is_signed: bool) {
        let signed = if is_signed { Signed::Nsec } else { Signed::No };
        let records = self.caa.clone() + ADDRESS;
        self.dns
            .replace(&self.keys, &zones(&self.keys, &records, signed));
        self.forger.replace(&self.keys, &forged(&self.keys, signed));
        let report = self.trust("doctor");
        assert_eq!(report["in_force"], self.level.as_str(), "{report:#}");
        assert_eq!(report["is_served"], true, "{report:#}");
        let is_protected = self.level != Level::HonestRelay;
        let is_shown = is_signed && is_protected;
        assert_eq!(report["is_signed"], is_shown, "{report:#}");
    }

    /// Has somebody else write the zone, with its keys.
    pub(crate) fn take_over_zone(&mut self) {
        self.serve_zone(ADDRESS);
    }

    /// What the authority sees of the DNS: the truth, what somebody forges, or nothing, as it does not
    /// look.
    pub(crate) fn authority_sees(&self, view: View) {
        let server = match view {
            View::Truth => Some(&self.dns),
            View::Forgery => Some(&self.forger),
            View::Nothing => None,
        };
        self.front.tricks().caa = server.map(|server| caa_check(&self.keys, server));
    }

    /// What is in the way of attackers, as the model has it.
    pub(crate) fn defenses(&self, is_signed: bool) -> Defenses {
        let defenses = self.level.defenses();
        if is_signed {
            defenses.with(Defense::Dnssec)
        } else {
            defenses
        }
    }

    /// A new device of the owner's, which trusts what it has to at this level.
    pub(crate) fn new_phone(&self, name: &str) -> Client {
        let mut add = vec!["device", "add", "me", name, "--json"];
        if self.level == Level::ClientCertificates {
            add.push("--client-certificate");
        }
        let added = on(&self.home(), &add).expect(0).json();
        let password = added["password"].as_str().unwrap();
        let root = self.root();
        let phone = Client::through_relay(self.relay.address(), &root, password).named(NAME);
        match added["client_certificate"]["pkcs12_base64"].as_str() {
            Some(_) => phone.proving(self.certified_key(name, &added["client_certificate"])),
            None => phone,
        }
    }

    /// What openssl makes of the file that a device is given.
    fn certified_key(&self, name: &str, given: &Value) -> Arc<CertifiedKey> {
        let file = self.pair.folder("devices").join(format!("{name}.p12"));
        let base64 = given["pkcs12_base64"].as_str().unwrap();
        fs::write(&file, BASE64.decode(base64.as_bytes()).unwrap()).unwrap();
        let password = given["password"].as_str().unwrap();
        let output = Command::new("openssl")
            .args(["pkcs12", "-nodes", "-in"])
            .arg(&file)
            .args(["-passin", &format!("pass:{password}")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let chain = CertificateDer::pem_slice_iter(&output.stdout);
        let chain = chain.collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(&output.stdout).unwrap();
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
        Arc::new(CertifiedKey::new(chain, key))
    }

    /// Whom phones trust at this level.
    fn root(&self) -> PathBuf {
        if self.level == Level::Pinned {
            return self.pair.ca_file();
        }
        let root = self.pair.folder("pebble").join("root.pem");
        self.pebble.write_root(&root);
        root
    }

    /// TLS of somebody who knows whose certificate home has.
    pub(crate) fn tls_to_home(&self) -> rustls::ClientConfig {
        client::tls(&self.root())
    }

    /// What `home trust` or `home doctor` says of the name.
    pub(crate) fn trust(&self, command: &str) -> Value {
        let run = on(&self.home(), &["home", command, "--json"]);
        // The doctor fails when something is wrong.
        let reports: Value = serde_json::from_str(run.stdout.lines().next().unwrap()).unwrap();
        reports[0].clone()
    }

    /// Waits until home says of every attacker what the model says.
    pub(crate) fn await_claims(&self, is_signed: bool) {
        let defenses = self.defenses(is_signed);
        let holding = |attacker| Holding {
            attacker,
            book: outcome(defenses, attacker, Asset::Book),
            exchange: outcome(defenses, attacker, Asset::Exchange),
        };
        let claimed = serde_json::to_value(Attacker::ALL.map(holding)).unwrap();
        let end = Instant::now() + PATIENCE;
        loop {
            let shown = &self.trust("trust")["holdings"];
            if *shown == claimed {
                return;
            }
            assert!(Instant::now() < end, "{claimed:#} is shown as {shown:#}");
        }
    }

    /// `certificate renew`, which says why not on standard error.
    pub(crate) fn renew(&self) -> crate::binary::Run {
        on(&self.home(), &["home", "certificate", "renew"])
    }

    /// The name's row of `certificate show`.
    pub(crate) fn row(&self) -> Value {
        let shown = on(&self.home(), &["home", "certificate", "show", "--json"]);
        shown.expect(0).json()[0].clone()
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.pair.folder("home")
    }

    fn anchors(&self) -> String {
        anchors(&self.keys)
    }
}

/// A server whose zones can become others.
struct NameServer {
    address: SocketAddr,
    knot: Option<Knot>,
}

impl NameServer {
    fn start(keys: &Keys, zones: &[Zone<'_>]) -> Self {
        let knot = Knot::start(keys, zones);
        Self {
            address: knot.address,
            knot: Some(knot),
        }
    }

    fn replace(&mut self, keys: &Keys, zones: &[Zone<'_>]) {
        self.knot = None;
        self.knot = Some(Knot::start_at(self.address, keys, zones));
    }
}

/// What an authority sees when it asks for CAA records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Truth,
    Forgery,
    Nothing,
}

fn anchors(keys: &Keys) -> String {
    keys.dnskey("de") + &keys.dnskey("test")
}

fn caa_check(keys: &Keys, server: &NameServer) -> CaaCheck {
    CaaCheck::new(server.address, &anchors(keys))
}

/// The owner's zone and those above it, in which it has a DS record if it is signed.
fn zones(keys: &Keys, records: &str, signed: Signed) -> Vec<Zone<'static>> {
    with_ds(keys, records, signed, signed)
}

/// The same without CAA records, by somebody who has no key of the zone.
fn forged(keys: &Keys, signed: Signed) -> Vec<Zone<'static>> {
    with_ds(keys, ADDRESS, Signed::No, signed)
}

fn with_ds(keys: &Keys, records: &str, signed: Signed, delegated: Signed) -> Vec<Zone<'static>> {
    let mut top = format!("{ZONE}. 60 NS ns.test.\n");
    if delegated != Signed::No {
        top.push_str(&keys.ds(ZONE).replacen(" DS", " 60 DS", 1));
        top.push('\n');
    }
    vec![
        ("test", "ns.test. 60 A ADDRESS\n".to_owned(), Signed::Nsec),
        ("de", top, Signed::Nsec),
        (ZONE, records.to_owned(), signed),
    ]
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let base64 = BASE64.encode(certificate);
    let lines: Vec<_> = base64
        .as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect();
    let lines = lines.join("\n");
    format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
}
