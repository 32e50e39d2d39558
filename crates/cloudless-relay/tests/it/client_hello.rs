//! ClientHellos of real clients, cut in every way that networks and stacks cut them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{HOME_NAME, HomeKey, TestRelay, Visitor, client_hello};

#[tokio::test(flavor = "multi_thread")]
async fn hellos_in_many_segments_arrive_whole() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    for hello in hellos() {
        for segment_len in [1, 5, 6, 100, 1448] {
            let mut visitor = Visitor::connect(relay.address()).await;
            for segment in hello.chunks(segment_len) {
                visitor.send(segment).await;
            }
            home.accept(&hello).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hellos_in_many_records_arrive_byte_for_byte() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    for hello in hellos() {
        let name_at = hello
            .windows(HOME_NAME.len())
            .position(|it| it == HOME_NAME.as_bytes());
        let in_the_name = name_at.unwrap() - RECORD_HEADER_LEN + 4;
        for fragment_len in [3, 64, in_the_name] {
            let hello = in_records(&hello, fragment_len);
            let mut visitor = Visitor::connect(relay.address()).await;
            visitor.send(&hello).await;
            home.accept(&hello).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_and_a_trailing_dot_do_not_matter() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let hello = client_hello(HOME_NAME);
    let at = hello
        .windows(HOME_NAME.len())
        .position(|it| it == HOME_NAME.as_bytes())
        .unwrap();
    let mut upper = hello;
    upper[at..at + HOME_NAME.len()].make_ascii_uppercase();
    let mut visitor = Visitor::connect(relay.address()).await;
    visitor.send(&upper).await;
    home.accept(&upper).await;
}

const RECORD_HEADER_LEN: usize = 5;

/// The handshake message of a hello in one record, in records of at most `fragment_len`.
fn in_records(hello: &[u8], fragment_len: usize) -> Vec<u8> {
    let (header, message) = hello.split_at(RECORD_HEADER_LEN);
    let mut records = Vec::new();
    for fragment in message.chunks(fragment_len) {
        records.extend(&header[..3]);
        records.extend(u16::try_from(fragment.len()).unwrap().to_be_bytes());
        records.extend(fragment);
    }
    records
}

/// Captured hellos for [`HOME_NAME`], and one made here.
fn hellos() -> Vec<Vec<u8>> {
    let mut hellos = vec![client_hello(HOME_NAME)];
    let directory = corpus();
    match fs::read_dir(&directory) {
        Ok(files) => {
            let paths = files.map(|file| file.unwrap().path());
            let named = paths.filter(|path| !path.to_string_lossy().contains("no_server_name"));
            hellos.extend(named.map(|path| fs::read(path).unwrap()));
            assert!(hellos.len() > 5, "{} lost its files", directory.display());
        }
        Err(error) if std::env::var_os("CI").is_none() => {
            let directory = directory.display();
            eprintln!(
                "MISSING: no captured hellos in {directory} ({error}): testing one made here"
            );
        }
        Err(error) => panic!("no captured hellos in {}: {error}", directory.display()),
    }
    hellos
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/clienthello")
}

over_ipv6! {
    hellos_in_many_segments_arrive_whole,
    hellos_in_many_records_arrive_byte_for_byte,
    case_and_a_trailing_dot_do_not_matter,
}
