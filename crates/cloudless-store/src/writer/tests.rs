use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use rusqlite::Connection;
use tempfile::TempDir;

use super::{QUEUE, Writer};
use crate::StoreError;
use crate::checkpoint::Checkpoints;

type Answer = Receiver<Result<(), StoreError>>;

#[test]
fn jobs_that_wait_together_share_one_transaction() {
    let (directory, writer) = start();
    let gate = close_gate(&writer);
    let puts: Vec<_> = (1..=8).map(|n| insert(&writer, n)).collect();
    // A reader sees all of the group or nothing, so each job that looks sees all before it and
    // a second connection sees none.
    let path = directory.path().join("test.sqlite");
    let seen_outside = writer.enqueue(false, move |_| Ok(numbers(&path))).unwrap();
    gate.send(()).unwrap();
    assert_eq!(seen_outside.recv().unwrap().unwrap(), []);
    for put in puts {
        put.recv().unwrap().unwrap();
    }
    assert_eq!(numbers(&directory.path().join("test.sqlite")).len(), 8);
}

#[test]
fn failing_job_takes_its_own_writes_back_and_no_other() {
    let (directory, writer) = start();
    let gate = close_gate(&writer);
    let before = insert(&writer, 1);
    let failing = writer
        .enqueue(false, |connection| {
            connection.execute("INSERT INTO numbers VALUES (2)", [])?;
            connection.execute("INSERT INTO missing VALUES (2)", [])
        })
        .unwrap();
    let after = insert(&writer, 3);
    gate.send(()).unwrap();
    assert!(matches!(failing.recv().unwrap(), Err(StoreError::Write(_))));
    before.recv().unwrap().unwrap();
    after.recv().unwrap().unwrap();
    assert_eq!(numbers(&directory.path().join("test.sqlite")), [1, 3]);
}

#[test]
fn job_that_runs_alone_shares_no_transaction() {
    let (directory, writer) = start();
    let gate = close_gate(&writer);
    let before = insert(&writer, 1);
    let path = directory.path().join("test.sqlite");
    let alone = writer
        .enqueue(true, move |connection| {
            assert!(connection.execute("RELEASE job", []).is_err());
            connection.execute("INSERT INTO numbers VALUES (2)", [])?;
            Ok(numbers(&path))
        })
        .unwrap();
    let path = directory.path().join("test.sqlite");
    let after = writer.enqueue(false, move |_| Ok(numbers(&path))).unwrap();
    gate.send(()).unwrap();
    before.recv().unwrap().unwrap();
    assert_eq!(alone.recv().unwrap().unwrap(), [1]);
    assert_eq!(after.recv().unwrap().unwrap(), [1, 2]);
}

/// A savepoint would make a large job slow, and the first one can be undone without.
#[test]
fn first_job_has_no_savepoint_and_takes_back_its_own_writes_all_the_same() {
    let (directory, writer) = start();
    let (open, gate) = channel::<()>();
    let failing = writer
        .enqueue(false, move |connection| {
            connection.execute("INSERT INTO numbers VALUES (1)", [])?;
            gate.recv().unwrap();
            assert!(connection.execute("RELEASE job", []).is_err());
            connection.execute("INSERT INTO missing VALUES (1)", [])
        })
        .unwrap();
    let after = insert(&writer, 2);
    open.send(()).unwrap();
    assert!(matches!(failing.recv().unwrap(), Err(StoreError::Write(_))));
    after.recv().unwrap().unwrap();
    assert_eq!(numbers(&directory.path().join("test.sqlite")), [2]);
}

#[test]
fn failing_commit_fails_every_job_of_its_group() {
    let (directory, writer) = start();
    let gate = close_gate(&writer);
    let before = insert(&writer, 1);
    let spoiler = writer
        .enqueue(false, |connection| {
            connection.execute("INSERT INTO orphans VALUES (99)", [])
        })
        .unwrap();
    let after = insert(&writer, 2);
    gate.send(()).unwrap();
    for answer in [
        before.recv().unwrap(),
        after.recv().unwrap(),
        spoiler.recv().unwrap().map(drop),
    ] {
        assert!(matches!(answer, Err(StoreError::Commit(_))), "{answer:?}");
    }
    assert_eq!(numbers(&directory.path().join("test.sqlite")), []);

    insert(&writer, 3).recv().unwrap().unwrap();
    assert_eq!(numbers(&directory.path().join("test.sqlite")), [3]);
}

#[test]
fn transaction_lost_half_way_fails_the_jobs_before_and_runs_those_after_anew() {
    let (directory, writer) = start();
    let gate = close_gate(&writer);
    let before = insert(&writer, 1);
    let spoiler = writer
        .enqueue(false, |connection| {
            connection.execute("INSERT OR ROLLBACK INTO numbers VALUES (1)", [])
        })
        .unwrap();
    let after = insert(&writer, 2);
    gate.send(()).unwrap();
    assert!(matches!(before.recv().unwrap(), Err(StoreError::Commit(_))));
    assert!(matches!(spoiler.recv().unwrap(), Err(StoreError::Write(_))));
    after.recv().unwrap().unwrap();
    assert_eq!(numbers(&directory.path().join("test.sqlite")), [2]);
}

#[test]
fn dropping_the_writer_finishes_the_queue() {
    let (directory, writer) = start();
    let gate = close_gate(&writer);
    let puts: Vec<_> = (1..100).map(|n| insert(&writer, n)).collect();
    gate.send(()).unwrap();
    drop(writer);
    for put in puts {
        put.try_recv().unwrap().unwrap();
    }
    assert_eq!(numbers(&directory.path().join("test.sqlite")).len(), 99);
}

#[test]
fn minor_write_is_skipped_rather_than_waited_for() {
    let (directory, writer) = start();
    let gate = close_gate(&writer);
    let puts: Vec<_> = (0..QUEUE)
        .map(|n| insert(&writer, i64::try_from(n).unwrap()))
        .collect();
    writer.write_later(|connection| {
        connection
            .execute("INSERT INTO numbers VALUES (-1)", [])
            .map(drop)
    });
    gate.send(()).unwrap();
    for put in puts {
        put.recv().unwrap().unwrap();
    }
    drop(writer);
    assert!(!numbers(&directory.path().join("test.sqlite")).contains(&-1));
}

fn start() -> (TempDir, Writer) {
    let directory = tempfile::tempdir().unwrap();
    let mut connection = Connection::open(directory.path().join("test.sqlite")).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA foreign_keys = ON;
             CREATE TABLE numbers (n INTEGER PRIMARY KEY);
             CREATE TABLE orphans (
                 n INTEGER REFERENCES numbers (n) DEFERRABLE INITIALLY DEFERRED
             );",
        )
        .unwrap();
    let checkpoints = Checkpoints::take_over(&mut connection).unwrap();
    (
        directory,
        Writer::start(connection, checkpoints, |_| Ok(false), |_| {}).unwrap(),
    )
}

/// Holds the writer up until something is sent: everything queued
/// meanwhile comes into one group.
fn close_gate(writer: &Writer) -> Sender<()> {
    let (opener, gate) = channel();
    let (started, start) = channel();
    writer
        .enqueue(false, move |_| {
            started.send(()).unwrap();
            gate.recv().unwrap();
            Ok(())
        })
        .unwrap();
    start.recv().unwrap();
    opener
}

fn insert(writer: &Writer, n: i64) -> Answer {
    writer
        .enqueue(false, move |connection| {
            connection
                .execute("INSERT INTO numbers VALUES (?1)", [n])
                .map(drop)
        })
        .unwrap()
}

/// What another connection sees.
fn numbers(path: &Path) -> Vec<i64> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection
        .prepare("SELECT n FROM numbers ORDER BY n")
        .unwrap();
    let numbers = statement.query_map([], |row| row.get(0)).unwrap();
    numbers.collect::<Result<_, _>>().unwrap()
}
