//! Where sshd listens for home: on a port that it does not give at once, and on a Unix socket that a
//! new session takes from a dead one.

use std::net::TcpListener;

use rustix::process::{Signal, kill_process};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpStream, UnixStream};

use crate::ssh::home::Home;
use crate::ssh::sshd::{RECIPE, Sshd, free_address};

const CARD: &[u8] = b"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:one\r\nFN:One\r\nEND:VCARD\r\n";

#[tokio::test]
async fn a_port_that_is_in_use_is_asked_for_until_it_is_free_and_the_status_says_so() {
    let Some(sshd) = Sshd::start(RECIPE) else {
        return;
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let forward = taken.local_addr().unwrap();
    let mut home = Home::set_up(&sshd, &forward.to_string(), "");
    home.start();
    let row = home.relay_until(|row| row["state"] == "refused");
    let error = row["error"].as_str().unwrap();
    assert!(
        error.contains(&format!("does not listen at {forward}")),
        "{error}"
    );
    assert!(error.contains("relay doctor --ssh"), "{error}");
    drop(taken);
    home.await_tunnel();
    let accepted = sshd.log().matches("Accepted publickey").count();
    assert!(
        accepted <= 2,
        "home logged in {accepted} times to wait for a port"
    );
    home.phone(forward).connect().await.unwrap();
}

#[tokio::test]
async fn a_session_that_hangs_keeps_its_port_until_it_ends_and_home_says_why() {
    let Some(sshd) = Sshd::start(RECIPE) else {
        return;
    };
    let forward = free_address();
    let mut home = Home::set_up(&sshd, &forward.to_string(), "");
    home.start();
    home.await_tunnel();
    let mut phone = home.phone(forward).connect().await.unwrap();
    assert!(
        phone
            .put("one.vcf", CARD)
            .await
            .unwrap()
            .status
            .is_success()
    );
    let sessions = sshd.sessions();
    assert!(!sessions.is_empty());
    for session in &sessions {
        kill_process(*session, Signal::STOP).unwrap();
    }
    let row = home.relay_until(|row| row["state"] == "refused");
    let error = row["error"].as_str().unwrap();
    assert!(
        error.contains("ClientAliveInterval") && error.contains("dead"),
        "{error}"
    );
    // Home has ended it, which it learns when it wakes.
    for session in &sessions {
        kill_process(*session, Signal::CONT).unwrap();
    }
    home.relay_until(|row| row["state"] == "connected");
    let mut phone = home.phone(forward).connect().await.unwrap();
    assert_eq!(phone.get("one.vcf").await.unwrap().body, CARD);
}

#[tokio::test]
async fn a_unix_socket_is_taken_from_a_session_that_hangs() {
    let Some(sshd) = Sshd::start("StreamLocalBindUnlink yes\n") else {
        return;
    };
    let path = sshd.path("home.sock");
    let mut home = Home::set_up(&sshd, &format!("unix:{}", path.display()), "");
    home.start();
    home.await_tunnel();
    let front = front(path).await;
    let mut phone = home.phone(front).connect().await.unwrap();
    assert!(
        phone
            .put("one.vcf", CARD)
            .await
            .unwrap()
            .status
            .is_success()
    );
    for session in sshd.sessions() {
        kill_process(session, Signal::STOP).unwrap();
    }
    // The session in doubt is replaced while it still hangs.
    let mut tries = 0;
    loop {
        let attempt = async {
            let mut phone = home.phone(front).connect().await.ok()?;
            phone.get("one.vcf").await.ok()
        };
        let patience = std::time::Duration::from_secs(2);
        if let Ok(Some(got)) = tokio::time::timeout(patience, attempt).await {
            assert_eq!(got.body, CARD);
            break;
        }
        tries += 1;
        assert!(tries < 30, "nobody gets through");
    }
}

#[tokio::test]
async fn an_sshd_that_is_started_again_has_home_back_within_two_seconds() {
    let Some(mut sshd) = Sshd::start(RECIPE) else {
        return;
    };
    let forward = free_address();
    let mut home = Home::set_up(&sshd, &forward.to_string(), "");
    home.start();
    home.await_tunnel();
    sshd.kill();
    home.relay_until(|row| row["state"] != "connected");
    sshd.restart();
    let begun = std::time::Instant::now();
    let took = loop {
        if home.phone(forward).connect().await.is_ok() {
            break begun.elapsed();
        }
        assert!(begun.elapsed().as_secs() < 60, "home does not come back");
    };
    println!(
        "MEASURED sshd killed and started again: {:.2} s",
        took.as_secs_f64()
    );
    assert!(took.as_secs_f64() < 2.0, "{took:?}");
}

/// A proxy as HAProxy or nginx would be, from a port to the socket.
pub(super) async fn front(path: std::path::PathBuf) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut joined = tokio::task::JoinSet::new();
        while let Ok((mut visitor, _)) = listener.accept().await {
            let path = path.clone();
            joined.spawn(async move {
                let visitor: &mut TcpStream = &mut visitor;
                if let Ok(mut home) = UnixStream::connect(path).await {
                    let _ = copy_bidirectional(visitor, &mut home).await;
                }
            });
        }
    });
    address
}
