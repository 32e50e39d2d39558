//! Evolution's contacts, with the program that keeps them, Evolution Data Server.

use std::path::Path;

use data_encoding::BASE64;
use serde_json::json;

use super::session::{Program, Session, Trust};
use super::{MANY, ROWERS, add_device, assert_has, change_on, export, host, import, is_kept};
use super::{photo, portrait, revoke};
use crate::client::BOOK;
use crate::pair::{HOSTNAME, Pair};
use crate::{cards, corpus};

const PROGRAM: Program = Program {
    name: "evolution",
    driver: "evolution/driver.py",
    // There is no keyring among them: it would ask on a screen.
    services: &[
        (
            "org.gnome.evolution.dataserver.Sources5",
            "/usr/libexec/evolution-source-registry",
        ),
        (
            "org.gnome.evolution.dataserver.AddressBook10",
            "/usr/libexec/evolution-addressbook-factory",
        ),
    ],
    // Which requests are sent, to the byte.
    environment: &[("CARDDAV_DEBUG", "all"), ("GSETTINGS_BACKEND", "memory")],
};

/// None where Evolution Data Server is not installed.
fn start(pair: &Pair, trust: Trust) -> Option<Session> {
    let is_there = |(_, program): &(_, &str)| Path::new(program).exists();
    if !PROGRAM.services.iter().all(is_there) {
        corpus::missing("evolution-data-server");
        return None;
    }
    Some(Session::start(pair, &PROGRAM, trust))
}

/// The body of the last PUT of a card, byte for byte.
fn sent(evolution: &Session, name: &str) -> String {
    let said = evolution.said();
    let (_, put) = said
        .rsplit_once(&format!("> PUT {BOOK}{name} HTTP/2\n"))
        .unwrap_or_else(|| panic!("no PUT of {name}: {said}"));
    let lines: Vec<_> = put
        .split('\n')
        .map_while(|it| it.strip_prefix("> "))
        .collect();
    let length = lines
        .iter()
        .find_map(|it| it.strip_prefix("Content-Length: "));
    let head = lines.iter().position(|it| it.is_empty()).expect("a head");
    let body = lines[head + 1..].join("\n");
    assert_eq!(length, Some(body.len().to_string().as_str()), "{put}");
    body
}

/// Types the bare host name, and gives the address book that is found.
fn found(evolution: &mut Session, password: &str) -> String {
    let found = evolution.run("find_address_books", &[password]);
    let books = found.as_array().unwrap_or_else(|| panic!("{found}"));
    let [book] = books.as_slice() else {
        panic!("{found}")
    };
    assert_eq!(book[0], "Contacts");
    book[1].as_str().expect("its URL").to_owned()
}

/// An address book that was set up, and shows so many cards.
fn set_up(evolution: &mut Session, pair: &Pair, password: &str, count: usize) {
    evolution.run("type", &[&format!("https://{}/", host(pair)), "me"]);
    let url = found(evolution, password);
    evolution.run("add_address_book", &[&url]);
    evolution.run("wait_for_question", &[]);
    evolution.run("enter", &[password]);
    evolution.run_for("show", count);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evolution_takes_a_thousand_cards_and_changes_go_both_ways() {
    let pair = Pair::start();
    let Some(mut evolution) = start(&pair, Trust::System) else {
        return;
    };
    import(&pair, &cards::varied(MANY));
    let before = export(&pair);
    set_up(&mut evolution, &pair, &add_device(&pair, "laptop"), MANY);
    assert_eq!(export(&pair), before, "reading changes nothing");

    let mut phone = pair.phone().connect().await.unwrap();
    change_on(&mut phone).await;
    evolution.run("refresh", &[]);
    let shown = evolution.run("card", &["rowers", "Rowers"]);
    let shown: Vec<_> = shown.as_str().unwrap().lines().collect();
    for line in ROWERS.lines().filter(is_kept) {
        assert!(shown.contains(&line), "{line} in {shown:?}");
    }
    evolution.run("card", &["card-1", "FN:Renamed"]);
    evolution.run("wait_until_gone", &["card-2"]);
    evolution.run("card", &["portrait", "PHOTO"]);
    let seen = evolution.run("photo", &["portrait"]);
    assert_eq!(seen, BASE64.encode(&photo()));

    // An edit of each, a contact list, a person with a photo, a deletion.
    for uid in ["rowers", "portrait", "card-10"] {
        let edited = evolution.run("note", &[uid, "on Tuesdays; bring oars, \\ and\nü"]);
        assert_eq!(edited, true, "{uid}");
        let (name, text) = (
            format!("{uid}.vcf"),
            sent(&evolution, &format!("{uid}.vcf")),
        );
        let note = "NOTE:on Tuesdays\\; bring oars\\, \\\\ and\\nü";
        assert!(text.lines().any(|it| it == note), "{text}");
        assert_has(&mut phone, &name, &text).await;
    }
    let group = sent(&evolution, "rowers.vcf");
    for line in ROWERS.lines().filter(is_kept) {
        assert!(group.lines().any(|it| it == line), "{line} in {group}");
    }
    let unfolded = sent(&evolution, "portrait.vcf").replace("\r\n ", "");
    assert!(unfolded.contains(&BASE64.encode(&photo())), "{unfolded}");
    let list = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:List\r\nX-EVOLUTION-LIST:TRUE\r\n\
        EMAIL;X-EVOLUTION-DEST-CONTACT-UID=card-3:Fox <person3@example.org>\r\nEND:VCARD\r\n";
    let name = "N:O'Neil;Zoë;;;";
    let person = portrait().replace("UID:portrait", name);
    for (card, line) in [(list, "X-EVOLUTION-LIST:TRUE"), (&person, name)] {
        let uid = evolution.run("add", &[card]);
        let name = format!("{}.vcf", uid.as_str().unwrap_or_else(|| panic!("{uid}")));
        let text = sent(&evolution, &name);
        assert!(text.lines().any(|it| it == line), "{text}");
        assert_has(&mut phone, &name, &text).await;
    }
    assert_eq!(evolution.run("remove", &["card-3"]), true);
    assert_eq!(phone.get("card-3.vcf").await.unwrap().status, 404);
    let names = pair.phone().names().await;
    assert_eq!(names.len(), MANY + 2 - 1 + 2 - 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evolution_asks_about_a_strange_certificate_a_wrong_password_and_a_revoked_one() {
    let pair = Pair::start();
    let Some(mut evolution) = start(&pair, Trust::Nothing) else {
        return;
    };
    import(&pair, &cards::varied(3));
    let password = add_device(&pair, "laptop");
    evolution.run("type", &[&format!("https://{}/", host(&pair)), "me"]);
    let doubt = evolution.run("find_address_books", &[&password]);
    assert_eq!(doubt, json!({"error": "Unacceptable TLS certificate"}));
    let shown = evolution.run("doubtful_certificate", &[]);
    let errors = shown["errors"].as_array().unwrap();
    assert!(errors.contains(&"unknown-ca".into()), "{shown}");
    evolution.run("accept", &[HOSTNAME, shown["pem"].as_str().unwrap()]);
    let refused = evolution.run("find_address_books", &["wrong"]);
    let told = refused["error"].as_str().unwrap();
    let wanted = "Log in with a user name and a device password";
    assert!(told.contains(wanted), "{told}");
    let url = found(&mut evolution, &password);

    evolution.run("add_address_book", &[&url]);
    evolution.run("wait_for_question", &[]);
    evolution.run("enter", &["wrong"]);
    evolution.run("wait_for_question", &[]);
    evolution.run("enter", &[&password]);
    evolution.run_for("show", 3);

    revoke(&pair, "laptop");
    evolution.run("refresh", &[]);
    evolution.run("wait_for_question", &[]);
    evolution.run("enter", &[&add_device(&pair, "laptop again")]);
    assert_eq!(evolution.run("note", &["card-1", "back"]), true);
    let mut phone = pair.phone().connect().await.unwrap();
    assert_has(&mut phone, "card-1.vcf", &sent(&evolution, "card-1.vcf")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evolution_tells_that_home_is_away_and_goes_on_when_it_is_back() {
    let mut pair = Pair::start();
    let Some(mut evolution) = start(&pair, Trust::System) else {
        return;
    };
    import(&pair, &cards::varied(3));
    set_up(&mut evolution, &pair, &add_device(&pair, "laptop"), 3);

    pair.kill_home();
    let refused = evolution.run("note", &["card-0", "while home is away"]);
    let told = refused["error"].as_str();
    let told = told.unwrap_or_else(|| panic!("{refused}"));
    assert!(told.starts_with("Cannot modify contacts:"), "{told}");
    // What is there can be read.
    evolution.run("card", &["card-0", "UID:card-0"]);
    evolution.run("refresh", &[]);
    evolution.run("error", &[]);

    pair.start_home();
    pair.await_tunnel();
    let mut phone = pair.phone().connect().await.unwrap();
    let before = phone.get("card-0.vcf").await.unwrap();
    assert!(!String::from_utf8_lossy(&before.body).contains("away"));
    let small = cards::small("card-1");
    phone.put("card-1.vcf", &small).await.unwrap();
    evolution.run("refresh", &[]);
    evolution.run("card", &["card-1", "FN:Small"]);
    assert_eq!(evolution.run("note", &["card-0", "home is back"]), true);
    assert_has(&mut phone, "card-0.vcf", &sent(&evolution, "card-0.vcf")).await;
}
