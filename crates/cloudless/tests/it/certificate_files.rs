//! Certificates that somebody else renews: files of the owner's, read again when they change.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;

use crate::binary;
use crate::pair::{HOSTNAME, Pair};

const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody's own authority, and where it puts what it signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    directory: PathBuf,
}

impl Authority {
    fn new(directory: PathBuf) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        fs::write(
            directory.join("ca.pem"),
            params.self_signed(&key).unwrap().pem(),
        )
        .unwrap();
        Self {
            issuer: Issuer::new(params, key),
            directory,
        }
    }

    /// A certificate and its key, in PEM.
    fn sign(&self, hostname: &str, year: i32) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([hostname.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Puts a whole file in the place of another, as renewing programs do.
    fn replace(&self, name: &str, text: &str) {
        let new = self.path("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }
}

fn row(state: &Path) -> Value {
    let run = binary::on(state, &["home", "certificate", "show", "--json"]).expect(0);
    run.json()[0].clone()
}

#[track_caller]
fn await_row(state: &Path, wanted: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let row = row(state);
        if wanted(&row) {
            return row;
        }
        assert!(Instant::now() < end, "it stays at {row:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_files_are_served_and_no_half_of_a_pair_ever_is() {
    let mut pair = Pair::start();
    let authority = Authority::new(pair.folder("certificates of a friend"));
    let state = pair.folder("home");
    let (first, first_key) = authority.sign(HOSTNAME, 2040);
    authority.replace("cert.pem", &first);
    authority.replace("key.pem", &first_key);
    pair.kill_home();
    let file = state.join("home.toml");
    let text = fs::read_to_string(&file).unwrap();
    let text = format!(
        "{text}\n[hostname.\"{HOSTNAME}\"]\ncertificate_file = \"{}\"\nkey_file = \"{}\"\n",
        authority.path("cert.pem").display(),
        authority.path("key.pem").display(),
    );
    fs::write(&file, &text).unwrap();
    // That the relay could get one too is said to whoever has not said that they know.
    let refused = binary::on(&state, &["home", "run"]);
    let refused = refused.stderr.as_str();
    assert!(refused.contains("trust = \"honest-relay\""), "{refused}");
    fs::write(&file, text + "trust = \"honest-relay\"\n").unwrap();
    pair.start_home();
    pair.await_tunnel();
    let phone = pair.phone_that_trusts(&authority.path("ca.pem"));
    phone.names().await;
    let before = row(&state);
    assert_eq!(before["kind"], "files", "{before}");

    // A certificate whose key is still to come, files cut off in the middle, another name's, and one
    // whose time is over: the old pair goes on, and the status says why.
    let (second, second_key) = authority.sign(HOSTNAME, 2041);
    let (foreign, foreign_key) = authority.sign("other.test", 2041);
    let (expired, expired_key) = authority.sign(HOSTNAME, 2020);
    for (certificate, key, expected) in [
        (
            second.as_str(),
            first_key.as_str(),
            "cannot use the certificate",
        ),
        (
            &second[..second.len() / 2],
            &second_key,
            "are no certificate and its key",
        ),
        (
            &second,
            &second_key[..second_key.len() / 2],
            "are no certificate and its key",
        ),
        (&foreign, &foreign_key, "cannot use the certificate"),
        (&expired, &expired_key, "is good from"),
    ] {
        authority.replace("cert.pem", certificate);
        authority.replace("key.pem", key);
        let row = await_row(&state, |row| {
            row["error"]
                .as_str()
                .is_some_and(|it| it.contains(expected))
        });
        assert_eq!(row["sha256"], before["sha256"], "{expected}");
        phone.names().await;
    }
    fs::remove_file(authority.path("key.pem")).unwrap();
    await_row(&state, |row| {
        row["error"]
            .as_str()
            .is_some_and(|it| it.contains("cannot read"))
    });
    phone.names().await;

    authority.replace("key.pem", &second_key);
    authority.replace("cert.pem", &second);
    let after = await_row(&state, |row| row["sha256"] != before["sha256"]);
    assert_eq!(after["error"], Value::Null, "{after}");
    phone.names().await;
    // Both keys are known, should a monitor see certificates for them.
    let ledger = fs::read_to_string(state.join("certificates/ledger.jsonl")).unwrap();
    for row in [before, after] {
        assert!(
            ledger.contains(row["spki_sha256"].as_str().unwrap()),
            "{ledger}"
        );
    }
    assert_eq!(ledger.lines().count(), 2, "{ledger}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_devices_pin_lasts_ten_years_and_is_not_renewed() {
    let mut pair = Pair::start();
    let state = pair.folder("home");
    pair.kill_home();
    let file = state.join("home.toml");
    let text = fs::read_to_string(&file).unwrap();
    let text = format!("{text}\n[hostname.\"{HOSTNAME}\"]\ncertificate = \"pinned\"\n");
    fs::write(file, text).unwrap();
    pair.start_home();
    pair.await_tunnel();
    pair.phone().names().await;
    let before = row(&state);
    let year = |value: &Value| value.as_str().unwrap()[..4].parse::<i32>().unwrap();
    let life = year(&before["expires_at"]) - year(&before["valid_from"]);
    assert!((9..=10).contains(&life), "{before}");
    let refused = binary::on(&state, &["home", "certificate", "renew", HOSTNAME]).expect(1);
    assert!(
        refused
            .stderr
            .contains("devices trust this very certificate"),
        "{refused:?}"
    );
    // Nor is it when all are renewed, or after a restart.
    binary::on(&state, &["home", "certificate", "renew"]).expect(0);
    pair.kill_home();
    pair.start_home();
    pair.await_tunnel();
    assert_eq!(row(&state)["sha256"], before["sha256"]);
}
