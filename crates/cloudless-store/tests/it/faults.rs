//! Whatever call of the system fails, and wherever the process dies: what was acknowledged is
//! there, what was not is there whole or not at all, and writing goes on.
//!
//! The test starts its own binary again under strace, as a child that opens a store, does one
//! operation and closes the store, while one call of the system fails.

mod operations;
mod state;
mod strace;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::thread;

use cloudless_store::Store;
use tempfile::TempDir;

use operations::{BACKUP, Failure, OPERATIONS, Place, REFUSED};
use state::{check_agreement, dump, incarnations};
use strace::{Fault, Injection, was_killed};

const CHILD: &str = "CLOUDLESS_STORE_FAULTS_TEST";
/// How often the child tries again what failed.
const ATTEMPTS: usize = 3;
/// Faults for each operation, spread over all of its steps.
const SAMPLE: usize = 24;
/// Every step is tried in `cargo xtask acceptance`, unless there are more than this.
const EVERY: usize = 2_000;
/// For an operation of so many steps, since each run of it takes long.
const SAMPLE_OF_MANY: usize = 6;

#[test]
fn every_operation_survives_a_fault_at_every_step() {
    if !strace_is_usable() {
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
    if !strace_is_usable() {
        return;
    }
    for (index, operation) in OPERATIONS.iter().enumerate() {
        let place = directory();
        (operation.prepare)(place.path());
        let mut unsynced = BTreeSet::new();
        let mut acknowledged = 0;
        for step in strace::order(&child(index, &place), place.path()) {
            let context = format!("{}: {step}, {unsynced:?} not synced", operation.name);
            match step.split_once(' ').unwrap_or((&step, "")) {
                // Made anew in doubt; see its own comment.
                (_, "/store.generation" | "/store.sqlite-shm") => {}
                ("pwrite64" | "write" | "ftruncate" | "fallocate", file) => {
                    unsynced.insert(file.to_owned());
                }
                ("fsync" | "fdatasync", file) => {
                    unsynced.remove(file);
                }
                ("rename", file) => {
                    assert!(!unsynced.contains(file), "{context}");
                    unsynced.insert(String::new());
                }
                // What is in the log must be in the database before the log goes.
                ("unlink", "/store.sqlite-wal") => {
                    assert!(!unsynced.contains("/store.sqlite"), "{context}");
                    unsynced.remove("/store.sqlite-wal");
                }
                ("unlink", file) => {
                    unsynced.remove(file);
                }
                ("acknowledged", _) => {
                    acknowledged += 1;
                    // A checkpoint may be under way.
                    unsynced.remove("/store.sqlite");
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
    if !strace_is_usable() {
        return;
    }
    let is_checkpoint = |operation: &operations::Operation| operation.name.contains("checkpoint");
    let index = OPERATIONS.iter().position(is_checkpoint).unwrap();
    let (states, _) = without_faults(index);
    let place = directory();
    (OPERATIONS[index].prepare)(place.path());
    let before = fs::read(database(&place)).unwrap();
    let failed_sync = Injection {
        fault: Fault::Broken,
        call: "fsync".to_owned(),
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
    let read = || Ok(drop(store.users()?));
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

/// What an operation does without faults.
struct Plan {
    /// The states of the database: before the opening, after it, and after each call.
    states: Vec<String>,
    /// The names of the files in the end.
    files: BTreeSet<String>,
    /// How often it calls the system.
    counts: BTreeMap<String, usize>,
}

impl Plan {
    fn of(index: usize) -> Self {
        let operation = &OPERATIONS[index];
        let (states, files) = without_faults(index);
        let place = directory();
        (operation.prepare)(place.path());
        let (output, counts) = strace::count(&child(index, &place), place.path());
        assert_eq!(acknowledged(&output), states.len() - 1, "{output:?}");
        println!("{}: {counts:?}", operation.name);
        Self {
            states,
            files,
            counts,
        }
    }

    /// Every fault, or some of them from all parts.
    fn sample(&self, seed: usize) -> Vec<Injection> {
        let mut all = Vec::new();
        for (call, count) in &self.counts {
            for number in 1..=*count {
                all.extend(strace::faults_of(call).iter().map(|fault| Injection {
                    fault: *fault,
                    call: call.clone(),
                    number,
                }));
            }
        }
        let (is_thorough, is_long) = (
            env::var_os("CLOUDLESS_ACCEPTANCE").is_some(),
            all.len() > EVERY,
        );
        let wanted = match (is_thorough, is_long) {
            (false, false) => SAMPLE,
            (false, true) => SAMPLE_OF_MANY,
            (true, false) => EVERY,
            (true, true) => EVERY / 10,
        };
        let step = all.len().div_ceil(wanted);
        all.into_iter().skip(seed % step).step_by(step).collect()
    }

    fn check(&self, index: usize, injection: &Injection) {
        let operation = &OPERATIONS[index];
        let place = directory();
        (operation.prepare)(place.path());
        let known = incarnations(&database(&place));
        let output = strace::inject(&child(index, &place), place.path(), injection);
        let acknowledged = acknowledged(&output);
        let said = String::from_utf8_lossy(&output.stdout);
        let context = format!(
            "{}: {injection:?}\n{said}\n{}",
            operation.name,
            String::from_utf8_lossy(&output.stderr)
        );
        let last = self.states.len() - 1;
        match injection.fault {
            Fault::Kill => assert!(was_killed(&output) || acknowledged == last, "{context}"),
            Fault::FullForGood => assert!(output.status.success(), "{context}"),
            _ => assert!(output.status.success() && acknowledged == last, "{context}"),
        }
        if injection.is_of_writing() {
            assert!(!said.contains("unreadable"), "{context}");
        }
        if injection.is_full() {
            assert!(!said.contains("full: Some(false)"), "{context}");
        }

        // A database that was closed in an emergency is repaired by opening it.
        let found = dump(&database(&place));
        let forgets = operation.name == REFUSED && injection.is_full() && acknowledged == last;
        let first = acknowledged - usize::from(forgets);
        let allowed = &self.states[first..=(acknowledged + 1).min(last)];
        let at = allowed.iter().position(|state| *state == found);
        let Some(at) = at else {
            panic!("{context}\n{}", difference(&allowed[0], &found));
        };
        // Without that file the first migration cannot tell whether the database is still the same.
        if injection.is_of_writing() && !said.contains("store.generation") {
            assert!(
                known.is_subset(&incarnations(&database(&place))),
                "{context}"
            );
        }
        self.check_copies(&place);
        // Whole, and nobody was told.
        let _ = fs::remove_file(place.path().join(BACKUP));

        let store = Store::open(place.path()).unwrap();
        for call in &operation.calls[(first + at).saturating_sub(1)..] {
            let at = Place {
                store: &store,
                directory: place.path(),
            };
            call(&at).unwrap_or_else(|error| panic!("{context}\n{error:?}"));
        }
        check_agreement(&store);
        drop(store);
        let found = dump(&database(&place));
        assert!(
            found == self.states[last],
            "{context}\n{}",
            difference(&self.states[last], &found)
        );
        self.check_copies(&place);
        let but_backup = |mut files: BTreeSet<String>| {
            files.remove(BACKUP);
            files
        };
        let (found, expected) = (files(&place), self.files.clone());
        assert_eq!(but_backup(found), but_backup(expected), "{context}");
    }

    /// Each copy of the database is whole.
    fn check_copies(&self, place: &TempDir) {
        for name in files(place) {
            let is_copy = name.contains(".before-version-") || name == BACKUP;
            if is_copy && !name.contains(".partial") {
                assert!(dump(&place.path().join(&name)) == self.states[0], "{name}");
            }
        }
    }
}

impl Injection {
    fn is_of_writing(&self) -> bool {
        self.fault != Fault::Unreadable && self.call != "openat"
    }

    /// Whether the caller must learn that the disk is full.
    fn is_full(&self) -> bool {
        let full = matches!(self.fault, Fault::Full | Fault::FullForGood | Fault::Short);
        full && self.call == "pwrite64"
    }
}

/// The states of the database: before the opening, after it, and after each call; and the names of
/// the files in the end.
fn without_faults(index: usize) -> (Vec<String>, BTreeSet<String>) {
    let operation = &OPERATIONS[index];
    let place = directory();
    (operation.prepare)(place.path());
    let mut states = vec![dump(&database(&place))];
    let store = Store::open(place.path()).unwrap();
    states.push(dump(&database(&place)));
    for call in operation.calls {
        let at = Place {
            store: &store,
            directory: place.path(),
        };
        call(&at).unwrap();
        states.push(dump(&database(&place)));
    }
    check_agreement(&store);
    drop(store);
    assert_eq!(states.last(), Some(&dump(&database(&place))));
    (states, files(&place))
}

fn strace_is_usable() -> bool {
    let is_usable = strace::is_usable();
    if !is_usable {
        eprintln!("NOT TESTED: faults at each step of a write, because strace cannot be used here");
        assert!(env::var_os("CI").is_none(), "faults must be tested");
    }
    is_usable
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

fn difference(expected: &str, found: &str) -> String {
    let (expected, found): (BTreeSet<_>, BTreeSet<_>) =
        (expected.lines().collect(), found.lines().collect());
    let lines = |set: Vec<&&str>| {
        set.iter()
            .map(|line| format!("{line:.200}\n"))
            .collect::<String>()
    };
    format!(
        "missing:\n{}too much:\n{}",
        lines(expected.difference(&found).collect()),
        lines(found.difference(&expected).collect())
    )
}
