//! Thunderbird, through its own windows where it asks something.

mod marionette;
mod name_server;

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::{MANY, ROWERS, add_device, assert_has, change_on, export, host, import, is_kept};
use super::{photo, portrait, revoke};
use crate::cards;
use crate::client_certificates::{self, DEMANDING};
use crate::pair::{HOSTNAME, Pair};
use marionette::{Thunderbird, Trust};
use name_server::NameServer;

const DOUBT: &str = "chrome://pippki/content/exceptionDialog.xhtml";
const PROMPT: &str = "https://localhost is requesting your username and password.";

/// Types the bare host name and the password; what is told at the end, and was asked before.
fn add_address_book(it: &mut Thunderbird, pair: &Pair, password: &str, trust: &str) -> Value {
    it.run("addAddressBook", &[&host(pair), "me", password, trust])
}

fn set_up(thunderbird: &mut Thunderbird, pair: &Pair, password: &str) {
    let added = add_address_book(thunderbird, pair, password, "known");
    assert_eq!(added, json!({"books": ["Contacts"], "told": [PROMPT]}));
}

/// A name that demands a certificate, and the port that stands for 443.
fn demanding(pair: &Pair) -> String {
    format!("{DEMANDING}:{}", pair.relay_port())
}

/// The server has what was sent for a card.
async fn assert_pushed(pair: &Pair, name: &str, pushed: &Value) {
    assert_eq!(pushed.get("failed"), None, "{pushed}");
    let mut phone = pair.phone().connect().await.unwrap();
    assert_has(&mut phone, name, pushed["sent"].as_str().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thunderbird_takes_a_thousand_cards_and_changes_go_both_ways() {
    let pair = Pair::start();
    let Some(mut thunderbird) = Thunderbird::start(&pair, Trust::Profile) else {
        return;
    };
    import(&pair, &cards::varied(MANY));
    let before = export(&pair);
    set_up(&mut thunderbird, &pair, &add_device(&pair, "laptop"));
    assert_eq!(thunderbird.run("count", &[]), MANY);
    assert_eq!(export(&pair), before, "reading changes nothing");

    let mut phone = pair.phone().connect().await.unwrap();
    change_on(&mut phone).await;
    assert_eq!(thunderbird.run("sync", &[]), json!({"told": []}));
    assert_eq!(thunderbird.run("count", &[]), MANY + 2 - 1);
    let shown = thunderbird.run("shown", &["rowers"]);
    assert_eq!(shown["name"], "Rowers");
    assert_eq!(shown["email"], "rowers@example.org");
    assert_eq!(thunderbird.run("shown", &["card-1"])["name"], "Renamed");
    assert_eq!(thunderbird.run("shown", &["card-2"]), Value::Null);
    let image = format!("data:image/jpeg;base64,{}", BASE64.encode(&photo()));
    assert_eq!(thunderbird.run("shown", &["portrait"])["photo"], image);

    // An edit of each, a person with a photo, a deletion.
    for uid in ["rowers", "portrait", "card-10"] {
        let pushed = thunderbird.run("note", &[uid, "on Tuesdays; bring oars, \\ and\nü"]);
        let text = pushed["sent"].as_str().unwrap();
        let note = "NOTE:on Tuesdays; bring oars\\, \\\\ and\\nü";
        assert!(text.lines().any(|it| it == note), "{text}");
        assert_pushed(&pair, &format!("{uid}.vcf"), &pushed).await;
    }
    let group = phone.get("rowers.vcf").await.unwrap().body;
    let group = String::from_utf8_lossy(&group);
    for line in ROWERS.lines().filter(is_kept) {
        assert!(group.lines().any(|it| it == line), "{line} in {group}");
    }
    let person = portrait().replace("UID:portrait", "N:O'Neil;Zoë;;;");
    let pushed = thunderbird.run("add", &[&person]);
    let name = format!("{}.vcf", pushed["uid"].as_str().unwrap());
    assert_pushed(&pair, &name, &pushed).await;
    assert_eq!(thunderbird.run("remove", &["card-3"]), 204);
    assert_eq!(phone.get("card-3.vcf").await.unwrap().status, 404);
    assert_eq!(thunderbird.run("sync", &[]), json!({"told": []}));
    assert_eq!(thunderbird.run("count", &[]), MANY + 2 - 1 + 1 - 1);
    assert_eq!(pair.phone().names().await.len(), MANY + 1);

    // As when home has an older copy of its store.
    thunderbird.run("setToken", &["https://cloudless.invalid/sync/unknown/1"]);
    assert!(
        phone
            .delete("card-4.vcf")
            .await
            .unwrap()
            .status
            .is_success()
    );
    assert_eq!(thunderbird.run("sync", &[]), json!({"told": []}));
    assert_eq!(thunderbird.run("shown", &["card-4"]), Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thunderbird_asks_about_a_strange_certificate_and_says_nothing_of_a_revocation() {
    let pair = Pair::start();
    let Some(mut thunderbird) = Thunderbird::start(&pair, Trust::Nothing) else {
        return;
    };
    import(&pair, &cards::varied(3));
    let password = add_device(&pair, "laptop");
    let failed = |told: &[&str]| json!({"error": "Failed to connect.", "told": told});
    let cancelled = add_address_book(&mut thunderbird, &pair, &password, "cancel");
    assert_eq!(cancelled, failed(&[DOUBT]));
    let wrong = add_address_book(&mut thunderbird, &pair, "wrong", "accept");
    assert_eq!(wrong, failed(&[DOUBT, PROMPT]));
    set_up(&mut thunderbird, &pair, &password);
    assert_eq!(thunderbird.run("count", &[]), 3);

    revoke(&pair, "laptop");
    let refused = thunderbird.run("sync", &[]);
    let wanted = json!({"error": "Authorization failure", "told": []});
    assert_eq!(refused, wanted);
    let kept = thunderbird.run("note", &["card-1", "after the revocation"]);
    assert_eq!(kept["failed"], true);
    let password = add_device(&pair, "laptop again");
    thunderbird.run("changePassword", &["me", &password]);
    assert_eq!(thunderbird.run("sync", &[]), json!({"told": []}));
    let mut phone = pair.phone().connect().await.unwrap();
    assert_has(&mut phone, "card-1.vcf", kept["sent"].as_str().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thunderbird_keeps_what_is_changed_while_home_is_away() {
    let mut pair = Pair::start();
    let Some(mut thunderbird) = Thunderbird::start(&pair, Trust::Profile) else {
        return;
    };
    import(&pair, &cards::varied(3));
    set_up(&mut thunderbird, &pair, &add_device(&pair, "laptop"));

    pair.kill_home();
    let kept = thunderbird.run("note", &["card-0", "while home is away"]);
    assert_eq!(kept["failed"], true);
    let refused = thunderbird.run("sync", &[]);
    assert_eq!(refused, json!({"error": "Connection error", "told": []}));

    pair.start_home();
    pair.await_tunnel();
    let mut phone = pair.phone().connect().await.unwrap();
    phone
        .put("card-1.vcf", &cards::small("card-1"))
        .await
        .unwrap();
    assert_eq!(thunderbird.run("sync", &[]), json!({"told": []}));
    let shown = thunderbird.run("shown", &["card-1"]);
    assert_eq!(shown["name"], "Small card-1");
    assert_has(&mut phone, "card-0.vcf", kept["sent"].as_str().unwrap()).await;
}

/// RFC 6764: whoever types the name alone is led to the port that the DNS says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thunderbird_finds_another_port_by_an_srv_record() {
    let pair = Pair::start();
    let Some(name_server) = NameServer::start(&pair) else {
        return;
    };
    let resolver = Some(name_server.resolver());
    let started = Thunderbird::start_with(&pair, Trust::Profile, None, resolver);
    let Some(mut thunderbird) = started else {
        return;
    };
    import(&pair, &cards::varied(3));
    let password = add_device(&pair, "laptop");
    let added = thunderbird.run("addAddressBook", &[HOSTNAME, "me", &password, "known"]);
    assert_eq!(added, json!({"books": ["Contacts"], "told": [PROMPT]}));
    assert_eq!(thunderbird.run("count", &[]), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thunderbird_needs_its_certificate_on_a_name_that_demands_one() {
    let pair = client_certificates::start();
    let tablet = client_certificates::enroll(&pair, "tablet");
    let add = |it: &mut Thunderbird, trust| {
        let arguments = [&demanding(&pair), "me", &tablet.password, trust];
        it.run("addAddressBook", &arguments)
    };
    let Some(mut without) = Thunderbird::start(&pair, Trust::Profile) else {
        return;
    };
    // Nothing is asked for: the handshake fails.
    let failed = json!({"error": "Failed to connect.", "told": []});
    assert_eq!(add(&mut without, "cancel"), failed);
    drop(without);
    std::fs::remove_dir_all(pair.folder("thunderbird")).unwrap();

    let started = Thunderbird::start_with(&pair, Trust::Profile, Some(&tablet), None);
    let mut thunderbird = started.expect("it was there");
    let prompt = PROMPT.replace("localhost", DEMANDING);
    let added = json!({"books": ["Contacts"], "told": [prompt]});
    assert_eq!(add(&mut thunderbird, "known"), added);
    let card = "BEGIN:VCARD\r\nVERSION:4.0\r\nFN:New\r\nUID:new\r\nEND:VCARD\r\n";
    let pushed = thunderbird.run("add", &[card]);
    assert_pushed(&pair, "new.vcf", &pushed).await;

    revoke(&pair, "tablet");
    let refused = thunderbird.run("sync", &[]);
    assert_eq!(refused["told"], json!([]));
    assert_ne!(refused.get("error"), None, "{refused}");
}
