//! A write that the system refuses is reported, and takes nothing acknowledged with it.
//!
//! The test starts its own binary again under a limit on the size of files, which makes the
//! write-ahead log fail in the middle of a commit as a full disk does.

use std::env;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use cloudless_store::{Precondition, PutOutcome, Store, StoreError};

use crate::{OWNER, card, new_book};

const DIRECTORY: &str = "CLOUDLESS_STORE_DISK_TEST";

/// Ignores the signal that would end the process, so that a write returns an error.
const LIMITED: &str = r#"trap "" XFSZ && ulimit -f 2048 && exec "$0" "$@""#;

#[test]
fn commit_that_the_disk_refuses_is_no_success() {
    let directory = tempfile::tempdir().unwrap();
    let book = new_book(&Store::open(directory.path()).unwrap(), "anna");
    let child = Command::new("sh")
        .args(["-c", LIMITED])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "disk::child_of_the_disk_test", "--nocapture"])
        .env(DIRECTORY, directory.path())
        .output()
        .unwrap();
    let output = String::from_utf8(child.stdout).unwrap();
    let errors = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{output}\n{errors}");

    let store = Store::open(directory.path()).unwrap();
    let mut stored = 0;
    for line in output.lines() {
        if let Some((_, name)) = line.split_once("acknowledged ") {
            let card = store.card(book, name).unwrap();
            assert_eq!(card.map(|card| card.bytes), Some(bytes(name)), "{name}");
            stored += 1;
        }
    }
    assert!(stored > 0, "nothing was stored before the limit: {output}");
    assert_eq!(store.card_rows(book).unwrap().len(), stored);
    let put = store.put_card(card(book, "after.vcf", b"x"), Precondition::None, OWNER);
    assert!(matches!(put, Ok(PutOutcome::Created(_))), "{put:?}");
}

/// The child. Does nothing when it is run as a test like any other.
#[test]
fn child_of_the_disk_test() {
    let Some(directory) = env::var_os(DIRECTORY) else {
        return;
    };
    let store = Store::open(Path::new(&directory)).unwrap();
    let user = store.users().unwrap()[0].id;
    let book = store.address_books(user).unwrap()[0].id;
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for writer in 0..4 {
            let (store, failures) = (&store, &failures);
            scope.spawn(move || {
                let mut failed = 0;
                // The limit allows for a part of these.
                for n in 0..2_000 {
                    let name = format!("{writer}-{n}.vcf");
                    let card = card(book, &name, &bytes(&name));
                    match store.put_card(card, Precondition::MustNotExist, OWNER) {
                        Ok(PutOutcome::Created(_)) => println!("acknowledged {name}"),
                        Ok(outcome) => panic!("{outcome:?}"),
                        Err(error) => {
                            failures.lock().unwrap().push((name, error));
                            failed += 1;
                        }
                    }
                    if failed == 5 {
                        return;
                    }
                }
                panic!("the limit was never reached");
            });
        }
    });
    for (name, error) in failures.into_inner().unwrap() {
        let expected = matches!(error, StoreError::Commit(_) | StoreError::Write(_));
        assert!(expected, "{error:?}");
        // Reading goes on, and sees nothing of what failed.
        assert_eq!(store.card(book, &name).unwrap(), None);
    }
}

fn bytes(name: &str) -> Vec<u8> {
    name.as_bytes().repeat(1_000)
}
