//! How the kernel sends on the relay's sockets, as it tells `ss`.

#![cfg(target_os = "linux")]

use std::net::SocketAddr;
use std::process::Command;

use crate::support::{HOME_NAME, HomeKey, TestRelay, Tunnel, Visitor};

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_sends_by_bbr_and_a_visitor_by_the_default() {
    if !is_bbr_here() {
        eprintln!("NOT TESTED: BBR, because this machine lets nobody choose it");
        return;
    }
    let relay = TestRelay::start().await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    for (epoch, address) in (1..).zip(relay.https) {
        let mut home = Tunnel::online(address, HomeKey(1), epoch).await;
        let (mut visitor, hello) = Visitor::hello(address, HOME_NAME).await;
        let mut stream = home.accept(&hello).await;
        // A visitor that was never answered would be brought to the next home too.
        stream.send(b"answer").await.unwrap();
        visitor.expect(b"answer").await;
        let Some(mut used) = congestion_controls(address) else {
            return;
        };
        used.sort();
        assert_eq!(used, ["bbr", "reno"], "{address}");
    }
}

fn is_bbr_here() -> bool {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    socket.unwrap().set_tcp_congestion(b"bbr").is_ok()
}

/// What each connection of this listener sends by; `None`, said aloud, without `ss`.
fn congestion_controls(listener: SocketAddr) -> Option<Vec<String>> {
    let port = listener.port();
    let filter = format!("sport = :{port}");
    let output = Command::new("ss")
        .args(["-tinH", "state", "established", &filter])
        .output();
    let output = match output {
        Ok(output) => String::from_utf8(output.stdout).unwrap(),
        Err(error) if std::env::var_os("CI").is_none() => {
            eprintln!("MISSING: ss ({error}): nobody tells what the sockets send by");
            return None;
        }
        Err(error) => panic!("ss, which is part of iproute2, is missing: {error}"),
    };
    // Each connection is one line with its addresses and an indented one that begins so.
    let details = output.lines().filter(|line| line.starts_with('\t'));
    let name = |line: &str| line.split_whitespace().next().unwrap().to_owned();
    Some(details.map(name).collect())
}
