//! Many homes behind one router come back to a relay that was killed, and make no storm.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cloudless_home::Config;
use cloudless_store::Store;
use cloudless_testbed::{Bed, Family, Namespace, RELAY};
use rcgen::{KeyPair, PKCS_ED25519};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tempfile::TempDir;

use crate::network::homes::Homes;
use crate::network::machines::Machines;
use crate::network::outages::within;
use crate::role::Role;

const N_HOMES: usize = 1_000;
/// What is promised.
const ALL_MAX: Duration = Duration::from_secs(15);
/// Beyond so many dials of each it is a storm. `cargo xtask bench relay` asks for 3, of a relay that is
/// built to be fast: a slow one sends more of those away that wait behind one address, and they come
/// again.
const DIALS_MAX: usize = 10;
/// How often it is looked at how many dials there were.
const LOOK: Duration = Duration::from_millis(100);
/// No more of them may fall between two looks. How evenly they fall is tested where dials are planned;
/// here the processors are too few to tell.
const AT_ONCE_MAX: usize = N_HOMES * 9 / 10;

#[test]
fn a_thousand_homes_come_back_and_make_no_storm_over_ipv4() {
    a_thousand_homes_come_back_and_make_no_storm(Family::V4);
}

#[test]
fn a_thousand_homes_come_back_and_make_no_storm_over_ipv6() {
    a_thousand_homes_come_back_and_make_no_storm(Family::V6);
}

fn a_thousand_homes_come_back_and_make_no_storm(family: Family) {
    let keys: Vec<_> = (0..N_HOMES).map(|_| key()).collect();
    let start = |bed: &Bed, state: &Path| {
        fs::write(state.join("homes.toml"), joined(&keys)).unwrap();
        let mut relay = bed.relay.command(env!("CARGO_BIN_EXE_cloudless"));
        relay.env("CLOUDLESS_LOG", "warn");
        Role::start_by(relay, state, "relay").0
    };
    let init = ["--address", &RELAY[family as usize].to_string()];
    let Some(mut machines) = Machines::start_by(family, &init, |_| (), start) else {
        return;
    };
    // Only the crowd is counted.
    machines.kill_home();
    // None of them has a name to make a certificate for, or stores anything.
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let relay = machines.relay();
    let configs = keys.into_iter().map(|key| {
        let state = directory.path().to_owned();
        Config::new(vec![relay.clone()], Vec::new(), key, state)
    });
    let _crowd = Homes::start(&machines.bed.home, configs.collect(), store);
    all_online(&machines);

    machines.kill_relay();
    let dials = Dials::count(&machines.bed.relay);
    machines.start_relay();
    let listening = Instant::now();
    all_online(&machines);
    let took = listening.elapsed();
    let (all, at_once) = dials.end();
    println!("MEASURED {N_HOMES} homes, {family:?}: {all} dials, {at_once} within {LOOK:?}");
    within(ALL_MAX, "a thousand homes come back", family, took);
    assert!(all <= DIALS_MAX * N_HOMES, "{all} dials");
    assert!(at_once <= AT_ONCE_MAX, "{at_once} dials at once");
}

fn key() -> PrivatePkcs8KeyDer<'static> {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    key.serialize_der().into()
}

/// What the relay knows of homes with these keys.
fn joined(keys: &[PrivatePkcs8KeyDer<'static>]) -> String {
    let mut homes = String::new();
    for (number, key) in keys.iter().enumerate() {
        let key = cloudless_relay::public_key(key).unwrap();
        let _ = writeln!(
            homes,
            "[[home]]\nhostname = \"home-{number}.example.test\"\nkey = \"{key}\"\n\
             joined = 2026-01-01T00:00:00Z\n"
        );
    }
    homes
}

/// Blocks until the relay says that all are online.
fn all_online(machines: &Machines) {
    machines.relay_until(|status| {
        let homes = status["homes"].as_array().unwrap();
        let n_online = homes.iter().filter(|it| it["online"] == true).count();
        if n_online < N_HOMES {
            // To ask takes time that they want.
            machines.relay_is_quiet_for(LOOK * 2);
        }
        n_online == N_HOMES
    });
}

/// Counts the connections that a machine's listeners have taken.
struct Dials {
    stop: SyncSender<()>,
    thread: JoinHandle<Vec<usize>>,
}

impl Dials {
    /// Returns once it counts.
    fn count(machine: &Namespace) -> Self {
        let (stop, stopped) = sync_channel(0);
        let (counting, counts) = sync_channel(1);
        let thread = machine.spawn(move || {
            let mut counts = vec![taken()];
            counting.send(()).unwrap();
            while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                counts.push(taken());
            }
            counts.push(taken());
            counts
        });
        counts.recv().unwrap();
        Self { stop, thread }
    }

    /// How many there were, and the most between two looks.
    fn end(self) -> (usize, usize) {
        drop(self.stop);
        let counts = self.thread.join().unwrap();
        let all = counts[counts.len() - 1] - counts[0];
        let at_once = counts.windows(2).map(|pair| pair[1] - pair[0]).max();
        (all, at_once.unwrap())
    }
}

/// `PassiveOpens` of RFC 4022: connections that came to a listener, in the calling thread's network.
fn taken() -> usize {
    let text = fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut columns = names.split(' ').zip(values.split(' '));
    let (_, value) = columns.find(|(name, _)| *name == "PassiveOpens").unwrap();
    value.parse().unwrap()
}
