//! Visitors that go through a real sshd before they are done: none of them may stay in home.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::bulk::passing_through;
use crate::ssh::home::Home;
use crate::ssh::sshd::{RECIPE, Sshd, free_address};

const PATIENCE: Duration = Duration::from_secs(60);
/// Those who knock at the same time.
const CROWD: usize = 50;

/// sshd tells of their end in two ways, the first of which is that of a visitor who goes on listening.
#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_that_breaks_off_a_download_ends_it_at_the_server_too() {
    let Some(sshd) = Sshd::start(RECIPE) else {
        return;
    };
    let forward = free_address();
    let (home, listener, hello) = passing_through(&sshd, forward).await;
    for resets in [false, true] {
        let mut visitor = TcpStream::connect(forward).await.unwrap();
        visitor.write_all(&hello).await.unwrap();
        let accepted = timeout(PATIENCE, listener.accept()).await.unwrap();
        let (mut server, _) = accepted.unwrap();
        server.read_exact(&mut vec![0; hello.len()]).await.unwrap();
        visitor.shutdown().await.unwrap();
        if resets {
            SockRef::from(&visitor)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        }
        let mut visitor = Some(visitor);
        let (mut n_sent, mut chunk) = (0, [1; 64 * 1024]);
        let endless = async {
            while server.write_all(&chunk).await.is_ok() {
                n_sent += chunk.len();
                if n_sent > 1024 * 1024
                    && let Some(mut visitor) = visitor.take()
                {
                    // It has taken some of it, and goes with the rest on its way.
                    visitor.read_exact(&mut chunk).await.unwrap();
                }
            }
        };
        let ended = timeout(PATIENCE, endless).await;
        ended.expect("the server hears that its visitor is gone");
        home.relay_until(|row| row["visitors_now"] == 0);
    }
}

/// An SSH session may go on for months.
#[tokio::test(flavor = "multi_thread")]
async fn visitors_that_end_first_leave_nothing_in_home() {
    let Some(sshd) = Sshd::start(RECIPE) else {
        return;
    };
    let forward = free_address();
    let mut home = Home::set_up(&sshd, &forward.to_string(), "");
    home.start();
    home.await_tunnel();
    // As many as it takes for all that stays.
    knock(forward, 1_000).await;
    home.relay_until(|row| row["visitors_now"] == 0);
    let before = anonymous_kib(&home);
    let n = 4_000;
    knock(forward, n).await;
    home.relay_until(|row| row["visitors_now"] == 0);
    let after = anonymous_kib(&home);
    // The library keeps 3 KiB of each channel that home closes first.
    let growth_max = n as u64;
    let growth = after.saturating_sub(before);
    assert!(growth < growth_max, "{before} KiB, and then {after}");
}

/// So many visitors say what is no TLS, and end.
async fn knock(address: SocketAddr, n: usize) {
    for _ in 0..n / CROWD {
        let mut crowd = JoinSet::new();
        for _ in 0..CROWD {
            crowd.spawn(async move {
                let mut visitor = TcpStream::connect(address).await.unwrap();
                visitor.write_all(b"x").await.unwrap();
                visitor.shutdown().await.unwrap();
                // A reset is an end as well.
                let _ = visitor.read_to_end(&mut Vec::new()).await;
            });
        }
        timeout(PATIENCE, crowd.join_all()).await.unwrap();
    }
}

fn anonymous_kib(home: &Home) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", home.role().pid())).unwrap();
    let anonymous = status.lines().find_map(|it| it.strip_prefix("RssAnon:"));
    let anonymous = anonymous.unwrap().trim().trim_end_matches(" kB");
    anonymous.parse().unwrap()
}
