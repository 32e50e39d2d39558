//! Cards that real programs and phones exported, read where they lie.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cloudless_store::{Store, VersionKind};

use crate::clients::Network;
use crate::pair::Pair;
use crate::real_cards;
use crate::sessions::Account;

/// Every card of the corpus that a client can carry for which cards are UTF-8 text and two with the
/// same UID, or with none and the same FN, are one; with a name for its file.
pub(crate) fn cards() -> Option<Vec<(String, Vec<u8>)>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/vcards");
    if !directory.is_dir() {
        missing("the card corpus, ../shared/corpus/vcards");
        return None;
    }
    let mut files = Vec::new();
    find(&directory, &mut files);
    files.sort();
    let (mut known, mut cards) = (BTreeSet::new(), Vec::new());
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        let stem = file.file_stem().unwrap().to_str().unwrap();
        for (number, card) in cloudless_vcard::split(&bytes).enumerate() {
            let Ok(card) = card else { continue };
            let Ok(summary) = cloudless_vcard::summarize(card) else {
                continue;
            };
            let is_new = known.insert(summary.uid.or(summary.full_name));
            if is_new && std::str::from_utf8(card).is_ok() {
                cards.push((format!("{stem}-{number}"), card.to_owned()));
            }
        }
    }
    Some(cards)
}

fn find(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|it| it == "vcf") {
            files.push(path);
        }
    }
}

/// Says loudly that a test cannot run; in CI that is a failure.
pub(crate) fn missing(what: &str) {
    assert!(
        std::env::var_os("CI").is_none(),
        "missing on this machine: {what}"
    );
    eprintln!("NOT TESTED, missing on this machine: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_card_goes_through_the_relay_byte_for_byte() {
    let mut pair = Pair::start();
    let account = Account {
        user: "me".to_owned(),
        password: pair.password().to_owned(),
    };
    let mut phone = Network::from(pair.phone().over_http2());
    let (stored, refused) = real_cards::put(&account, &mut phone, real_cards::all()).await;
    real_cards::sync(&account, &mut phone, &stored).await;
    let mut old_phone = Network::from(pair.phone());
    real_cards::sync(&account, &mut old_phone, &stored).await;

    pair.kill_home();
    let store = Store::open(&pair.folder("home")).unwrap();
    let user = store.users().unwrap().remove(0).id;
    let book = store.address_book(user, "contacts").unwrap().unwrap();
    for (name, bytes) in refused {
        let versions = store.versions(book.id, &name).unwrap();
        assert_eq!(versions[0].kind, VersionKind::Refused, "{name}");
        assert_eq!(versions[0].bytes.as_ref(), Some(&bytes), "{name}");
    }
}
