//! What home and relay no longer need is in their memory no more: passwords and join codes.

use std::collections::BTreeSet;
use std::path::Path;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval};

use super::process::Paused;
use super::scanner::Scanner;
use super::{Canaries, LARGE, PATIENCE, POLL_INTERVAL, assert_has, await_in_home, can_look};
use crate::binary;
use crate::pair::{HOSTNAME, Pair};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_in_homes_memory_while_it_is_used_and_no_longer() {
    if !can_look() {
        return;
    }
    let canaries = Canaries::new();
    let pair = Pair::start();
    // One more device, whose password home makes while it runs.
    let home = pair.folder("home");
    let added = run(&home, &["device", "add", "me", "tablet", "--json"]);
    let added: Value = serde_json::from_str(&added).unwrap();
    let fresh = added["password"].as_str().unwrap();
    await_gone(pair.home_pid(), &scanner(&[("password", fresh)])).await;

    let password = scanner(&[("password", pair.password())]);
    for phone in [pair.phone(), pair.phone().over_http2()] {
        let mut connection = phone.connect().await.unwrap();
        let card = canaries.card("small", 300);
        let put = connection.put("small.vcf", &card).await.unwrap();
        assert!(put.status.is_success(), "{put:?}");
        drop(connection);
    }
    let card = canaries.card("many", LARGE);
    let upload = pair.phone().begin_put("many.vcf", &card, LARGE / 2).await;
    await_in_home(&pair, &password, &["password as base64"]).await;

    drop(upload);
    await_gone(pair.home_pid(), &password).await;
    run(&home, &["device", "revoke", "me", "phone"]);
    await_gone(pair.home_pid(), &password).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_code_is_not_in_the_relays_memory_once_it_was_told_or_redeemed() {
    if !can_look() {
        return;
    }
    let pair = Pair::start();
    let code = run(&pair.folder("relay"), &["relay", "invite", "second.test"]);
    let code = code.trim();
    let encoded = code.split_once('-').unwrap().1.to_ascii_uppercase();
    let payload = BASE32_NOPAD.decode(encoded.as_bytes()).unwrap();
    let secret = payload[8..24].to_vec();
    // As it was told, and as a home redeems it. Its 16 bytes may be on a stack for a while.
    let secrets = scanner(&[("code", &code[..60]), ("secret", &HEXLOWER.encode(&secret))]);
    await_gone(pair.relay_pid(), &secrets).await;
    let home = pair.folder("second");
    run(&home, &["home", "join", code, "--local", "127.0.0.1:0"]);
    await_gone(pair.relay_pid(), &secrets).await;
    // The hash of a secret and the name that it was for are no secret.
    let known = scanner(&[("name", "second.test")]);
    let relay = Paused::new(pair.relay_pid()).memory(&known);
    assert_has(&relay, "name as raw bytes");
}

/// A program that is told `http://` by mistake says its password in clear text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_said_on_the_plain_port_is_not_kept() {
    if !can_look() {
        return;
    }
    let pair = Pair::start();
    let password = scanner(&[("password", pair.password())]);
    let host = format!("GET / HTTP/1.1\r\nHost: {HOSTNAME}\r\nX-Password: ");
    let head = format!("{host}{}\r\n", pair.password());
    let mut client = TcpStream::connect(pair.relay_http_address()).await.unwrap();
    client.write_all(head.as_bytes()).await.unwrap();
    let mut looks = interval(POLL_INTERVAL);
    let start = Instant::now();
    while Paused::new(pair.relay_pid()).memory(&password) == BTreeSet::new() {
        assert!(start.elapsed() < PATIENCE, "the relay has nothing of it");
        looks.tick().await;
    }
    client.write_all(b"\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
    await_gone(pair.relay_pid(), &password).await;
}

fn scanner(secrets: &[(&str, &str)]) -> Scanner {
    let secrets = secrets.iter();
    let secrets = secrets.map(|(name, it)| ((*name).to_owned(), it.as_bytes().to_vec()));
    Scanner::new(&secrets.collect())
}

/// Waits until a process has forgotten all of it: a connection that its other side has left is closed
/// a moment later.
async fn await_gone(pid: u32, secrets: &Scanner) {
    let mut looks = interval(POLL_INTERVAL);
    let start = Instant::now();
    loop {
        looks.tick().await;
        let found = Paused::new(pid).memory(secrets);
        if found == BTreeSet::new() {
            return;
        }
        assert!(start.elapsed() < PATIENCE / 4, "it still has {found:#?}");
    }
}

fn run(state: &Path, arguments: &[&str]) -> String {
    binary::on(state, arguments).expect(0).stdout
}
