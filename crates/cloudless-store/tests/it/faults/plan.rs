//! What an operation does without faults, and what may be found after one.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use cloudless_store::Store;
use tempfile::TempDir;

use super::operations::{BACKUP, OPERATIONS, REFUSED};
use super::place::Place;
use super::state::{check_agreement, dump, incarnations};
use super::strace::{self, Fault, Injection, was_killed};
use super::{STORES, acknowledged, child, database, directory, files, prepare};

/// Faults for each operation, spread over all of its steps.
const SAMPLE: usize = 24;
/// Every step is tried in `cargo xtask acceptance`, but not when that takes more runs than this.
const EVERY: usize = 2_000;
/// An operation that takes longer has a tenth of the faults.
const LONG: Duration = Duration::from_millis(400);

/// What an operation does without faults.
pub(super) struct Plan {
    /// The states of the database: before the opening, after it, and after each call.
    states: Vec<String>,
    /// The names of the files in the end.
    files: BTreeSet<String>,
    /// How often it calls the system.
    counts: BTreeMap<String, usize>,
    took: Duration,
}

impl Plan {
    pub(super) fn of(index: usize) -> Self {
        let operation = &OPERATIONS[index];
        let (states, files) = without_faults(index);
        let place = directory();
        prepare(operation, &place);
        let start = Instant::now();
        let (output, counts) = strace::count(&child(index, &place), place.path());
        assert_eq!(acknowledged(&output), states.len() - 1, "{output:?}");
        println!("{}: {counts:?}", operation.name);
        Self {
            states,
            files,
            counts,
            took: start.elapsed(),
        }
    }

    /// Every fault, or some of them from all parts.
    pub(super) fn sample(&self, seed: usize) -> Vec<Injection> {
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
        let mut wanted = match env::var_os("CLOUDLESS_ACCEPTANCE") {
            Some(_) => EVERY,
            None => SAMPLE,
        };
        if self.took > LONG {
            wanted /= 10;
        }
        let step = all.len().div_ceil(wanted);
        all.into_iter().skip(seed % step).step_by(step).collect()
    }

    pub(super) fn check(&self, index: usize, injection: &Injection) {
        let operation = &OPERATIONS[index];
        let place = directory();
        prepare(operation, &place);
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

        let open = STORES.read().unwrap_or_else(PoisonError::into_inner);
        let store = Store::open(place.path()).unwrap();
        for call in &operation.calls[(first + at).saturating_sub(1)..] {
            let at = Place {
                store: &store,
                directory: place.path(),
            };
            call(&at).unwrap_or_else(|error| panic!("{context}\n{error:?}"));
        }
        check_agreement(&store);
        drop((store, open));
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
        matches!(
            self.fault,
            Fault::Full | Fault::FullForGood | Fault::Quota | Fault::Short
        )
    }
}

/// The states of the database: before the opening, after it, and after each call; and the names of
/// the files in the end.
pub(super) fn without_faults(index: usize) -> (Vec<String>, BTreeSet<String>) {
    let operation = &OPERATIONS[index];
    let place = directory();
    prepare(operation, &place);
    let mut states = vec![dump(&database(&place))];
    let open = STORES.read().unwrap_or_else(PoisonError::into_inner);
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
    drop((store, open));
    assert_eq!(states.last(), Some(&dump(&database(&place))));
    (states, files(&place))
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
