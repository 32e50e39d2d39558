//! A home whose disk is full or fails, as its clients see it. strace lets single calls of the system
//! fail; each operation of the store with each of its calls is tested with the store itself.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};

use bytes::Bytes;
use http::{Method, Request, StatusCode};

use crate::cards;
use crate::client::{Answer, BOOK, Connection};
use crate::pair::Pair;

/// Tries after which a failure counts as lasting.
const TRIES: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_507_and_writing_goes_on_when_there_is_room() {
    if !can_trace() {
        return;
    }
    let mut pair = Pair::start();
    let mut connection = pair.local_program().connect().await.unwrap();
    let first = cards::small("first");
    let answer = connection.put("first.vcf", &first).await.unwrap();
    assert_eq!(answer.status, StatusCode::CREATED);
    let mut stored = BTreeMap::from([("first.vcf".to_owned(), first)]);
    let disk = FullDisk::of(&pair);
    let refusal = put_until_refused(&mut connection, &mut stored).await;
    let full = StatusCode::INSUFFICIENT_STORAGE;
    assert_eq!(refusal.status, full);
    let said = String::from_utf8_lossy(&refusal.body);
    assert!(said.contains("full"), "{said}");

    // What is there can be read, and stays.
    check(&mut connection, &stored).await;
    let name = &*stored.keys().next().unwrap().clone();
    let listing = pair.local_program().names().await;
    assert_eq!(listing.len(), stored.len());
    let request = Request::delete(format!("{BOOK}{name}")).body(Bytes::new());
    let deleted = connection.send(request.unwrap()).await.unwrap();
    assert_eq!(deleted.status, full);
    let request = Request::builder()
        .method("MKCOL")
        .uri("/dav/addressbooks/me/more/")
        .body(Bytes::new());
    let made = connection.send(request.unwrap()).await.unwrap();
    assert_eq!(made.status, full);
    // An old tag is old: there is no use in trying again later.
    for method in [Method::PUT, Method::DELETE] {
        let status = send_if_match(
            &mut connection,
            method,
            name,
            "\"old\"",
            &cards::small("new"),
        )
        .await;
        assert_eq!(status, StatusCode::PRECONDITION_FAILED);
    }

    disk.make_room();
    put_until_stored(&mut connection, full, &mut stored).await;
    check(&mut connection, &stored).await;
    let log = pair.log("home");
    assert!(log.contains("disk is full"), "{log}");
    assert!(!log.contains("Migrated"), "the store was new: {log}");
    pair.kill_home();
    pair.start_home();
    check(&mut pair.local_program().connect().await.unwrap(), &stored).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_disk_is_500_and_takes_nothing_that_was_acknowledged() {
    let failed = StatusCode::INTERNAL_SERVER_ERROR;
    for fault in [
        "pwrite64:error=EIO:when=150..153",
        "fsync,fdatasync:error=EIO:when=6..8",
    ] {
        refuses_for_a_while(fault, failed).await;
    }
}

/// A file system over a network may say so only at the fsync, and a quota has an error of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn want_of_room_is_507_however_the_system_says_it() {
    for fault in [
        "pwrite64:error=EDQUOT:when=150..153",
        "fsync,fdatasync:error=ENOSPC:when=6..8",
        "fsync,fdatasync:error=EDQUOT:when=6..8",
    ] {
        refuses_for_a_while(fault, StatusCode::INSUFFICIENT_STORAGE).await;
    }
}

/// What was acknowledged before and after is there, also after a new start.
async fn refuses_for_a_while(fault: &str, failed: StatusCode) {
    let Some(mut pair) = with_faults(fault) else {
        return;
    };
    let mut connection = pair.local_program().connect().await.unwrap();
    let mut stored = BTreeMap::new();
    let refusal = put_until_refused(&mut connection, &mut stored).await;
    assert_eq!(refusal.status, failed, "{fault}");
    check(&mut connection, &stored).await;
    put_until_stored(&mut connection, failed, &mut stored).await;
    check(&mut connection, &stored).await;
    pair.kill_home();
    pair.start_home();
    check(&mut pair.local_program().connect().await.unwrap(), &stored).await;
}

/// A running home for whose write-ahead log strace injects these faults; none, and a line that says
/// so, where there is no strace.
///
/// strace counts the calls of each thread by itself.
fn with_faults(injection: &str) -> Option<Pair> {
    if !can_trace() {
        return None;
    }
    let mut pair = Pair::start();
    pair.kill_home();
    let (calls, _) = injection.split_once(':').unwrap();
    let mut strace = Command::new("strace");
    strace
        // The tracer is the grandchild, so that home itself is killed.
        .args(["-D", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null"])
        .arg("-P")
        .arg(pair.folder("home").join("store.sqlite-wal"))
        .args(["-e", &format!("trace={calls}")])
        .args(["-e", &format!("inject={injection}")])
        .arg(env!("CARGO_BIN_EXE_cloudless"));
    pair.start_home_by(strace);
    Some(pair)
}

/// Where it is not so, says that in a line.
fn can_trace() -> bool {
    let mut child = Command::new("sleep").arg("1").spawn().unwrap();
    let strace = Command::new("strace")
        .args(["-o", "/dev/null", "-p", &child.id().to_string()])
        .output();
    let can = strace.is_ok_and(|it| String::from_utf8_lossy(&it.stderr).contains("attached"));
    child.wait().unwrap();
    if !can {
        eprintln!("NOT TESTED: a failing disk, because strace cannot be used here");
        assert!(env::var_os("CI").is_none(), "a failing disk must be tested");
    }
    can
}

/// A disk without room for the write-ahead log of a running home.
struct FullDisk {
    strace: Child,
    /// strace ends when it cannot write to it.
    _said: BufReader<ChildStderr>,
}

impl FullDisk {
    fn of(pair: &Pair) -> Self {
        let mut strace = Command::new("strace")
            .args(["-f", "-o", "/dev/null", "-p", &pair.home_pid().to_string()])
            .arg("-P")
            .arg(pair.folder("home").join("store.sqlite-wal"))
            .args(["-e", "trace=pwrite64", "-e", "inject=pwrite64:error=ENOSPC"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(strace.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("attached") {
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "strace ended");
        }
        Self {
            strace,
            _said: said,
        }
    }

    fn make_room(mut self) {
        let pid = self.strace.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(asked.unwrap().success());
        self.strace.wait().unwrap();
    }
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

/// Puts cards until one is refused, and returns the answer to that one.
async fn put_until_refused(
    connection: &mut Connection,
    stored: &mut BTreeMap<String, Vec<u8>>,
) -> Answer {
    for _ in 0..TRIES {
        let name = format!("{}.vcf", stored.len());
        let card = cards::small(&name);
        let answer = connection.put(&name, &card).await.unwrap();
        if answer.status != StatusCode::CREATED {
            assert!(!stored.is_empty(), "{answer:?}");
            return answer;
        }
        stored.insert(name, card);
    }
    panic!("nothing was refused");
}

/// Puts one more card again and again until it is stored.
async fn put_until_stored(
    connection: &mut Connection,
    refusal: StatusCode,
    stored: &mut BTreeMap<String, Vec<u8>>,
) {
    let card = cards::small("last");
    for _ in 0..TRIES {
        let answer = connection.put("last.vcf", &card).await.unwrap();
        if answer.status == StatusCode::CREATED {
            stored.insert("last.vcf".to_owned(), card);
            return;
        }
        assert_eq!(answer.status, refusal);
    }
    panic!("nothing is stored any more");
}

async fn check(connection: &mut Connection, stored: &BTreeMap<String, Vec<u8>>) {
    for (name, card) in stored {
        let answer = connection.get(name).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{name} was acknowledged");
        assert_eq!(answer.body, card, "{name}");
    }
}

async fn send_if_match(
    connection: &mut Connection,
    method: Method,
    name: &str,
    etag: &str,
    body: &[u8],
) -> StatusCode {
    let request = Request::builder()
        .method(method)
        .uri(format!("{BOOK}{name}"))
        .header("if-match", etag)
        .body(Bytes::copy_from_slice(body));
    connection.send(request.unwrap()).await.unwrap().status
}
