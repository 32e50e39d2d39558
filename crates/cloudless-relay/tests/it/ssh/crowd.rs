//! A thousand SSH clients that come back at once, as after a restart of the relay.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloudless_proto::ssh::Fingerprint;
use russh::client::AuthResult;
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg};
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{SshHome, TestRelay, Visitor, ssh_key_of};

const N_HOMES: u16 = 1_000;
/// What is asked.
const ALL_MAX: Duration = Duration::from_secs(15);
/// Beyond so many dials of each it is a storm.
const DIALS_MAX: usize = 3;
/// `ConnectTimeout` in the command that `relay allow-ssh` prints.
const DIAL_MAX: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_homes_at_once_are_served_soon_and_make_no_storm() {
    let directory = TempDir::new().unwrap();
    let mut homes = String::new();
    for number in 0..N_HOMES {
        let key = Fingerprint::of(&key(number).public_key().to_bytes().unwrap());
        let _ = writeln!(
            homes,
            "[[home]]\nhostname = \"{}\"\nkey = \"{key}\"\njoined = 2026-01-01T00:00:00Z\n",
            name(number)
        );
    }
    std::fs::write(directory.path().join("homes.toml"), homes).unwrap();
    let relay = TestRelay::start_on(directory, |config| config.limits.sessions = 2_000).await;

    let begun = Instant::now();
    let mut dialing = JoinSet::new();
    for number in 0..N_HOMES {
        let relay = relay.ssh;
        dialing.spawn(async move {
            let (home, n_dials) = come_back(relay, number).await;
            (home, n_dials, begun.elapsed())
        });
    }
    let mut homes = Vec::new();
    let mut times = Vec::new();
    let mut n_all = 0;
    while let Some(back) = dialing.join_next().await {
        let (home, n_dials, time) = back.unwrap();
        homes.push(home);
        times.push(time);
        n_all += n_dials;
    }
    let (half, all) = (times[times.len() / 2], times[times.len() - 1]);
    println!("MEASURED {N_HOMES} SSH homes: half in {half:.1?}, all in {all:.1?}, {n_all} dials");
    assert!(all <= ALL_MAX, "{all:?}");
    assert!(n_all <= DIALS_MAX * homes.len(), "{n_all} dials");

    let status = relay.status().await;
    assert_eq!(status.totals.sessions_now, u64::from(N_HOMES));
    // The last one is served, whoever that is.
    let (_visitor, hello) = Visitor::hello(relay.address(), &name(N_HOMES - 1)).await;
    let mut forwarded = loop {
        let mut homes = homes.iter_mut();
        if let Some(home) = homes.find(|home| !home.visitors.is_empty()) {
            break home.visitor().await;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(forwarded.connected, (name(N_HOMES - 1), 443));
    forwarded.expect(&hello).await;
}

fn name(number: u16) -> String {
    format!("home-{number}.example.test")
}

fn key(number: u16) -> PrivateKey {
    let mut seed = [7; 32];
    seed[..2].copy_from_slice(&number.to_le_bytes());
    ssh_key_of(&seed)
}

/// Dials as autossh does, at once after each failure; also returns how often.
async fn come_back(relay: SocketAddr, number: u16) -> (SshHome, usize) {
    for n_dials in 1.. {
        if let Ok(Some(home)) = timeout(DIAL_MAX, publish(relay, number)).await {
            return (home, n_dials);
        }
    }
    unreachable!()
}

async fn publish(relay: SocketAddr, number: u16) -> Option<SshHome> {
    let [high, low] = number.to_be_bytes();
    let socket = TcpSocket::new_v4().unwrap();
    // Each has an address of its own.
    let own = Ipv4Addr::new(127, 1, high, low);
    socket.bind((own, 0).into()).unwrap();
    let mut home = SshHome::over(socket.connect(relay).await.ok()?)
        .await
        .ok()?;
    let key = PrivateKeyWithHashAlg::new(Arc::new(key(number)), None);
    let login = home.handle.authenticate_publickey("relay", key).await;
    let Ok(AuthResult::Success) = login else {
        return None;
    };
    home.handle.tcpip_forward(name(number), 443).await.ok()?;
    Some(home)
}
