//! Each outage of the path or of a machine ends by itself, and soon.

use std::time::{Duration, Instant};

use cloudless_testbed::{Conditions, Family};
use rustix::process::{Pid, Signal, kill_process};

use crate::network::machines::Machines;

pub(super) const SECOND: Duration = Duration::from_secs(1);
/// Home pings a silent tunnel after this long when nobody visits.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(20);
/// For a minute after a visitor home pings more often.
pub(crate) const UNVISITED: Duration = Duration::from_secs(65);

/// Prints what was measured and compares it with what is promised.
#[track_caller]
pub(crate) fn within(promise: Duration, event: &str, family: Family, took: Duration) {
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
fn the_router_forgets_a_tunnel_that_nobody_uses_over_ipv4() {
    the_router_forgets_a_tunnel_that_nobody_uses(Family::V4);
}

#[test]
fn the_router_forgets_a_tunnel_that_nobody_uses_over_ipv6() {
    the_router_forgets_a_tunnel_that_nobody_uses(Family::V6);
}

/// The intervals are those that are shipped, so it takes minutes.
fn the_router_forgets_a_tunnel_that_nobody_uses(family: Family) {
    if !crate::is_acceptance() {
        return;
    }
    let Some(machines) = Machines::start(family) else {
        return;
    };
    // Home may have visited itself.
    machines.home_is_quiet_for(UNVISITED);
    machines.bed.forget_mappings();
    let forgotten = Instant::now();
    // Who comes now does not get as far as home, so that home is still alone.
    let took = machines.prober().back_after(forgotten);
    let promise = PING_INTERVAL + 3 * SECOND;
    within(promise, "NAT mapping lost, nobody there", family, took);
}

#[test]
fn the_laptop_sleeps_and_wakes_over_ipv4() {
    the_laptop_sleeps_and_wakes(Family::V4);
}

#[test]
fn the_laptop_sleeps_and_wakes_over_ipv6() {
    the_laptop_sleeps_and_wakes(Family::V6);
}

/// A suspended machine as far as processes can tell: home stands still for longer than it takes for
/// a sleep, and meanwhile the router forgets the tunnel, as it does in an hour.
fn the_laptop_sleeps_and_wakes(family: Family) {
    let Some(machines) = Machines::start(family) else {
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
    within(2 * SECOND, "laptop woken", family, took);

    if !crate::is_acceptance() {
        return;
    }
    // Mostly the Wi-Fi takes longer to wake up.
    signal(Signal::STOP);
    let asleep = Instant::now();
    machines.bed.forget_mappings();
    machines.bed.internet.set(Conditions::BLACK_HOLE);
    assert_eq!(prober.go_on_for(13 * SECOND, asleep), 0);
    signal(Signal::CONT);
    assert_eq!(prober.go_on_for(7 * SECOND, Instant::now()), 0);
    machines.bed.internet.set(Conditions::default());
    let took = prober.back_after(Instant::now());
    within(2 * SECOND, "laptop woken, network up later", family, took);
}
