//! Many homes behind one router come back to a relay that was killed, and make no storm.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
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
/// again. How evenly dials fall is tested where they are planned; here the processors are too few to tell.
const DIALS_MAX: usize = 10;
/// Between two looks at who is online.
const LOOK: Duration = Duration::from_millis(200);

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
    let before = n_taken(&machines.bed.relay);
    machines.start_relay();
    let listening = Instant::now();
    all_online(&machines);
    let took = listening.elapsed();
    let n_dials = n_taken(&machines.bed.relay) - before;
    println!("MEASURED {N_HOMES} homes, {family:?}: {n_dials} dials");
    within(ALL_MAX, "a thousand homes come back", family, took);
    assert!(n_dials <= DIALS_MAX * N_HOMES, "{n_dials} dials");
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
            machines.relay_is_quiet_for(LOOK);
        }
        n_online == N_HOMES
    });
}

/// How many connections a machine's listeners have taken.
fn n_taken(machine: &Namespace) -> usize {
    machine.spawn(passive_opens).join().unwrap()
}

/// `PassiveOpens` of RFC 4022, in the calling thread's network.
fn passive_opens() -> usize {
    let text = fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut columns = names.split(' ').zip(values.split(' '));
    let (_, value) = columns.find(|(name, _)| *name == "PassiveOpens").unwrap();
    value.parse().unwrap()
}
