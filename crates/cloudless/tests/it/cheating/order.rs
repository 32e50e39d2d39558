//! From nothing to a public name that is protected, step by step (docs/security.md, "What home
//! enforces"), and then the alarm.

use std::fs;
use std::time::{Duration, Instant};

use cloudless_proto::trust::Level;
use instant_acme::ChallengeType;

use super::bed::{ADDRESS, Bed, NAME, View, is_installed};
use super::certificate::Stranger;
use crate::binary::on;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_step_to_a_public_name_is_looked_at_before_the_next() {
    if !is_installed() {
        return;
    }
    let mut bed = Bed::prepare(Level::Public).await;
    // Somebody had the name before.
    let theirs = bed.logs.issue(NAME);
    bed.start_home();
    bed.await_account();
    let refusal = |bed: &Bed| {
        let refusal = bed.renew().expect(1).stderr;
        assert!(bed.front.tricks().orders.is_empty(), "{refusal}");
        refusal
    };

    // First the account, which is there, then the records that name it, shown to the letter.
    let said = refusal(&bed);
    assert!(said.contains("there are no CAA records"), "{said}");
    let records = bed.wanted_records();
    let account = bed.row()["acme"]["account"].clone();
    assert!(records.contains(account.as_str().unwrap()), "{records}");
    for record in records.lines() {
        assert!(
            said.contains(&record.replacen(" 60 CAA", " CAA", 1)),
            "{said}"
        );
    }
    assert!(
        bed.new_phone("first").connect().await.is_err(),
        "not served"
    );

    // A record of somebody else's beside them lets them in.
    bed.serve_zone(&format!(
        "{records}{NAME}. 60 CAA 0 issue \"other.example\"\n{ADDRESS}"
    ));
    let said = refusal(&bed);
    assert!(said.contains("other.example"), "{said}");

    // Then the logs.
    bed.serve_zone(&records);
    let said = refusal(&bed);
    assert!(said.contains(&theirs), "{said}");
    on(&bed.home(), &["home", "trust", "--accept", &theirs]).expect(0);

    // Then the addresses.
    let said = refusal(&bed);
    assert!(said.contains("no A and no AAAA record"), "{said}");
    bed.serve_zone(&format!("{records}{ADDRESS}"));
    bed.renew().expect(0);
    assert_eq!(bed.front.tricks().orders.len(), 1);
    let phone = bed.new_phone("second");
    assert!(phone.names().await.is_empty());
    on(&bed.home(), &["home", "doctor"]).expect(0);
    let text = on(&bed.home(), &["home", "trust", NAME]).expect(0).stdout;
    assert_eq!(text.lines().count(), 10, "ten lines a name: {text}");
    let headline = format!("{NAME}: public, in a zone that is signed with DNSSEC");
    assert!(text.contains(&headline), "{text}");
    let of_relay = text
        .lines()
        .find(|line| line.contains("a relay that cheats"));
    assert!(
        of_relay.is_some_and(|line| line.trim().ends_with("safe")),
        "{text}"
    );

    // The relay's own account gets nothing; with an authority that breaks its rules it does, and home
    // says so wherever its owner may look.
    let stranger = Stranger::register(&bed.front).await;
    let order = async |bed: &Bed| {
        let prove = |proof| bed.relay.validate(Some(proof));
        stranger.order(NAME, ChallengeType::TlsAlpn01, prove).await
    };
    let refused = order(&bed).await.err().expect("no certificate");
    assert!(refused.contains("CAA records"), "{refused}");
    bed.authority_sees(View::Nothing);
    let stolen = order(&bed).await.expect("a certificate");
    bed.relay.repent();
    let key = stolen.spki_sha256();
    bed.logs.log.lock().unwrap().add(NAME, &key, stolen.pem);
    bed.pair.kill_home();
    bed.start_home();
    bed.logs
        .until(|log| log.alarms.iter().any(|alarm| alarm["key"] == *key))
        .await;
    let doctor = on(&bed.home(), &["home", "doctor"]).expect(1);
    assert!(doctor.stdout.contains(&key), "{doctor:?}");
    let status = on(&bed.home(), &["home", "status"]);
    assert!(status.stdout.contains("did not make"), "{status:?}");
}

/// What the docs say of the way from `honest-relay` to `public`, and of another method: what has to be
/// published is shown long before the next order, and phones are served with the certificate that is
/// there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn level_and_method_are_changed_without_another_order() {
    if !is_installed() {
        return;
    }
    let mut bed = Bed::at(Level::HonestRelay).await;
    let orders = bed.front.tricks().orders.len();
    assert!(bed.phone.names().await.is_empty());

    change(&mut bed, "trust = \"honest-relay\"", "trust = \"public\"");
    bed.level = Level::Public;
    let records = await_records(&bed, "validationmethods=tls-alpn-01");
    assert_eq!(bed.trust("trust")["is_served"], false);
    bed.serve_zone(&format!("{records}{ADDRESS}"));
    let report = bed.trust("doctor");
    assert_eq!(report["in_force"], "public", "{report:#}");
    assert_eq!(report["is_served"], true, "{report:#}");
    assert!(bed.new_phone("second").names().await.is_empty());

    change(&mut bed, "[acme]", "[acme]\nchallenge = \"http-01\"");
    let records = await_records(&bed, "validationmethods=http-01");
    let doctor = on(&bed.home(), &["home", "doctor"]).expect(1).stdout;
    assert!(doctor.contains("no longer with"), "{doctor}");
    for record in records.lines() {
        let record = record.replacen(" 60 CAA", " CAA", 1);
        assert!(doctor.contains(&record), "{record} {doctor}");
    }
    let status = on(&bed.home(), &["home", "status"]).stdout;
    assert!(status.contains("other CAA records are needed"), "{status}");
    assert!(bed.new_phone("third").names().await.is_empty());
    bed.serve_zone(&format!("{records}{ADDRESS}"));
    on(&bed.home(), &["home", "doctor"]);
    let report = bed.trust("trust");
    assert_eq!(report["in_force"], "public", "{report:#}");
    let doctor = on(&bed.home(), &["home", "doctor"]).stdout;
    assert!(!doctor.contains("no longer with"), "{doctor}");
    assert!(bed.new_phone("fourth").names().await.is_empty());
    assert_eq!(bed.front.tricks().orders.len(), orders);
}

/// Changes home.toml and starts home anew.
fn change(bed: &mut Bed, from: &str, to: &str) {
    bed.pair.kill_home();
    let file = bed.home().join("home.toml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(&file, text.replacen(from, to, 1)).unwrap();
    bed.start_home();
}

/// The records to publish, once they say this.
fn await_records(bed: &Bed, wanted: &str) -> String {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let records = bed.wanted_records();
        if records.contains(wanted) {
            return records;
        }
        assert!(Instant::now() < end, "{records}");
    }
}
