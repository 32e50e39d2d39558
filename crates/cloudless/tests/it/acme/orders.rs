//! Orders that end with a certificate.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use http::StatusCode;
use serde_json::Value;

use super::failures::seconds_until;
use super::{Bed, Tricks, Wish, pebble};
use crate::binary;

const HOUR: Duration = Duration::from_secs(60 * 60);

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_trusts_the_certificate_that_came_through_the_tunnel() {
    if !pebble::is_installed() {
        return;
    }
    let bed = Bed::start(Wish {
        tricks: Tricks {
            profiles: vec!["classic", "tlsserver"],
            ..Tricks::default()
        },
        ..Wish::default()
    });
    let row = bed.await_certificate();
    let phone = bed.phone();
    assert_eq!(phone.names().await, Vec::<String>::new());

    assert_eq!(row["kind"], "acme", "{row}");
    assert_eq!(row["error"], Value::Null, "{row}");
    assert_eq!(row["acme"]["method"], "tls-alpn-01", "{row}");
    assert_eq!(row["acme"]["failures"], 0, "{row}");
    let account = row["acme"]["account"].as_str().unwrap();
    assert!(account.contains("/my-account/"), "{account}");
    // Pebble's certificates live five years: the next order is after three of them.
    let at = |value: &Value| value.as_str().unwrap()[..4].parse::<u32>().unwrap();
    let left = at(&row["expires_at"]) - at(&row["acme"]["next_order"]);
    assert!((1..=2).contains(&left), "{row}");
    // The profile for servers is taken where there is one.
    assert_eq!(bed.front.tricks().orders[0]["profile"], "tlsserver");

    // The key was in the ledger before it was ordered for, and is the one that is shown.
    let ledger = fs::read_to_string(bed.certificates("ledger.jsonl")).unwrap();
    let keys: Vec<Value> = ledger
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(keys.len(), 1, "{ledger}");
    assert_eq!(keys[0]["spki_sha256"], row["spki_sha256"]);
    for name in ["acme-accounts.json", "ledger.jsonl", "localhost_acme.pem"] {
        let mode = fs::metadata(bed.certificates(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o600, "{name}");
    }

    // What people see says the same.
    let text = binary::on(&bed.pair.folder("home"), &["home", "certificate", "show"]).expect(0);
    assert!(text.stdout.contains(account), "{text:?}");
    assert!(
        text.stdout.contains("next order             in "),
        "{text:?}"
    );
    assert!(!text.stdout.contains("last error"), "{text:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_orders_nothing_and_keeps_account_and_certificate() {
    if !pebble::is_installed() {
        return;
    }
    let mut bed = Bed::start(Wish::default());
    let before = bed.await_certificate();
    bed.pair.kill_home();
    bed.pair.start_home();
    bed.pair.await_tunnel();
    let after = bed.await_certificate();
    assert_eq!(after["sha256"], before["sha256"]);
    assert_eq!(after["acme"]["account"], before["acme"]["account"]);
    bed.phone().names().await;
    assert_eq!(bed.front.tricks().orders.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_lost_everything_gets_its_account_back_from_the_copy() {
    if !pebble::is_installed() {
        return;
    }
    let mut bed = Bed::start(Wish::default());
    let before = bed.await_certificate();
    bed.pair.kill_home();
    let state = bed.pair.folder("home");
    let account = |arguments: &[&str]| {
        let command = ["home", "certificate", "account"];
        binary::on(&state, &[&command[..], arguments].concat())
    };
    // All of it is told of a home that does not run, too.
    let kept = bed.row();
    for field in ["hostname", "kind", "expires_at", "sha256", "spki_sha256"] {
        assert_eq!(kept[field], before[field], "{kept:#}");
    }
    assert_eq!(kept["acme"]["account"], before["acme"]["account"]);
    let shown = account(&["show"]).expect(0);
    let uri = before["acme"]["account"].as_str().unwrap();
    assert!(shown.stdout.contains(uri), "{shown:?}");

    let copy = bed.pair.folder("pebble").join("account.json");
    let copy = copy.to_str().unwrap();
    account(&["export", copy]).expect(0);
    let mode = fs::metadata(copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let again = account(&["export", copy]).expect(1);
    assert!(
        again.stderr.contains("exists: name a new file"),
        "{again:?}"
    );
    // What the backup says to keep names it.
    let backup = bed.pair.folder("pebble").join("backup.sqlite");
    let backup = binary::on(&state, &["home", "backup", backup.to_str().unwrap()]).expect(0);
    let told = "the account that the CAA record in your DNS names";
    assert!(backup.stderr.contains(told), "{backup:?}");

    fs::remove_dir_all(state.join("certificates")).unwrap();
    let nothing = account(&["show"]).expect(1);
    assert!(nothing.stderr.contains("no account"), "{nothing:?}");
    account(&["import", copy]).expect(0);
    bed.pair.start_home();
    bed.pair.await_tunnel();
    let after = bed.await_certificate();
    assert_ne!(after["sha256"], before["sha256"]);
    assert_eq!(after["acme"]["account"], before["acme"]["account"]);
    bed.phone().names().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_01_proves_a_name_where_it_is_switched_on() {
    if !pebble::is_installed() {
        return;
    }
    let bed = Bed::start(Wish {
        acme: "challenge = \"http-01\"",
        // Whatever is proven is not proven by TLS.
        is_astray: true,
        ..Wish::default()
    });
    let row = bed.await_certificate();
    assert_eq!(row["acme"]["method"], "http-01", "{row}");
    bed.phone().names().await;
    // Nothing is left of it on port 80.
    let port = bed.pair.relay_http_port();
    let url = format!("http://127.0.0.1:{port}/.well-known/acme-challenge/token");
    let output = Command::new("curl")
        .args([
            "--silent",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}",
        ])
        .args(["--header", "Host: localhost", &url])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "404");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_the_authoritys_own_site_is_named() {
    if !pebble::is_installed() {
        return;
    }
    let external = Some((
        "kid-1",
        "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W",
    ));
    let bed = Bed::start(Wish {
        external,
        acme: "external_account = { key_id = \"kid-1\", hmac_key = \
               \"zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W\" }",
        ..Wish::default()
    });
    bed.await_certificate();
    drop(bed);
    let bed = Bed::start(Wish {
        external,
        ..Wish::default()
    });
    let row = bed.await_row(|row| row["error"].is_string());
    let error = row["error"].as_str().unwrap();
    assert!(error.contains("write external_account with"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nonces_that_are_refused_cost_no_certificate() {
    if !pebble::is_installed() {
        return;
    }
    let bed = Bed::start(Wish {
        nonces_refused: 15,
        ..Wish::default()
    });
    // Three refusals in a row end an order; home comes again in ten seconds.
    bed.await_certificate();
    bed.phone().names().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_the_authority_wants_renewed_is_renewed() {
    if !pebble::is_installed() {
        return;
    }
    let now = SystemTime::now();
    let mut bed = Bed::start(Wish {
        tricks: Tricks {
            window: Some((now + 24 * HOUR, now + 48 * HOUR)),
            ..Tricks::default()
        },
        ..Wish::default()
    });
    let first = bed.await_certificate();
    // Without a word of the authority it would be in years.
    bed.await_row(|row| {
        let next = &row["acme"]["next_order"];
        next.is_string() && seconds_until(next) < 3 * 24 * 60 * 60
    });
    // Such as before it revokes what it has issued by mistake.
    bed.front.tricks().window = Some((now - 2 * HOUR, now - HOUR));
    bed.pair.kill_home();
    bed.pair.start_home();
    bed.pair.await_tunnel();
    bed.await_row(|row| row["sha256"].is_string() && row["sha256"] != first["sha256"]);
    bed.phone().names().await;
    let tricks = bed.front.tricks();
    assert_eq!(tricks.orders[0].get("replaces"), None);
    // A renewal that says what it replaces is not counted by the authority's limits.
    let replaces = tricks.orders[1]["replaces"].as_str().unwrap();
    let serial = first["serial"].as_str().unwrap();
    let named = replaces.split_once('.').unwrap().1;
    let named = data_encoding::BASE64URL_NOPAD
        .decode(named.as_bytes())
        .unwrap();
    assert_eq!(data_encoding::HEXLOWER.encode(&named), serial);
    assert!(tricks.asked_to_renew >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_certificates_are_renewed() {
    if !pebble::is_installed() {
        return;
    }
    let bed = Bed::start(Wish::default());
    let first = bed.await_certificate();
    let phone = bed.phone();
    let is_over = Arc::new(AtomicBool::new(false));
    let n_done = Arc::new(AtomicUsize::new(0));
    let phones: Vec<_> = (0..3)
        .map(|number| {
            let phone = if number == 0 { phone.clone().over_http2() } else { phone.clone() };
            let (is_over, n_done) = (is_over.clone(), n_done.clone());
            tokio::spawn(async move {
                let card = format!(
                    "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{number}\r\nFN:Ann\r\nN:Ann;;;;\r\nEND:VCARD\r\n"
                );
                // One that stays, and one for each request.
                let mut kept = phone.connect().await.expect("a connection");
                while !is_over.load(Ordering::SeqCst) {
                    let name = format!("{number}.vcf");
                    let put = kept.put(&name, card.as_bytes()).await.expect("an answer");
                    assert!(put.status.is_success(), "{}", put.status);
                    let mut fresh = phone.connect().await.expect("a connection");
                    let got = fresh.get(&name).await.expect("an answer");
                    assert_eq!(got.status, StatusCode::OK);
                    n_done.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    let mut last = first["sha256"].clone();
    for _ in 0..3 {
        let before = n_done.load(Ordering::SeqCst);
        let arguments = ["home", "certificate", "renew", "--json"];
        let renewed = binary::on(&bed.pair.folder("home"), &arguments).expect(0);
        assert_eq!(renewed.json()[0]["error"], Value::Null, "{renewed:?}");
        let row = bed.row();
        assert_ne!(row["sha256"], last);
        last = row["sha256"].clone();
        // The new one has been seen by somebody, or soon is.
        while n_done.load(Ordering::SeqCst) < before + 3
            && phones.iter().all(|it| !it.is_finished())
        {
            looks.tick().await;
        }
    }
    is_over.store(true, Ordering::SeqCst);
    for phone in phones {
        phone.await.expect("no request failed");
    }
    assert!(n_done.load(Ordering::SeqCst) >= 9);
}
