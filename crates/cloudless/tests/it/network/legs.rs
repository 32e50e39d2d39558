//! A visitor that has left the tunnel for a leg, and a home that leaves the network.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use cloudless_testbed::{Family, RELAY};

use crate::network::machines::{HOSTNAME, Machines};
use crate::network::outages::within;

/// How long a phone may wait for bytes that will not come.
const PROMISE: Duration = Duration::from_secs(30);
/// Between two pieces of what it downloads.
const PACE: Duration = Duration::from_millis(20);

#[test]
fn a_download_on_a_leg_ends_when_home_s_address_is_replaced_over_ipv4() {
    a_download_on_a_leg_ends_when_home_s_address_is_replaced(Family::V4);
}

#[test]
fn a_download_on_a_leg_ends_when_home_s_address_is_replaced_over_ipv6() {
    a_download_on_a_leg_ends_when_home_s_address_is_replaced(Family::V6);
}

/// The relay has nothing to send that home would not acknowledge, and the visitor needs no tunnel.
fn a_download_on_a_leg_ends_when_home_s_address_is_replaced(family: Family) {
    let Some(mut machines) = Machines::start(family) else {
        return;
    };
    let (listening, listens) = sync_channel(1);
    let (stop, stopped) = sync_channel::<()>(0);
    let server = machines.bed.home.spawn(move || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listening.send(listener.local_addr().unwrap()).unwrap();
        dribble(listener.accept().unwrap().0, &stopped);
    });
    let address = listens.recv().unwrap();
    machines.kill_home();
    let file = machines.folder().join("home").join("home.toml");
    let text = fs::read_to_string(&file).unwrap();
    let passed = format!("{text}\n[hostname.\"{HOSTNAME}\"]\npassthrough = \"{address}\"\n");
    fs::write(&file, passed).unwrap();
    machines.start_home();
    machines.await_tunnel();

    let relay = SocketAddr::from((RELAY[family as usize], 443));
    let hello = machines.client(relay).hello();
    let phone = machines.bed.phone.spawn(move || {
        let mut visitor = TcpStream::connect(relay).unwrap();
        visitor.write_all(&hello).unwrap();
        visitor.set_read_timeout(Some(PROMISE * 2)).unwrap();
        let mut buffer = vec![0; 64 * 1024];
        while visitor.read(&mut buffer).is_ok_and(|n| n > 0) {}
    });
    // Before that, the tunnel's end would be the visitor's.
    machines.relay_until(|status| status["homes"][0]["leg_bytes_down"].as_u64() > Some(0));
    machines.bed.move_home();
    let moved = Instant::now();
    phone.join().unwrap();
    let event = "home's address replaced, a download on a leg ends";
    within(PROMISE, event, family, moved.elapsed());
    drop(stop);
    server.join().unwrap();
}

/// Sends without an end, slowly, until the visitor has gone or the test is over.
fn dribble(mut visitor: TcpStream, stopped: &Receiver<()>) {
    let goes_on = || stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout);
    while visitor.write_all(&[7; 16 * 1024]).is_ok() && goes_on() {}
}
