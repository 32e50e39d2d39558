//! KDE's contacts, with the program that keeps them, Akonadi, and its DAV resource.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use serde_json::Value;

use super::session::{Program, Session, Trust};
use super::{MANY, add_device, assert_has, change_on, export, host, import, photo, revoke};
use crate::client::Connection;
use crate::pair::Pair;
use crate::{cards, corpus, is_acceptance};

const PROGRAM: Program = Program {
    name: "kde",
    driver: "kde/driver.py",
    services: &[],
    environment: &[("QT_QPA_PLATFORM", "offscreen")],
};

/// Long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the resource calls itself, of Akonadi's states, when all is done.
const READY: usize = 0;
/// And while home is away.
const BROKEN: usize = 2;
/// Where Debian has the headers of KDE's libraries, and these.
const HEADERS: [&str; 4] = ["", "AkonadiCore", "KContacts", "KCoreAddons"];
/// What a phone has made of a card that KDE is about to change.
const RENAMED_AGAIN: &str = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:card-1\r\nFN:Again\r\nEND:VCARD\r\n";
const LIBRARIES: [&str; 3] = ["KF5AkonadiCore", "KF5Contacts", "KF5CoreAddons"];

/// None where the DAV resource is not installed.
fn start(pair: &Pair) -> Option<Session> {
    if !Path::new("/usr/bin/akonadi_davgroupware_resource").exists() {
        corpus::missing("kdepim-runtime");
        return None;
    }
    let settings = pair.folder(PROGRAM.name).join(".config/akonadi");
    fs::create_dir_all(&settings).unwrap();
    let database = "[%General]\nDriver=QSQLITE3\n";
    fs::write(settings.join("akonadiserverrc"), database).unwrap();
    if !build_editor(&pair.folder(PROGRAM.name).join("editor")) {
        return None;
    }
    Some(Session::start(pair, &PROGRAM, Trust::System))
}

/// What stands for KAddressBook when somebody edits; false where the libraries are not installed.
fn build_editor(program: &Path) -> bool {
    let flags = Command::new("pkg-config")
        .args(["--cflags", "--libs", "Qt5Core", "Qt5Gui"])
        .output();
    let flags = flags.ok().filter(|it| it.status.success());
    let (Some(flags), true) = (flags, Path::new("/usr/include/KF5/KContacts").exists()) else {
        corpus::missing("libkf5akonadi-dev and libkf5contacts-dev");
        return false;
    };
    let flags = String::from_utf8(flags.stdout).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/desktop/kde/editor.cpp");
    let mut command = Command::new("g++");
    command.args(["-std=c++17", "-fPIC", "-o"]).arg(program);
    command.arg(source);
    command.args(HEADERS.map(|it| format!("-I/usr/include/KF5/{it}")));
    command.args(flags.split_whitespace());
    command.args(LIBRARIES.map(|it| format!("-l{it}")));
    assert!(command.status().unwrap().success(), "{command:?}");
    true
}

/// A card at home, once it is as wanted: KDE sends after its own time.
async fn until(
    kde: &mut Session,
    phone: &mut Connection,
    name: &str,
    wanted: impl Fn(&Option<String>) -> bool,
) -> Option<String> {
    let begun = Instant::now();
    loop {
        let answer = phone.get(name).await.unwrap();
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let card = answer.status.is_success().then_some(text);
        if wanted(&card) {
            return card;
        }
        let told = kde.run("look", &[]);
        assert!(
            begun.elapsed() < PATIENCE,
            "{name}: {card:?}, {told}, {}",
            kde.said()
        );
    }
}

/// Has KDE synchronize, as a person would once more, until all is as wanted.
fn synchronize_until(kde: &mut Session, wanted: impl Fn(&mut Session, &Value) -> bool) {
    let begun = Instant::now();
    loop {
        let told = kde.run("synchronize", &[]);
        if wanted(kde, &told) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{told}, {}", kde.said());
    }
}

/// Whether a card has these words.
fn has(words: &str) -> impl Fn(&Option<String>) -> bool {
    move |card| card.as_ref().is_some_and(|it| it.contains(words))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kde_takes_a_thousand_cards_what_a_phone_changes_and_goes_on_when_home_is_back() {
    // Its packages are two hundred.
    if !is_acceptance() {
        return;
    }
    let mut pair = Pair::start();
    let Some(mut kde) = start(&pair) else { return };
    import(&pair, &cards::varied(MANY));
    let before = export(&pair);
    let password = add_device(&pair, "laptop");
    let url = format!("https://{}/", host(&pair));
    kde.run("add_address_book", &[&url, "me", &password]);
    kde.run_for("synchronize_until", MANY);
    assert_eq!(export(&pair), before, "reading changes nothing");

    let mut phone = pair.phone().connect().await.unwrap();
    change_on(&mut phone).await;
    kde.run_for("synchronize_until", MANY + 2 - 1);
    let card = kde.run("card", &["card-1.vcf"]);
    assert!(card.as_str().unwrap().contains("FN:Renamed"), "{card}");
    assert_eq!(kde.run("card", &["card-2.vcf"]), Value::Null);
    let card = kde.run("card", &["portrait.vcf"]);
    let unfolded = card.as_str().unwrap().replace("\r\n ", "");
    assert!(unfolded.contains(&BASE64.encode(&photo())), "{unfolded}");
    let group = kde.run("card", &["rowers.vcf"]);
    assert!(group.as_str().unwrap().contains("FN:Rowers"), "{group}");

    pair.kill_home();
    kde.run("synchronize", &[]);
    assert_ne!(kde.run("card", &["card-1.vcf"]), Value::Null);
    pair.start_home();
    pair.await_tunnel();
    let mut phone = pair.phone().connect().await.unwrap();
    let deleted = phone.delete("card-3.vcf").await.unwrap();
    assert!(deleted.status.is_success(), "{deleted:?}");
    kde.run_for("synchronize_until", MANY + 2 - 2);

    revoke(&pair, "laptop");
    let deleted = phone.delete("card-4.vcf").await.unwrap();
    assert!(deleted.status.is_success(), "{deleted:?}");
    // Its first try may be on a connection that home has closed.
    synchronize_until(&mut kde, |kde, _| {
        kde.said().contains("Invalid username/password (401)")
    });
    assert_ne!(kde.run("card", &["card-4.vcf"]), Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kde_makes_edits_and_deletes_and_a_phone_sees_it() {
    if !is_acceptance() {
        return;
    }
    let mut pair = Pair::start();
    let Some(mut kde) = start(&pair) else { return };
    import(&pair, &cards::varied(10));
    let password = add_device(&pair, "laptop");
    let url = format!("https://{}/", host(&pair));
    kde.run("add_address_book", &[&url, "me", &password]);
    let mut phone = pair.phone().connect().await.unwrap();
    change_on(&mut phone).await;
    kde.run_for("synchronize_until", 10 + 2 - 1);

    let added = kde.run("add", &["Ann Example", "ann@example.org"]);
    let name = added.as_str().unwrap();
    let card = until(&mut kde, &mut phone, name, Option::is_some).await;
    for line in [
        "FN:Ann Example",
        "N:Example;Ann;;;",
        "EMAIL:ann@example.org",
    ] {
        assert!(has(&format!("\r\n{line}\r\n"))(&card), "{line} in {card:?}");
    }
    kde.run("note", &["portrait.vcf", "on Tuesdays; bring oars"]);
    let noted = has("NOTE:on Tuesdays");
    let card = until(&mut kde, &mut phone, "portrait.vcf", noted).await;
    let unfolded = card.unwrap().replace("\r\n ", "");
    assert!(unfolded.contains(&BASE64.encode(&photo())), "{unfolded}");
    kde.run("remove", &["card-3.vcf"]);
    until(&mut kde, &mut phone, "card-3.vcf", Option::is_none).await;
    kde.run_for("synchronize_until", 10 + 2 - 1 + 1 - 1);

    // A group becomes a person, as docs/clients.md says.
    kde.run("note", &["rowers.vcf", "not on Mondays"]);
    let card = until(&mut kde, &mut phone, "rowers.vcf", has("NOTE:not on")).await;
    assert!(has("FN:Rowers")(&card) && !has("MEMBER")(&card), "{card:?}");

    // The phone's word stands where it was first.
    let put = phone.put("card-1.vcf", RENAMED_AGAIN.as_bytes()).await;
    assert!(put.unwrap().status.is_success());
    kde.run("note", &["card-1.vcf", "of KDE"]);
    synchronize_until(&mut kde, |kde, _| {
        let card = kde.run("card", &["card-1.vcf"]);
        card.as_str().is_some_and(|it| it.contains("FN:Again"))
    });
    assert_has(&mut phone, "card-1.vcf", RENAMED_AGAIN).await;

    pair.kill_home();
    kde.run("note", &["card-5.vcf", "while home is away"]);
    kde.run("remove", &["card-6.vcf"]);
    // What it says first may be of a try before.
    synchronize_until(&mut kde, |_, told| told[0] == BROKEN);
    let card = kde.run("card", &["card-5.vcf"]);
    assert!(card.as_str().unwrap().contains("while home"), "{card}");
    pair.start_home();
    pair.await_tunnel();
    let mut phone = pair.phone().connect().await.unwrap();
    kde.run("work_online", &[]);
    until(
        &mut kde,
        &mut phone,
        "card-5.vcf",
        has("while home is away"),
    )
    .await;
    until(&mut kde, &mut phone, "card-6.vcf", Option::is_none).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kde_syncs_nothing_with_a_wrong_password_and_all_with_the_right_one() {
    if !is_acceptance() {
        return;
    }
    let pair = Pair::start();
    let Some(mut kde) = start(&pair) else { return };
    import(&pair, &cards::varied(3));
    let password = add_device(&pair, "laptop");
    let url = format!("https://{}/", host(&pair));
    kde.run("add_address_book", &[&url, "me", "wrong"]);
    let told = kde.run("synchronize", &[]);
    assert_eq!(told[0], READY, "{told}");
    let said = kde.said();
    assert!(said.contains("Invalid username/password (401)"), "{said}");
    assert_eq!(kde.run("count", &[]), 0);

    kde.run("change_password", &[&password]);
    kde.run_for("synchronize_until", 3);
}
