//! Orders that come to nothing: what is said, what is served meanwhile, and when home comes again.

use std::sync::Arc;
use std::time::Instant;

use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Bed, PATIENCE, Tricks, Wish, pebble};
use crate::pair::HOSTNAME;

fn error(row: &Value) -> &str {
    row["error"].as_str().unwrap_or_default()
}

/// How far away a moment of a row is.
pub(super) fn seconds_until(moment: &Value) -> i64 {
    let format = &time::format_description::well_known::Rfc3339;
    let moment = time::OffsetDateTime::parse(moment.as_str().unwrap(), format).unwrap();
    (moment - time::OffsetDateTime::now_utc()).whole_seconds()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_validation_says_what_is_wrong_and_is_not_repeated_at_once() {
    if !pebble::is_installed() {
        return;
    }
    let mut bed = Bed::start(Wish {
        is_astray: true,
        ..Wish::default()
    });
    let row = bed.await_row(|row| row["acme"]["failures"] == 1);
    let said = error(&row);
    for part in [
        "localhost",
        "tls-alpn-01",
        "ailed to connect",
        "let the A and AAAA records of localhost lead to the relay, where port 443 is open",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let left = seconds_until(&row["acme"]["next_order"]);
    assert!((30..=75).contains(&left), "{left} s");
    // Nothing is shown in its place: neither home's own certificate nor any other.
    assert_eq!(row["expires_at"], Value::Null);
    let phone = bed.pair.phone();
    assert!(phone.connect().await.is_err(), "a certificate was shown");

    // Whoever asks is told why, and the wait grows.
    let renewed = bed.renew().expect(1);
    assert!(renewed.stderr.contains("lead to the relay"), "{renewed:?}");
    let row = bed.row();
    assert_eq!(row["acme"]["failures"], 2);
    let left = seconds_until(&row["acme"]["next_order"]);
    assert!((270..=365).contains(&left), "{left} s");

    // A home that is started again and again is no nuisance for the authority.
    let orders = bed.front.tricks().orders.len();
    bed.pair.kill_home();
    bed.pair.start_home();
    bed.pair.await_tunnel();
    let row = bed.await_row(|row| row["acme"].is_object());
    assert_eq!(row["acme"]["failures"], 2, "{row}");
    assert!(seconds_until(&row["acme"]["next_order"]) > 200, "{row}");
    assert!(error(&row).contains("lead to the relay"), "{row}");
    assert_eq!(bed.front.tricks().orders.len(), orders);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_lost_in_mid_order_costs_the_order_and_no_more() {
    if !pebble::is_installed() {
        return;
    }
    let mut bed = Bed::start(Wish {
        tricks: Tricks {
            holds: true,
            ..Tricks::default()
        },
        ..Wish::default()
    });
    bed.front.await_held().await;
    // The key is in the ledger before there can be a certificate for it.
    let ledger = bed.pair.folder("home").join("certificates/ledger.jsonl");
    let ledger = std::fs::read_to_string(ledger).unwrap();
    assert_eq!(ledger.lines().count(), 1, "{ledger}");
    assert_eq!(bed.row()["expires_at"], Value::Null);
    bed.pair.kill_relay();
    bed.front.go_on();
    let row = bed.await_row(|row| row["acme"]["failures"] == 1);
    assert!(
        error(&row).contains("the relay was lost meanwhile"),
        "{row}"
    );
    // Without a relay nothing is ordered, and whoever asks is told so.
    let orders = bed.front.tricks().orders.len();
    let renewed = bed.renew().expect(1);
    assert!(
        renewed.stderr.contains("no relay is connected"),
        "{renewed:?}"
    );
    assert_eq!(bed.front.tricks().orders.len(), orders);
    bed.pair.start_relay();
    await_tunnel(&bed);
    bed.renew().expect(0);
    let row = bed.row();
    assert_eq!(row["acme"]["failures"], 0, "{row}");
    bed.phone().names().await;
}

fn await_tunnel(bed: &Bed) {
    let end = Instant::now() + PATIENCE;
    loop {
        let arguments = ["home", "status", "--json"];
        let status = crate::binary::on(&bed.pair.folder("home"), &arguments).expect(0);
        if status.json()["relays"][0]["state"] == "connected" {
            return;
        }
        assert!(Instant::now() < end, "no tunnel");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_by_a_day_orders_nothing() {
    if !pebble::is_installed() {
        return;
    }
    for ahead_s in [24 * 60 * 60, -24 * 60 * 60] {
        let bed = Bed::start(Wish {
            tricks: Tricks {
                ahead_s,
                ..Tricks::default()
            },
            ..Wish::default()
        });
        let row = bed.await_row(|row| row["error"].is_string());
        assert!(error(&row).contains("set this machine's clock"), "{row}");
        assert_eq!(bed.front.tricks().orders, Vec::<Value>::new());
        // It is set right.
        bed.front.tricks().ahead_s = 0;
        bed.renew().expect(0);
        bed.phone().names().await;
        // Wrong again, later on: a certificate that is good by both clocks goes on.
        bed.front.tricks().ahead_s = ahead_s;
        let renewed = bed.renew().expect(1);
        assert!(
            renewed.stderr.contains("set this machine's clock"),
            "{renewed:?}"
        );
        let reached = bed.phone().connect().await;
        // By the clock of a day ago it is not good yet.
        assert_eq!(reached.is_ok(), ahead_s > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_word_about_trust_nothing_is_ordered() {
    if !pebble::is_installed() {
        return;
    }
    let bed = Bed::start(Wish {
        hostname: Some(""),
        ..Wish::default()
    });
    let row = bed.await_row(|row| row["error"].is_string());
    assert!(error(&row).contains("trust = \"honest-relay\""), "{row}");
    // The account is there, for the record that names it.
    assert!(row["acme"]["account"].is_string(), "{row}");
    assert_eq!(bed.front.tricks().orders, Vec::<Value>::new());
    assert!(!bed.certificates("ledger.jsonl").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_asks_for_patience_is_given_it() {
    if !pebble::is_installed() {
        return;
    }
    let problem = json!({
        "type": "urn:ietf:params:acme:error:rateLimited",
        "detail": "too many certificates \u{1b}[31m already",
    });
    let bed = Bed::start(Wish {
        tricks: Tricks {
            refuses_order: Some((429, problem)),
            ..Tricks::default()
        },
        ..Wish::default()
    });
    let row = bed.await_row(|row| row["error"].is_string());
    assert!(error(&row).contains("too many certificates"), "{row}");
    assert!(!error(&row).contains('\u{1b}'), "{row}");
    // It said two hours.
    let left = seconds_until(&row["acme"]["next_order"]);
    assert!((7000..=7200).contains(&left), "{left} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_the_authority_does_not_have_is_named() {
    if !pebble::is_installed() {
        return;
    }
    let bed = Bed::start(Wish {
        tricks: Tricks {
            profiles: vec!["tlsserver", "classic"],
            ..Tricks::default()
        },
        acme: "profile = \"shortlived\"",
        ..Wish::default()
    });
    let row = bed.await_row(|row| row["error"].is_string());
    let expected = "no profile `shortlived`; it has classic, tlsserver";
    assert!(error(&row).contains(expected), "{row}");
    assert_eq!(bed.front.tricks().orders, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_answered_a_validation_that_is_not_under_way() {
    if !pebble::is_installed() {
        return;
    }
    let bed = Bed::start(Wish::default());
    bed.await_certificate();
    let root = bed.root();
    for protocols in [
        vec![b"acme-tls/1".to_vec()],
        vec![b"acme-tls/1".to_vec(), b"http/1.1".to_vec()],
    ] {
        let mut tls = crate::client::tls(&root);
        tls.alpn_protocols = protocols;
        let name = ServerName::try_from(HOSTNAME).unwrap();
        let mut tcp = TcpStream::connect(("127.0.0.1", bed.pair.relay_port()))
            .await
            .unwrap();
        let connected = TlsConnector::from(Arc::new(tls))
            .connect(name, &mut tcp)
            .await;
        assert!(connected.is_err(), "a certificate was shown");
        let mut rest = Vec::new();
        let _ = tcp.read_to_end(&mut rest).await;
        assert_eq!(rest, b"");
    }
}
