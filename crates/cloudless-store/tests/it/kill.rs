//! What was acknowledged survives the death of the process at any moment.
//!
//! The test starts its own binary again, as a child that stores cards as fast as it can and prints
//! the name of each one that was acknowledged.

use std::collections::HashSet;
use std::env;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use cloudless_store::{BookId, DeleteOutcome, Precondition, PutOutcome, Store};

use crate::{OWNER, card, new_book};

const DIRECTORY: &str = "CLOUDLESS_STORE_KILL_TEST";
const ROUNDS: usize = 8;

#[test]
fn acknowledged_writes_survive_kill() {
    let directory = tempfile::tempdir().unwrap();
    let book = new_book(&Store::open(directory.path()).unwrap(), "anna");
    let mut stored = HashSet::new();
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let kill_after = 1 + RandomState::new().hash_one(round) % 200;
        let mut deleted = HashSet::new();
        for line in run_and_kill(directory.path(), round, kill_after) {
            acknowledged += 1;
            match line.split_once(' ').unwrap() {
                ("put", name) => assert!(stored.insert(name.to_owned())),
                ("delete", name) => assert!(deleted.insert(name.to_owned())),
                _ => panic!("{line}"),
            }
        }
        let store = Store::open(directory.path()).unwrap();
        for name in deleted {
            assert!(stored.remove(&name), "{name}");
            assert_eq!(store.card(book, &name).unwrap(), None, "{name} came back");
            let versions = store.versions(book, &name).unwrap();
            assert_eq!(versions[0].bytes.as_deref(), Some(bytes(&name).as_slice()));
        }
        for name in &stored {
            match store.card(book, name).unwrap() {
                Some(card) => assert!(card.bytes == bytes(name), "{name} is damaged"),
                // The child may have died between a deletion and its acknowledgement.
                None => {
                    let versions = store.versions(book, name).unwrap();
                    assert_eq!(versions.len(), 2, "{name} is lost after {kill_after}");
                }
            }
        }
        stored.retain(|name| store.card_row(book, name).unwrap().is_some());
        let rows = store.card_rows(book).unwrap();
        let changes = store.changes_since(book, None, None).unwrap();
        assert_eq!(rows.len(), changes.changed.len());
    }
    assert!(
        acknowledged > ROUNDS,
        "only {acknowledged} writes were acknowledged"
    );
    let database = rusqlite::Connection::open(directory.path().join("store.sqlite")).unwrap();
    let integrity: String = database
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(integrity, "ok");
}

/// The child. Does nothing when it is run as a test like any other.
#[test]
fn child_of_the_kill_test() {
    let Some(argument) = env::var_os(DIRECTORY) else {
        return;
    };
    let argument = argument.into_string().unwrap();
    let (round, directory) = argument.split_once(':').unwrap();
    let store = Store::open(Path::new(directory)).unwrap();
    let user = store.users().unwrap()[0].id;
    let book = store.address_books(user).unwrap()[0].id;
    thread::scope(|scope| {
        for writer in 0..4 {
            let store = &store;
            scope.spawn(move || write_for_ever(store, book, &format!("{round}-{writer}")));
        }
    });
}

fn write_for_ever(store: &Store, book: BookId, prefix: &str) {
    for n in 0_u64.. {
        let name = format!("{prefix}-{n}.vcf");
        let new_card = card(book, &name, &bytes(&name));
        let outcome = store
            .put_card(new_card, Precondition::MustNotExist, OWNER)
            .unwrap();
        assert!(matches!(outcome, PutOutcome::Created(_)), "{outcome:?}");
        acknowledge("put", &name);
        if n % 5 == 4 {
            let outcome = store
                .delete_card(book, &name, Precondition::MustExist, OWNER)
                .unwrap();
            assert_eq!(outcome, DeleteOutcome::Deleted);
            acknowledge("delete", &name);
        }
    }
}

fn acknowledge(what: &str, name: &str) {
    // One write call for each line, so that a kill never leaves half of one.
    let line = format!("acknowledged {what} {name}\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

/// Starts the child, kills it after it acknowledged `kill_after` writes, and returns all that it
/// acknowledged until it was dead.
fn run_and_kill(directory: &Path, round: usize, kill_after: u64) -> Vec<String> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "kill::child_of_the_kill_test", "--nocapture"])
        .env(DIRECTORY, format!("{round}:{}", directory.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        // The test harness prints lines of its own.
        let line = line.unwrap();
        if let Some((_, acknowledgement)) = line.split_once("acknowledged ") {
            acknowledged.push(acknowledgement.to_owned());
        }
        if acknowledged.len() as u64 == kill_after {
            child.kill().unwrap();
        }
    }
    let status = child.wait().unwrap();
    assert!(!status.success(), "the child ended by itself");
    assert!(
        acknowledged.len() as u64 >= kill_after,
        "the child failed: {status}"
    );
    acknowledged
}

/// What a card of this name holds: sizes from a few bytes to many pages.
fn bytes(name: &str) -> Vec<u8> {
    let sum: usize = name.bytes().map(usize::from).sum();
    name.as_bytes().repeat(1 + (sum * sum) % 3_000)
}
