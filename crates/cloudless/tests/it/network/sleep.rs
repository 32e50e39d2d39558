//! A laptop that sleeps for an hour, with its lid closed and its network far away.
//!
//! No process can be put to sleep alone: stopped by a signal its other clocks go on, and the kernel
//! takes no process with threads into another time namespace. So home runs in this process and is told
//! its time since the start of the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cloudless_home::Config;
use cloudless_store::Store;
use cloudless_testbed::{Conditions, Family};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;

use crate::network::homes::Homes;
use crate::network::machines::{HOSTNAME, Machines};
use crate::network::outages::{SECOND, within};

const HOUR_S: u64 = 60 * 60;

#[test]
fn an_hour_of_sleep_ends_as_soon_as_the_network_is_there_over_ipv4() {
    an_hour_of_sleep_ends_as_soon_as_the_network_is_there(Family::V4);
}

#[test]
fn an_hour_of_sleep_ends_as_soon_as_the_network_is_there_over_ipv6() {
    an_hour_of_sleep_ends_as_soon_as_the_network_is_there(Family::V6);
}

fn an_hour_of_sleep_ends_as_soon_as_the_network_is_there(family: Family) {
    let Some(mut machines) = Machines::start(family) else {
        return;
    };
    machines.kill_home();
    let state = machines.folder().join("home");
    let key = PrivatePkcs8KeyDer::from_pem_file(state.join("home.key")).unwrap();
    let hostnames = vec![HOSTNAME.parse().unwrap()];
    let mut config = Config::new(vec![machines.relay()], hostnames, key, state.clone());
    let slept_s = Arc::new(AtomicU64::new(0));
    let (awake, asleep) = (Instant::now(), Arc::clone(&slept_s));
    config.boot_clock =
        Arc::new(move || awake.elapsed() + Duration::from_secs(asleep.load(Ordering::Relaxed)));
    let store = Store::open(&state).unwrap();
    let _home = Homes::start(&machines.bed.home, vec![config], store);
    let prober = machines.prober().calm();

    // It may take a while until the Wi-Fi is there.
    for network_up in [Duration::ZERO, 7 * SECOND] {
        machines.bed.internet.set(Conditions::BLACK_HOLE);
        // For home, whose other clocks stand still, all of that is one moment: neither relay nor router
        // know anything of its tunnel any more, and nobody tells it.
        machines.kill_relay();
        machines.start_relay();
        machines.bed.forget_mappings();
        slept_s.fetch_add(HOUR_S, Ordering::Relaxed);
        assert_eq!(prober.go_on_for(network_up, Instant::now()), 0);
        machines.bed.internet.set(Conditions::default());
        let took = prober.back_after(Instant::now());
        let event = format!("woken after an hour, network up {network_up:?} later");
        within(2 * SECOND, &event, family, took);
    }
}
