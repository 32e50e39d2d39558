use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tempfile::TempDir;

use super::{LaterWork, QUEUE, Writer};
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
fn whoever_finds_the_writer_free_writes_on_the_spot() {
    let (directory, writer) = start();
    let caller = thread::current().id();
    let written_by = writer.write(false, |_| Ok(thread::current().id())).unwrap();
    assert_eq!(written_by, caller);
    insert(&writer, 1).recv().unwrap().unwrap();
    assert_eq!(numbers(&directory.path().join("test.sqlite")), [1]);
}

/// The one that writes on the spot takes those along that come meanwhile, and leaves none of those
/// that come later.
#[test]
fn jobs_that_come_while_another_is_written_on_the_spot_are_written_too() {
    let (directory, writer) = start();
    let (started, start) = channel();
    let (opener, gate) = channel::<()>();
    let path = directory.path().join("test.sqlite");
    thread::scope(|scope| {
        let writer = &writer;
        let on_the_spot = scope.spawn(move || {
            writer.write(false, move |connection| {
                started.send(()).unwrap();
                gate.recv().unwrap();
                connection.execute("INSERT INTO numbers VALUES (1)", [])
            })
        });
        start.recv().unwrap();
        let seen_outside = {
            let path = path.clone();
            writer.enqueue(false, move |_| Ok(numbers(&path))).unwrap()
        };
        let puts: Vec<_> = (2..=9).map(|n| insert(writer, n)).collect();
        opener.send(()).unwrap();
        on_the_spot.join().unwrap().unwrap();
        assert_eq!(seen_outside.recv().unwrap().unwrap(), []);
        for put in puts {
            put.recv().unwrap().unwrap();
        }
    });
    assert_eq!(numbers(&path).len(), 9);
}

#[test]
fn writers_at_once_lose_nothing() {
    let (directory, writer) = start();
    thread::scope(|scope| {
        for share in 0..8 {
            let writer = &writer;
            scope.spawn(move || {
                for n in 0..50 {
                    let number = share * 50 + n;
                    let inserted = writer.write(false, move |connection| {
                        connection.execute("INSERT INTO numbers VALUES (?1)", [number])
                    });
                    inserted.unwrap();
                }
            });
        }
    });
    assert_eq!(numbers(&directory.path().join("test.sqlite")).len(), 400);
}

#[test]
fn after_a_panic_nothing_more_is_written() {
    let (directory, writer) = start();
    let path = directory.path().join("test.sqlite");
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        writer.write(false, |connection| -> rusqlite::Result<()> {
            connection.execute("INSERT INTO numbers VALUES (1)", [])?;
            panic!("a bug")
        })
    }));
    assert!(panicked.is_err());
    let after = writer.write(false, |_| Ok(()));
    assert!(matches!(after, Err(StoreError::WriterStopped)), "{after:?}");
    drop(writer);
    assert_eq!(numbers(&path), []);
}

#[test]
fn idle_moment_comes_after_each_write_of_any_kind() {
    static MOMENTS: Moments = Moments::new();
    fn later_work(_: &Connection, is_idle: bool) -> rusqlite::Result<bool> {
        MOMENTS.tell(is_idle);
        Ok(false)
    }
    let wait = MOMENTS.start();
    let wait = || while !wait.recv_timeout(Duration::from_secs(30)).unwrap() {};
    let (_directory, writer) = start_with(later_work);
    wait();
    writer.write(false, |_| Ok(())).unwrap();
    wait();
    writer.write_later(|_| Ok(()));
    wait();
}

/// Else a client that never pauses would keep queries slow.
#[test]
fn what_waits_is_done_while_others_write_on_and_on() {
    static MOMENTS: Moments = Moments::new();
    fn later_work(_: &Connection, is_idle: bool) -> rusqlite::Result<bool> {
        MOMENTS.tell(is_idle);
        Ok(false)
    }
    let moments = MOMENTS.start();
    let (_directory, writer) = start_with(later_work);
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut n_moments = 0;
    while n_moments < 3 {
        assert!(Instant::now() < deadline);
        writer.write(false, |_| Ok(())).unwrap();
        n_moments += moments.try_iter().count();
    }
}

/// Tells a test of the moments for what had waited, and whether they are idle ones.
struct Moments(Mutex<Option<Sender<bool>>>);

impl Moments {
    const fn new() -> Self {
        Self(Mutex::new(None))
    }

    fn start(&self) -> Receiver<bool> {
        let (sender, receiver) = channel();
        *self.0.lock().unwrap() = Some(sender);
        receiver
    }

    fn tell(&self, is_idle: bool) {
        let sender = self.0.lock().unwrap();
        // The test may be over.
        let _ = sender.as_ref().unwrap().send(is_idle);
    }
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
    start_with(|_, _| Ok(false))
}

fn start_with(later_work: LaterWork) -> (TempDir, Writer) {
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
        Writer::start(connection, checkpoints, later_work, |_| {}).unwrap(),
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
