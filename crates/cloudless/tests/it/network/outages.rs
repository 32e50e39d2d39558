//! Each outage ends by itself, and soon.

use std::time::{Duration, Instant};

use cloudless_testbed::{Conditions, Family, RELAY, RELAY_MOVED};
use rustix::process::{Pid, Signal, kill_process};

use crate::network::machines::Machines;
use crate::network::name_server::{NAME, NameServer};

const SECOND: Duration = Duration::from_secs(1);
/// Home pings a silent tunnel after this long when nobody visits.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// Prints what was measured and compares it with what is promised.
#[track_caller]
fn within(promise: Duration, event: &str, family: Family, took: Duration) {
    println!("MEASURED {event}, {family:?}: {:.2} s", took.as_secs_f64());
    assert!(took <= promise, "{event}, {family:?}: back after {took:?}");
}

#[test]
fn the_relay_is_killed_and_started_again_over_ipv4() {
    the_relay_is_killed_and_started_again(Family::V4);
}

#[test]
fn the_relay_is_killed_and_started_again_over_ipv6() {
    the_relay_is_killed_and_started_again(Family::V6);
}

fn the_relay_is_killed_and_started_again(family: Family) {
    let Some(mut machines) = Machines::start(family) else {
        return;
    };
    let prober = machines.prober().calm();
    for _ in 0..crate::rounds(2) {
        machines.kill_relay();
        assert_eq!(prober.go_on_for(SECOND, Instant::now()), 0);
        machines.start_relay();
        let took = prober.back_after(Instant::now());
        within(SECOND, "relay killed and started again", family, took);
    }
}

#[test]
fn the_relays_host_is_silent_for_ten_seconds_over_ipv4() {
    the_relays_host_is_silent_for_ten_seconds(Family::V4);
}

#[test]
fn the_relays_host_is_silent_for_ten_seconds_over_ipv6() {
    the_relays_host_is_silent_for_ten_seconds(Family::V6);
}

fn the_relays_host_is_silent_for_ten_seconds(family: Family) {
    let Some(machines) = Machines::start(family) else {
        return;
    };
    let prober = machines.prober().calm();
    machines.bed.silence_relay();
    assert_eq!(prober.go_on_for(10 * SECOND, Instant::now()), 0);
    machines.bed.wake_relay();
    let took = prober.back_after(Instant::now());
    within(SECOND, "relay's host silent for 10 s", family, took);
}

#[test]
fn the_path_is_a_black_hole_over_ipv4() {
    the_path_is_a_black_hole(Family::V4);
}

#[test]
fn the_path_is_a_black_hole_over_ipv6() {
    the_path_is_a_black_hole(Family::V6);
}

fn the_path_is_a_black_hole(family: Family) {
    let Some(machines) = Machines::start(family) else {
        return;
    };
    let prober = machines.prober().calm();
    let cuts: &[u32] = if crate::is_acceptance() {
        &[3, 20, 60]
    } else {
        &[20]
    };
    for seconds in cuts {
        machines.bed.internet.set(Conditions::BLACK_HOLE);
        let cut = Instant::now();
        assert_eq!(prober.go_on_for(SECOND * *seconds, cut), 0);
        machines.bed.internet.set(Conditions::default());
        let took = prober.back_after(Instant::now());
        within(
            2 * SECOND,
            &format!("black hole of {seconds} s"),
            family,
            took,
        );
    }
}

#[test]
fn home_moves_to_another_network_over_ipv4() {
    home_moves_to_another_network(Family::V4);
}

#[test]
fn home_moves_to_another_network_over_ipv6() {
    home_moves_to_another_network(Family::V6);
}

fn home_moves_to_another_network(family: Family) {
    let Some(machines) = Machines::start(family) else {
        return;
    };
    let prober = machines.prober().calm();
    machines.bed.move_home();
    let took = prober.back_after(Instant::now());
    within(2 * SECOND, "home's address replaced", family, took);
}

#[test]
fn the_router_forgets_a_tunnel_that_is_used_over_ipv4() {
    the_router_forgets_a_tunnel_that_is_used(Family::V4);
}

#[test]
fn the_router_forgets_a_tunnel_that_is_used_over_ipv6() {
    the_router_forgets_a_tunnel_that_is_used(Family::V6);
}

fn the_router_forgets_a_tunnel_that_is_used(family: Family) {
    let Some(machines) = Machines::start(family) else {
        return;
    };
    let prober = machines.prober().calm();
    machines.bed.forget_mappings();
    let took = prober.back_after(Instant::now());
    // The ping comes after 5 s of silence while there are visitors.
    within(8 * SECOND, "NAT mapping lost, with visitors", family, took);
}

#[test]
fn the_router_forgets_a_tunnel_that_nobody_uses() {
    if !crate::is_acceptance() {
        return;
    }
    let Some(machines) = Machines::start(Family::V4) else {
        return;
    };
    drop(machines.prober().calm());
    machines.bed.forget_mappings();
    let forgotten = Instant::now();
    let took = machines.prober().back_after(forgotten);
    let promise = PING_INTERVAL + 3 * SECOND;
    within(promise, "NAT mapping lost, nobody there", Family::V4, took);
}

#[test]
fn the_relay_moves_to_another_address_over_ipv4() {
    the_relay_moves_to_another_address(Family::V4);
}

#[test]
fn the_relay_moves_to_another_address_over_ipv6() {
    the_relay_moves_to_another_address(Family::V6);
}

fn the_relay_moves_to_another_address(family: Family) {
    let mut dns = None;
    let machines = Machines::start_at(family, NAME, |bed| {
        dns = Some(NameServer::start(bed, RELAY[family as usize]));
    });
    let (Some(machines), Some(dns)) = (machines, dns) else {
        return;
    };
    drop(machines.prober().calm());
    machines.bed.move_relay();
    dns.answer(RELAY_MOVED[family as usize]);
    let moved = Instant::now();
    let took = machines.moved_prober().back_after(moved);
    // A ping after 5 s of silence, 2 s without its answer, and then it has to be quick.
    within(12 * SECOND, "relay moved, DNS changed", family, took);
}

#[test]
fn one_of_two_relays_is_lost_and_nobody_at_the_other_notices() {
    let Some(mut machines) = Machines::start(Family::V4) else {
        return;
    };
    machines.add_relay();
    let (first, second) = (machines.prober().calm(), machines.second_prober().calm());
    machines.kill_relay();
    let killed = Instant::now();
    let count = second.go_on_for(5 * SECOND, killed);
    assert!(count >= 40, "only {count} of 50 tries");
    assert_eq!(first.go_on_for(Duration::ZERO, killed), 0);
    machines.start_relay();
    let took = first.back_after(Instant::now());
    within(SECOND, "one of two relays killed", Family::V4, took);
}

/// A suspended machine as far as processes can tell: home stands still for longer than it takes for
/// a sleep, and meanwhile the router forgets the tunnel, as it does in an hour.
#[test]
fn the_laptop_sleeps_and_wakes() {
    let Some(machines) = Machines::start(Family::V4) else {
        return;
    };
    let prober = machines.prober().calm();
    let signal = |signal| {
        let pid = i32::try_from(machines.home_pid())
            .ok()
            .and_then(Pid::from_raw);
        kill_process(pid.unwrap(), signal).unwrap();
    };
    signal(Signal::STOP);
    let asleep = Instant::now();
    machines.bed.forget_mappings();
    assert_eq!(prober.go_on_for(13 * SECOND, asleep), 0);
    signal(Signal::CONT);
    let took = prober.back_after(Instant::now());
    within(2 * SECOND, "laptop woken", Family::V4, took);
}
