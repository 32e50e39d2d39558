//! Much through a real sshd: each byte of it, each end, and what becomes of whoever sends faster than a
//! server behind home reads.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::acme::pebble::identity;
use crate::client::Client;
use crate::pattern;
use crate::ssh::home::Home;
use crate::ssh::sshd::{RECIPE, Sshd, free_address};
use crate::upstreams::backpressure::accept;

const MIB: usize = 1024 * 1024;
/// More than any window, and less than home keeps of what nobody has read.
const LARGE: usize = 40 * MIB;
/// What all visitors of a session together may leave unread.
const UNREAD_MAX: usize = 64 * MIB;
const PATIENCE: Duration = Duration::from_secs(120);

fn upstream(path: &str, listener: &TcpListener) -> String {
    let address = listener.local_addr().unwrap();
    format!("[[upstream]]\npath = \"{path}\"\nserver = \"http://{address}\"\n")
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_pass_unchanged() {
    let Some(sshd) = Sshd::start(RECIPE) else {
        return;
    };
    let (forward, listener) = (free_address(), listen().await);
    let mut home = Home::set_up(&sshd, &forward.to_string(), &upstream("/up/", &listener));
    home.start();
    home.await_tunnel();
    let phones = [home.phone(forward), home.phone(forward).over_http2()];
    for (seed, phone) in (1..).zip(phones) {
        let up = Bytes::from(pattern::bytes(seed, LARGE));
        let down = pattern::bytes(seed << 32, LARGE);
        let request = Request::put("/up/x").body(up.clone()).unwrap();
        let at_server = async {
            let mut server = accept(&listener).await;
            let mut got = vec![0; LARGE];
            server.read_exact(&mut got).await.unwrap();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n");
            server.write_all(head.as_bytes()).await.unwrap();
            server.write_all(&down).await.unwrap();
            got
        };
        let exchange = async { tokio::join!(phone.send(request), at_server) };
        let (answer, got) = timeout(PATIENCE, exchange).await.unwrap();
        assert!(got == up, "the server got something else");
        let answer = answer.unwrap();
        assert!(
            answer.status == 200 && answer.body == down,
            "{}",
            answer.status
        );
    }
}

/// A home that passes its visitors through to the listener, and what each of them says first.
pub(super) async fn passing_through(
    sshd: &Sshd,
    forward: SocketAddr,
) -> (Home, TcpListener, Vec<u8>) {
    let listener = listen().await;
    let address = listener.local_addr().unwrap();
    let more = format!("[hostname.\"localhost\"]\npassthrough = \"{address}\"\n");
    let mut home = Home::set_up(sshd, &forward.to_string(), &more);
    home.start();
    home.await_tunnel();
    let folder = tempfile::TempDir::new().unwrap();
    identity(folder.path());
    let hello = Client::through_relay(forward, &folder.path().join("ca.pem"), "").hello();
    (home, listener, hello)
}

/// Who ends first.
#[derive(Clone, Copy, Debug)]
enum First {
    Visitor,
    Server,
    Both,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_passed_through_is_unchanged_and_each_side_ends_for_itself() {
    let Some(sshd) = Sshd::start(RECIPE) else {
        return;
    };
    let forward = free_address();
    let (home, listener, hello) = passing_through(&sshd, forward).await;
    let (up, down) = (pattern::bytes(1, LARGE), pattern::bytes(2, LARGE));
    for first in [First::Visitor, First::Server, First::Both] {
        let mut visitor = TcpStream::connect(forward).await.unwrap();
        visitor.write_all(&hello).await.unwrap();
        let accepted = timeout(PATIENCE, listener.accept()).await.unwrap();
        let (mut server, _) = accepted.unwrap();
        let mut heard = vec![0; hello.len()];
        server.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, hello);
        let at_visitor = talk(&mut visitor, &up, matches!(first, First::Server));
        let at_server = talk(&mut server, &down, matches!(first, First::Visitor));
        let talk = async { tokio::join!(at_visitor, at_server) };
        let (at_visitor, at_server) = timeout(PATIENCE, talk).await.unwrap();
        assert!(at_visitor == down, "{first:?}: {} bytes", at_visitor.len());
        assert!(at_server == up, "{first:?}: {} bytes", at_server.len());
    }
    let row = home.relay_until(|row| row["visitors_now"] == 0);
    let least = (3 * LARGE) as u64;
    assert!(row["bytes_up"].as_u64() >= Some(least), "{row}");
    assert!(row["bytes_down"].as_u64() >= Some(least), "{row}");
}

/// Says all of this and ends, at once or when the other side has ended; returns what came until then.
async fn talk(stream: &mut TcpStream, bytes: &[u8], listens_first: bool) -> Vec<u8> {
    let (mut reader, mut writer) = stream.split();
    let say = async {
        writer.write_all(bytes).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut heard = Vec::new();
    if listens_first {
        reader.read_to_end(&mut heard).await.unwrap();
        say.await;
    } else {
        let ((), read) = tokio::join!(say, reader.read_to_end(&mut heard));
        read.unwrap();
    }
    heard
}

/// SSH cannot tell one visitor alone to wait: see docs/sshd.md.
#[tokio::test(flavor = "multi_thread")]
async fn who_outruns_a_slow_server_is_cut_and_nobody_else() {
    let Some(sshd) = Sshd::start(RECIPE) else {
        return;
    };
    let (forward, slow, other) = (free_address(), listen().await, listen().await);
    let tables = upstream("/slow/", &slow) + &upstream("/other/", &other);
    let mut home = Home::set_up(&sshd, &forward.to_string(), &tables);
    home.start();
    home.await_tunnel();
    let phone = home.phone(forward);

    // One that sends and waits meanwhile.
    let body = pattern::bytes(1, 8 * MIB);
    let (begun, rest) = body.split_at(3 * MIB);
    let mut patient = phone.begin_upload("/other/x", body.len()).await;
    patient.write_all(begun).await.unwrap();
    patient.flush().await.unwrap();
    let mut others_server = timeout(PATIENCE, accept(&other)).await.unwrap();
    let mut got = vec![0; begun.len()];
    others_server.read_exact(&mut got).await.unwrap();

    let mut greedy = phone.begin_upload("/slow/x", 4 * UNREAD_MAX).await;
    let mut slow_server = timeout(PATIENCE, accept(&slow)).await.unwrap();
    let piece = pattern::bytes(2, 64 * 1024);
    let mut sent = 0;
    let sending = async {
        while greedy.write_all(&piece).await.is_ok() {
            sent += piece.len();
        }
    };
    timeout(PATIENCE, sending).await.expect("it is cut");
    println!("cut after {} MiB", sent / MIB);
    assert!(sent > UNREAD_MAX, "cut after {sent} bytes");
    assert!(sent < 2 * UNREAD_MAX, "cut after {sent} bytes");
    // The server that was too slow learns that the rest never comes.
    let mut read = Vec::new();
    let reading = slow_server.read_to_end(&mut read);
    let _ = timeout(PATIENCE, reading).await.expect("it ends");
    assert!(read.len() < sent, "{} of {sent} bytes", read.len());

    // The other one goes on where it was, and a new one comes.
    let at_server = async {
        let mut more = vec![0; rest.len()];
        others_server.read_exact(&mut more).await.unwrap();
        got.extend(more);
        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
        others_server.write_all(answer).await.unwrap();
    };
    let at_phone = async {
        patient.write_all(rest).await.unwrap();
        patient.flush().await.unwrap();
        let mut answer = [0; 12];
        patient.read_exact(&mut answer).await.unwrap();
        answer
    };
    let goes_on = async { tokio::join!(at_phone, at_server) };
    let (answer, ()) = timeout(PATIENCE, goes_on).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 204");
    assert!(got == body, "the server got something else");
    assert_eq!(phone.names().await, Vec::<String>::new());
    let row = home.relay_until(|_| true);
    assert_eq!(row["state"], "connected", "{row}");
    let logins = sshd.log().matches("Accepted publickey").count();
    assert_eq!(logins, 1, "{}", sshd.log());
}
