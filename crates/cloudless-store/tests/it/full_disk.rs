//! After a full disk writing goes on as soon as there is room, without a restart.
//!
//! The test starts its own binary again with a small file system of its own.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use cloudless_store::{Precondition, PutOutcome, Store};

use crate::{OWNER, card, new_book};

const DIRECTORY: &str = "CLOUDLESS_STORE_FULL_DISK_TEST";

const SMALL_DISK: &str = r#"mount -t tmpfs -o size=4m tmpfs "$0" && exec "$@""#;

#[test]
fn writing_goes_on_when_there_is_room_again() {
    let directory = tempfile::tempdir().unwrap();
    let isolated = || {
        let mut command = Command::new("unshare");
        command.args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            SMALL_DISK,
        ]);
        command.arg(directory.path());
        command
    };
    let possible = isolated().arg("true").output();
    if !possible.is_ok_and(|output| output.status.success()) {
        eprintln!("NOT TESTED: a full disk, because this machine lets nobody mount one");
        assert!(env::var_os("CI").is_none(), "the full disk must be tested");
        return;
    }
    let child = isolated()
        .arg(env::current_exe().unwrap())
        .args([
            "--exact",
            "full_disk::child_of_the_full_disk_test",
            "--nocapture",
        ])
        .env(DIRECTORY, directory.path())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    let errors = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{output}\n{errors}");
    assert!(output.contains("the disk was full"), "{output}");
}

/// The child. Does nothing when it is run as a test like any other.
#[test]
fn child_of_the_full_disk_test() {
    let Some(directory) = env::var_os(DIRECTORY) else {
        return;
    };
    let directory = Path::new(&directory);
    let filler = directory.join("filler");
    fs::write(&filler, vec![0; 1 << 20]).unwrap();
    let store = Store::open(directory).unwrap();
    let book = new_book(&store, "anna");
    let mut stored = Vec::new();
    let mut fill = |round: usize| {
        let mut refused = 0;
        for n in 0..2_000 {
            let name = format!("{round}-{n}.vcf");
            let new_card = card(book, &name, &name.as_bytes().repeat(800));
            match store.put_card(new_card, Precondition::MustNotExist, OWNER) {
                Ok(PutOutcome::Created(_)) => stored.push(name),
                Ok(outcome) => panic!("{outcome:?}"),
                Err(error) => {
                    assert!(error.is_full(), "{error:?}");
                    assert_eq!(store.card(book, &name).unwrap(), None);
                    refused += 1;
                    if refused == 5 {
                        // No room for this body in the history, and yet no reason to try again.
                        let stale = Precondition::Match(vec!["old".into()]);
                        let first = card(book, &stored[0], &[b'x'; 100_000]);
                        let outcome = store.put_card(first, stale, OWNER).unwrap();
                        assert!(
                            matches!(outcome, PutOutcome::PreconditionFailed { current: Some(_) }),
                            "{outcome:?}"
                        );
                        println!("the disk was full after {}", stored.len());
                        return stored.len();
                    }
                }
            }
        }
        panic!("the disk was never full");
    };
    let before = fill(0);
    fs::remove_file(&filler).unwrap();
    let after = fill(1);
    assert!(after > before, "nothing was stored although there was room");

    let check = |store: &Store| {
        for name in &stored {
            let bytes = store.card(book, name).unwrap().unwrap().bytes;
            assert_eq!(bytes, name.as_bytes().repeat(800), "{name}");
        }
        assert_eq!(store.card_rows(book).unwrap().len(), stored.len());
    };
    check(&store);
    drop(store);
    check(&Store::open(directory).unwrap());
}
