//! KDE's contacts, with the program that keeps them, Akonadi, and its DAV resource.

use std::fs;
use std::path::Path;

use data_encoding::BASE64;
use serde_json::Value;

use super::session::{Program, Session, Trust};
use super::{MANY, add_device, change_on, export, host, import, photo, revoke};
use crate::pair::Pair;
use crate::{cards, corpus, is_acceptance};

const PROGRAM: Program = Program {
    name: "kde",
    driver: "kde/driver.py",
    services: &[],
    environment: &[("QT_QPA_PLATFORM", "offscreen")],
};

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
    Some(Session::start(pair, &PROGRAM, Trust::System))
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
    kde.run("synchronize", &[]);
    let said = kde.said();
    assert!(said.contains("Invalid username/password (401)"), "{said}");
    assert_ne!(kde.run("card", &["card-4.vcf"]), Value::Null);
}
