//! What each attacker gets at each level of trust: tried, and compared with the table in
//! docs/security.md, which is made from the same model.
//!
//! Pebble takes no notice of CAA records. The front before it does in its place, with this project's
//! reading of RFC 8659 and RFC 8657, over a DNS that it checks.

use std::sync::Arc;
use std::time::Duration;

use cloudless_proto::trust::{Asset, Attacker, Defenses, Level, Outcome, outcome};
use http::StatusCode;
use instant_acme::ChallengeType;
use rcgen::{CertificateParams, KeyPair};
use rustls::sign::CertifiedKey;
use tokio::time::timeout;

use super::bed::{Bed, NAME, View, is_installed};
use super::certificate::{Stolen, Stranger};
use crate::binary::on;
use crate::cards;
use crate::client::{Answer, Client};

const PATIENCE: Duration = Duration::from_secs(60);
/// A card that home keeps and phones do not ask for while they are being fooled.
const KEPT: &str = "kept.vcf";

/// What came of an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdict {
    book: Outcome,
    exchange: Outcome,
}

impl Verdict {
    const SAFE: Self = Self {
        book: Outcome::Safe,
        exchange: Outcome::Safe,
    };

    /// What the table says.
    fn claimed(defenses: Defenses, attacker: Attacker) -> Self {
        Self {
            book: outcome(defenses, attacker, Asset::Book),
            exchange: outcome(defenses, attacker, Asset::Exchange),
        }
    }

    /// Of an attack that was made without and with forged answers of the name servers.
    fn unless_forged(self, forged: Self) -> Self {
        let merge = |plain, forged| match (plain, forged) {
            (Outcome::Safe, Outcome::Safe) => Outcome::Safe,
            (Outcome::Safe, _) => Outcome::SafeUnlessForged,
            (plain, _) => plain,
        };
        Self {
            book: merge(self.book, forged.book),
            exchange: merge(self.exchange, forged.exchange),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_an_honest_relay_alone_whoever_answers_for_the_name_reads_everything() {
    try_all(Level::HonestRelay).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_name_is_safe_from_its_relay_and_raises_the_alarm_about_the_others() {
    try_all(Level::Public).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_client_certificates_nobody_gets_at_the_book() {
    try_all(Level::ClientCertificates).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pinned_name_is_safe_whatever_certificates_others_get() {
    try_all(Level::Pinned).await;
}

/// Every attacker that can be played, one after the other, on one home.
async fn try_all(level: Level) {
    if !is_installed() {
        return;
    }
    let mut bed = Bed::at(level).await;
    let mut phone = bed.phone.connect().await.unwrap();
    let put = phone.put(KEPT, &cards::small("kept")).await.unwrap();
    assert!(put.status.is_success(), "{put:?}");
    let stranger = Stranger::register(&bed.front).await;

    bed.await_claims(true);
    let signed = bed.defenses(true);
    let seen = look_on(&bed).await;
    compare(level, Attacker::PassiveRelay, signed, seen);

    // Whoever has the relay's address routed to themselves does the same.
    let on_the_way = [Attacker::ActiveRelay, Attacker::IpHeir];
    let seen = relay(&mut bed, &stranger).await;
    for attacker in on_the_way {
        compare(level, attacker, signed, seen);
    }
    if level.is_public_certificate() && level != Level::HonestRelay {
        bed.sign(false);
        bed.await_claims(false);
        let seen = relay(&mut bed, &stranger).await;
        for attacker in on_the_way {
            compare(level, attacker, bed.defenses(false), seen);
        }
        bed.sign(true);
    }

    bed.authority_sees(View::Nothing);
    let seen = attack(&mut bed, &stranger).await;
    compare(level, Attacker::Authority, signed, seen);

    bed.authority_sees(View::Truth);
    bed.take_over_zone();
    let seen = attack(&mut bed, &stranger).await;
    compare(level, Attacker::DnsProvider, signed, seen);
    bed.sign(true);

    let seen = stolen_phone(&bed).await;
    compare(level, Attacker::StolenPhone, signed, seen);
}

#[track_caller]
fn compare(level: Level, attacker: Attacker, defenses: Defenses, seen: Verdict) {
    let claimed = Verdict::claimed(defenses, attacker);
    assert_eq!(seen, claimed, "{level}: {}, {defenses:?}", attacker.title());
}

/// What passes by a relay while a phone syncs.
async fn look_on(bed: &Bed) -> Verdict {
    assert!(bed.phone.names().await.contains(&KEPT.to_owned()));
    let passed = bed.relay.passed();
    assert!(
        contains(&passed, NAME),
        "the server name is there to be seen"
    );
    let (_, login) = bed.phone.authorization().split_once(' ').unwrap();
    let is_seen = ["BEGIN:VCARD", "Small kept", KEPT, login]
        .iter()
        .any(|text| contains(&passed, text));
    let outcome = if is_seen {
        Outcome::Exposed
    } else {
        Outcome::Safe
    };
    Verdict {
        book: outcome,
        exchange: outcome,
    }
}

/// The relay tries as it is, and again with forged answers of the name servers.
async fn relay(bed: &mut Bed, stranger: &Stranger) -> Verdict {
    bed.authority_sees(View::Truth);
    let plain = attack(bed, stranger).await;
    bed.authority_sees(View::Forgery);
    let forged = attack(bed, stranger).await;
    bed.authority_sees(View::Truth);
    plain.unless_forged(forged)
}

/// Orders a certificate, answers the phone with it, and then logs in with what the phone has said.
async fn attack(bed: &mut Bed, stranger: &Stranger) -> Verdict {
    let prove = |proof| bed.relay.validate(Some(proof));
    let ordered = stranger.order(NAME, ChallengeType::TlsAlpn01, prove).await;
    bed.relay.validate(None);
    let stolen = match ordered {
        Ok(stolen) => stolen,
        Err(refusal) => {
            assert!(refusal.contains("CAA records"), "{refusal}");
            return Verdict::SAFE;
        }
    };
    bed.relay.imitate(NAME, &stolen, bed.tls_to_home());
    let fooled = fooled(&bed.phone).await;
    let overheard = bed.relay.repent();
    let login = bed.phone.authorization();
    let is_heard = contains(&overheard, login) && contains(&overheard, "Small fooled");
    assert!(
        is_heard || !fooled,
        "a phone that got an answer was overheard"
    );
    let is_read = is_heard && reads_book(bed, login).await;
    // An authority has to log what it issues.
    let logged = (stolen.spki_sha256(), stolen.pem.clone());
    bed.logs.log.lock().unwrap().add(NAME, &logged.0, logged.1);
    let read = if is_noticed(bed, &stolen).await {
        Outcome::Noticed
    } else {
        Outcome::Exposed
    };
    let outcome = |got| if got { read } else { Outcome::Safe };
    Verdict {
        book: outcome(is_read),
        exchange: outcome(is_heard),
    }
}

/// Whether a phone that goes to whoever answers takes the answer for home's.
async fn fooled(phone: &Client) -> bool {
    let Ok(mut connection) = phone.connect().await else {
        return false;
    };
    let put = connection.put("fooled.vcf", &cards::small("fooled")).await;
    put.is_ok_and(|put| put.status.is_success())
}

/// Whether somebody with a phone's login gets what home keeps. Of a certificate that is wanted
/// besides there is one that says the same, with another key.
async fn reads_book(bed: &Bed, login: &str) -> bool {
    let thief = bed.phone.clone().authorized_by(login);
    let thief = thief.proving(Arc::new(imitation()));
    let Ok(mut connection) = thief.connect().await else {
        return false;
    };
    let got = connection.get(KEPT).await;
    got.is_ok_and(|got| got.body == cards::small("kept"))
}

fn imitation() -> CertifiedKey {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["me phone".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key.into()).unwrap();
    CertifiedKey::new(vec![certificate], key)
}

/// Whether the owner is told of a certificate. Home asks the logs when it starts, and every hour.
async fn is_noticed(bed: &mut Bed, stolen: &Stolen) -> bool {
    let key = stolen.spki_sha256();
    bed.pair.kill_home();
    bed.start_home();
    let report = |bed: &Bed| bed.trust("trust")["unknown_certificates"].clone();
    if bed.level == Level::HonestRelay {
        // Nobody watches.
        assert_eq!(report(bed), serde_json::json!([]));
        return false;
    }
    let told = bed
        .logs
        .until(|log| log.alarms.iter().any(|alarm| alarm["key"] == *key));
    timeout(PATIENCE, told).await.expect("an alarm");
    // No level is shown as in force: also of those that were told of home's own authority, home cannot
    // know which devices trust no other.
    assert_eq!(bed.trust("trust")["in_force"], "honest-relay");
    let unknown = report(bed);
    let keys: Vec<_> = unknown
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["key"])
        .collect();
    assert!(keys.contains(&&key.clone().into()), "{unknown}");
    let log = bed.pair.log("home");
    assert!(log.contains("whose key home did not make"), "{log}");
    // The owner has seen to it.
    on(&bed.home(), &["home", "trust", "--accept", &key]).expect(0);
    true
}

/// It reads, until its owner says that it is lost.
async fn stolen_phone(bed: &Bed) -> Verdict {
    let name = "stolen";
    let phone = bed.new_phone(name);
    let mut connection = phone.connect().await.unwrap();
    let got = connection.get(KEPT).await.unwrap();
    assert_eq!(got.body, cards::small("kept"));
    on(&bed.home(), &["device", "revoke", "me", name]).expect(0);
    let mut is_out = is_refused(&connection.get(KEPT).await);
    if let Ok(mut connection) = phone.connect().await {
        is_out &= is_refused(&connection.get(KEPT).await);
    }
    let outcome = if is_out {
        Outcome::UntilRevoked
    } else {
        Outcome::Exposed
    };
    Verdict {
        book: outcome,
        exchange: outcome,
    }
}

fn is_refused<E>(answer: &Result<Answer, E>) -> bool {
    let answer = answer.as_ref();
    answer.map_or(true, |answer| answer.status == StatusCode::UNAUTHORIZED)
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}
