//! CAA records name the method, too (RFC 8657 section 4): port 80, where nobody proves anything to
//! visitors, is no way to a certificate, not even with the account that the records name.

use cloudless_proto::trust::Level;
use instant_acme::ChallengeType;

use super::bed::{ADDRESS, Bed, NAME, is_installed};
use super::certificate::Stranger;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_account_that_the_records_name_gets_nothing_by_another_method() {
    if !is_installed() {
        return;
    }
    let mut bed = Bed::prepare(Level::Public).await;
    bed.start_home();
    bed.await_account();
    // The records that home asks for, as if this account were home's.
    let thief = Stranger::register(&bed.front).await;
    let account = bed.row()["acme"]["account"].as_str().unwrap().to_owned();
    let records = bed.wanted_records().replace(&account, thief.uri());
    assert!(records.contains(thief.uri()), "{records}");
    assert!(
        records.contains("validationmethods=tls-alpn-01"),
        "{records}"
    );
    bed.serve_zone(&format!("{records}{ADDRESS}"));

    let by_http = thief.order(NAME, ChallengeType::Http01, |_| {}).await;
    let said = by_http.err().expect("no certificate by another method");
    assert!(
        said.contains("CAA records") && said.contains("http-01"),
        "{said}"
    );
    // The records are in force for that account, and the relay answers for it.
    let prove = |proof| bed.relay.validate(Some(proof));
    let by_tls = thief.order(NAME, ChallengeType::TlsAlpn01, prove).await;
    by_tls.expect("void: it gets nothing by the method of the records either");
}
