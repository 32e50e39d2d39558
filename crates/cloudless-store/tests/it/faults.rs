//! Whatever call of the system fails, and wherever the process dies: what was acknowledged is
//! there, what was not is there whole or not at all, and writing goes on.
//!
//! The test starts its own binary again under strace, as a child that opens a store, does one
//! operation and closes the store, while one call of the system fails.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a child talks to its parent, and a test that cannot run says so"
)]

mod operations;
mod place;
mod plan;
mod state;
mod strace;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError, RwLock};
use std::thread;

use cloudless_store::Store;
use tempfile::TempDir;

use operations::{OPERATIONS, Operation};
use place::{Failure, Place};
use plan::{Plan, without_faults};
use state::dump;
use strace::{Fault, Injection};

const CHILD: &str = "CLOUDLESS_STORE_FAULTS_TEST";
const ALONE: &str = "CLOUDLESS_STORE_FAULTS_ALONE";
/// How often the child tries again what failed.
const ATTEMPTS: usize = 3;
/// Held to write while a process is started: until that executes its program, it holds the locks of
/// all stores that are open here.
static STORES: RwLock<()> = RwLock::new(());

#[test]
fn every_operation_survives_a_fault_at_every_step() {
    if !is_alone() {
        return;
    }
    let chosen = env::var("CLOUDLESS_FAULTS").unwrap_or_default();
    let mut cases = Vec::new();
    let mut plans = BTreeMap::new();
    for (index, operation) in OPERATIONS.iter().enumerate() {
        if operation.name.contains(&chosen) {
            let plan = Plan::of(index);
            cases.extend(plan.sample(index).into_iter().map(|it| (index, it)));
            plans.insert(index, plan);
        }
    }
    println!("{} faults in {} operations", cases.len(), plans.len());
    let cases = Mutex::new(cases);
    let failed = Mutex::new(Vec::new());
    let workers = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(4);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let Some((index, injection)) = cases.lock().unwrap().pop() else {
                        return;
                    };
                    let (operation, plan) = (&OPERATIONS[index], &plans[&index]);
                    let check = || plan.check(index, &injection);
                    if catch_unwind(AssertUnwindSafe(check)).is_err() {
                        let case = format!("{}: {injection:?}", operation.name);
                        failed.lock().unwrap().push(case);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

/// A kill does not show what a power cut takes: that is whatever was not synced.
#[test]
fn nothing_is_acknowledged_before_it_is_on_disk() {
    if !is_alone() {
        return;
    }
    for (index, operation) in OPERATIONS.iter().enumerate() {
        let place = directory();
        prepare(operation, &place);
        let mut unsynced = BTreeMap::new();
        let mut acknowledged = 0;
        for (thread, step) in strace::order(&child(index, &place), place.path()) {
            let context = format!("{}: {step}, {unsynced:?} not synced", operation.name);
            match step.split_once(' ').unwrap_or((&step, "")) {
                // Made anew in doubt; see its own comment.
                (_, "/store.generation" | "/store.sqlite-shm") => {}
                ("pwrite64" | "write" | "ftruncate" | "fallocate", file) => {
                    unsynced.insert(file.to_owned(), thread);
                }
                ("fsync" | "fdatasync", file) => {
                    unsynced.remove(file);
                }
                ("rename", file) => {
                    assert!(!unsynced.contains_key(file), "{context}");
                    unsynced.insert(String::new(), thread);
                }
                // What is in the log must be in the database before the log goes.
                ("unlink", "/store.sqlite-wal") => {
                    assert!(!unsynced.contains_key("/store.sqlite"), "{context}");
                    unsynced.remove("/store.sqlite-wal");
                }
                ("unlink", file) => {
                    unsynced.remove(file);
                }
                ("acknowledged", _) => {
                    acknowledged += 1;
                    // A checkpoint may be under way.
                    unsynced.remove("/store.sqlite");
                    // So may be what had waited for an idle moment, on a thread of its own.
                    unsynced.retain(|file, by| file != "/store.sqlite-wal" || *by == thread);
                    assert!(unsynced.is_empty(), "{context}");
                }
                _ => {}
            }
        }
        assert_eq!(
            acknowledged,
            1 + operation.calls.len(),
            "{}",
            operation.name
        );
    }
}

/// After a failed fsync the system may have forgotten pages that it counts as written: what was
/// folded into the database file is kept in the log too, until the store is opened again.
#[test]
fn log_is_kept_when_the_disk_may_have_forgotten_pages() {
    if !is_alone() {
        return;
    }
    let is_checkpoint = |operation: &Operation| operation.name.contains("checkpoint");
    let index = OPERATIONS.iter().position(is_checkpoint).unwrap();
    let (states, _) = without_faults(index);
    let place = directory();
    prepare(&OPERATIONS[index], &place);
    let before = fs::read(database(&place)).unwrap();
    let failed_sync = Injection {
        fault: Fault::Broken,
        call: "fdatasync".to_owned(),
        number: 1,
    };
    let only = &["/store.sqlite"];
    let output = strace::inject_at(&child(index, &place), place.path(), only, &failed_sync);
    assert_eq!(acknowledged(&output), states.len() - 1, "{output:?}");
    assert_ne!(fs::read(database(&place)).unwrap(), before, "no checkpoint");

    // The disk has none of it.
    fs::write(database(&place), before).unwrap();
    drop(Store::open(place.path()).unwrap());
    assert!(!files(&place).contains("store.sqlite-wal"));
    assert_eq!(Some(&dump(&database(&place))), states.last());
}

/// The child. Does nothing when it is run as a test like any other.
#[test]
fn child_of_the_faults_test() {
    let Ok(argument) = env::var(CHILD) else {
        return;
    };
    let (index, directory) = argument.split_once(':').unwrap();
    let operation = &OPERATIONS[index.parse::<usize>().unwrap()];
    let directory = Path::new(directory);
    let Some(store) = attempt(|| Ok(Store::open(directory)?), || Ok(())) else {
        return;
    };
    let place = Place {
        store: &store,
        directory,
    };
    let read = || {
        store.users()?;
        Ok(())
    };
    for call in operation.calls {
        if attempt(|| call(&place), read).is_none() {
            return;
        }
    }
}

fn attempt<T>(
    work: impl Fn() -> Result<T, Failure>,
    read: impl Fn() -> Result<(), Failure>,
) -> Option<T> {
    for _ in 0..ATTEMPTS {
        match work() {
            Ok(result) => {
                println!("acknowledged");
                return Some(result);
            }
            Err(Failure { is_full, text }) => println!("failed, full: {is_full:?}, {text}"),
        }
        if let Err(failure) = read() {
            println!("unreadable: {failure:?}");
        }
    }
    None
}

/// Whether this is a process in which one of these tests runs alone. If not, it is started, and its
/// result is that of the test: a test that starts many processes must not share one with others,
/// whose stores it would keep locked.
fn is_alone() -> bool {
    if !strace::is_usable() {
        eprintln!("NOT TESTED: faults at each step of a write, because strace cannot be used here");
        assert!(env::var_os("CI").is_none(), "faults must be tested");
        return false;
    }
    if env::var_os(ALONE).is_some() {
        return true;
    }
    let current = thread::current();
    let name = current.name().expect("tests have names");
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    println!("{said}");
    false
}

fn prepare(operation: &Operation, place: &TempDir) {
    let _open = STORES.read().unwrap_or_else(PoisonError::into_inner);
    (operation.prepare)(place.path());
}

fn child(index: usize, place: &TempDir) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", "faults::child_of_the_faults_test"])
        .args(["--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{index}:{}", place.path().display()));
    command
}

fn acknowledged(output: &Output) -> usize {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| line.ends_with("acknowledged"))
        .count()
}

/// In memory if possible: what is tested is the order of the writes, not the disk.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory).unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn database(place: &TempDir) -> PathBuf {
    place.path().join("store.sqlite")
}

fn files(place: &TempDir) -> BTreeSet<String> {
    fs::read_dir(place.path())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect()
}
