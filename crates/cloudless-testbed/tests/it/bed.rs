//! Each event does what it is named for, over both families.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use cloudless_testbed::{
    Bed, Conditions, Family, HOME_LAN_V6, Namespace, PHONE, RELAY, RELAY_MOVED,
};

use crate::can_run;

/// How long something that should not arrive is waited for.
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(10);
const PORT: u16 = 443;

#[test]
fn home_and_phone_reach_the_relay_and_nobody_reaches_home() {
    if !can_run() {
        return;
    }
    let bed = Bed::new(Conditions::default());
    for family in [Family::V4, Family::V6] {
        let relay = RELAY[family as usize];
        let listener = bind(&bed.relay, relay);
        let (_home, seen) = talk(&bed.home, &listener, relay);
        assert_eq!(
            seen,
            match family {
                Family::V4 => "192.0.2.2".parse::<IpAddr>().unwrap(),
                Family::V6 => HOME_LAN_V6,
            }
        );
        let (_phone, seen) = talk(&bed.phone, &listener, relay);
        assert_eq!(seen, PHONE[family as usize]);
    }
    let _listener = bind(&bed.home, HOME_LAN_V6);
    for stranger in [&bed.relay, &bed.phone] {
        connect(stranger, HOME_LAN_V6, SHORT).unwrap_err();
    }
}

#[test]
fn a_delay_is_felt_and_a_black_hole_swallows_until_it_heals() {
    if !can_run() {
        return;
    }
    let bed = Bed::new(Conditions::default());
    for relay in RELAY {
        bed.internet.set(Conditions {
            delay: Duration::from_millis(20),
            ..Conditions::default()
        });
        let listener = bind(&bed.relay, relay);
        let begun = Instant::now();
        let (mut pair, _) = talk(&bed.home, &listener, relay);
        assert!(begun.elapsed() >= Duration::from_millis(40));
        bed.internet.set(Conditions::BLACK_HOLE);
        assert!(!pair.passes(b"into the dark"));
        connect(&bed.home, relay, SHORT).unwrap_err();
        bed.internet.set(Conditions::default());
        // TCP has sent it again by then.
        assert!(pair.passes_within(b"", b"into the dark", LONG));
    }
}

#[test]
fn a_forgotten_mapping_is_silence_for_the_old_connection_and_nothing_for_a_new_one() {
    if !can_run() {
        return;
    }
    let bed = Bed::new(Conditions::default());
    for relay in RELAY {
        let listener = bind(&bed.relay, relay);
        let (mut old, _) = talk(&bed.home, &listener, relay);
        bed.forget_mappings();
        assert!(!old.passes(b"who am I?"));
        talk(&bed.home, &listener, relay);
    }
}

#[test]
fn home_moves_and_its_old_connections_are_dead() {
    if !can_run() {
        return;
    }
    let bed = Bed::new(Conditions::default());
    let mut old = Vec::new();
    for relay in RELAY {
        let listener = bind(&bed.relay, relay);
        old.push((talk(&bed.home, &listener, relay).0, listener, relay));
    }
    bed.move_home();
    for (mut old, listener, relay) in old {
        assert!(!old.passes(b"from where I was"));
        talk(&bed.home, &listener, relay);
    }
}

#[test]
fn the_relay_moves_and_falls_silent_and_wakes() {
    if !can_run() {
        return;
    }
    let bed = Bed::new(Conditions::default());
    bed.move_relay();
    for (relay, before) in RELAY_MOVED.into_iter().zip(RELAY) {
        let listener = bind(&bed.relay, relay);
        let error = connect(&bed.home, before, SHORT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        bed.silence_relay();
        for other in [&bed.home, &bed.phone] {
            let error = connect(other, relay, SHORT).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        }
        bed.wake_relay();
        talk(&bed.home, &listener, relay);
        // What was given up while the relay was silent may have come through by now.
        talk(&bed.phone, &listener, relay);
    }
}

fn bind(namespace: &Namespace, address: IpAddr) -> TcpListener {
    namespace
        .enter(|| TcpListener::bind((address, PORT)))
        .unwrap()
}

fn connect(namespace: &Namespace, address: IpAddr, patience: Duration) -> io::Result<TcpStream> {
    let address = SocketAddr::from((address, PORT));
    namespace.enter(|| TcpStream::connect_timeout(&address, patience))
}

/// Both ends of a connection.
struct Pair {
    near: TcpStream,
    far: TcpStream,
}

/// Connects and sends a word; also returns whom the listener saw.
fn talk(from: &Namespace, listener: &TcpListener, address: IpAddr) -> (Pair, IpAddr) {
    let near = connect(from, address, LONG).unwrap();
    let local = near.local_addr().unwrap().port();
    let (far, seen) = loop {
        let (far, seen) = listener.accept().unwrap();
        // The router keeps ports where it can, and here it can.
        if seen.port() == local {
            break (far, seen);
        }
    };
    let mut pair = Pair { near, far };
    assert!(pair.passes_within(b"hello", b"hello", LONG));
    (pair, seen.ip())
}

impl Pair {
    fn passes(&mut self, word: &[u8]) -> bool {
        self.passes_within(word, word, SHORT)
    }

    /// Whether `expected` arrives after `word` was sent.
    fn passes_within(&mut self, word: &[u8], expected: &[u8], patience: Duration) -> bool {
        let _ = self.near.write_all(word);
        self.far.set_read_timeout(Some(patience)).unwrap();
        let mut heard = vec![0; expected.len()];
        thread::scope(|scope| {
            scope
                .spawn(|| self.far.read_exact(&mut heard))
                .join()
                .unwrap()
        })
        .is_ok_and(|()| heard == expected)
    }
}
