//! What becomes of a relay that is known by a name when DNS says something else, or nothing.

use std::time::{Duration, Instant};

use cloudless_testbed::{Family, RELAY, RELAY_MOVED};

use crate::network::machines::Machines;
use crate::network::name_server::{NAME, NameServer};
use crate::network::outages::{SECOND, within};

/// A relay by a name, and the name server that knows it.
fn start(family: Family) -> Option<(Machines, NameServer)> {
    let mut dns = None;
    let machines = Machines::start_at(family, NAME, |bed| {
        dns = Some(NameServer::start(bed, RELAY[family as usize]));
    });
    machines.zip(dns)
}

#[test]
fn the_relay_moves_to_another_address_over_ipv4() {
    the_relay_moves_to_another_address(Family::V4);
}

#[test]
fn the_relay_moves_to_another_address_over_ipv6() {
    the_relay_moves_to_another_address(Family::V6);
}

/// The old address falls silent at the moment at which DNS tells the new one.
fn the_relay_moves_to_another_address(family: Family) {
    let Some((machines, dns)) = start(family) else {
        return;
    };
    drop(machines.prober().calm());
    machines.bed.move_relay();
    dns.answer(RELAY_MOVED[family as usize]);
    let moved = Instant::now();
    let took = machines.moved_prober().back_after(moved);
    // A ping after 5 s of silence and 2 s without its answer until the old address is known to be
    // dead, and from then on what is promised.
    within(12 * SECOND, "relay moved, DNS changed", family, took);
}

#[test]
fn the_new_address_comes_after_the_old_one_is_dead_over_ipv4() {
    the_new_address_comes_after_the_old_one_is_dead(Family::V4);
}

#[test]
fn the_new_address_comes_after_the_old_one_is_dead_over_ipv6() {
    the_new_address_comes_after_the_old_one_is_dead(Family::V6);
}

/// The old address is known to be dead long before DNS tells the new one.
fn the_new_address_comes_after_the_old_one_is_dead(family: Family) {
    let Some((mut machines, dns)) = start(family) else {
        return;
    };
    drop(machines.prober().calm());
    machines.kill_relay();
    machines.bed.move_relay();
    machines.start_relay();
    let prober = machines.moved_prober();
    assert_eq!(prober.go_on_for(3 * SECOND, Instant::now()), 0);
    dns.answer(RELAY_MOVED[family as usize]);
    let took = prober.back_after(Instant::now());
    within(5 * SECOND, "relay moved before, DNS changed", family, took);
}

#[test]
fn dns_fails_and_the_relay_is_where_it_was_over_ipv4() {
    dns_fails_and_the_relay_is_where_it_was(Family::V4);
}

#[test]
fn dns_fails_and_the_relay_is_where_it_was_over_ipv6() {
    dns_fails_and_the_relay_is_where_it_was(Family::V6);
}

fn dns_fails_and_the_relay_is_where_it_was(family: Family) {
    let Some((mut machines, dns)) = start(family) else {
        return;
    };
    let prober = machines.prober().calm();
    let mut restart = |event: &str, promise: Duration| {
        machines.kill_relay();
        assert_eq!(prober.go_on_for(SECOND, Instant::now()), 0);
        machines.start_relay();
        let took = prober.back_after(Instant::now());
        within(promise, event, family, took);
    };
    dns.fail();
    restart("relay killed and started, DNS fails", SECOND);
    dns.fall_silent();
    // Each dial gives DNS a second.
    restart("relay killed and started, DNS is silent", 2 * SECOND);
}
