//! The failures of networks with autossh as home.

use std::time::Instant;

use cloudless_testbed::{Family, RELAY, RELAY_MOVED};

use super::scene::{SECOND, Scene};
use crate::network::outages::UNVISITED;

/// ssh asks after 2 s of silence, and gives up after 2 s more for each of the two answers that it may miss;
/// it counts in whole seconds. Then there is a moment to connect.
const NOTICED: u32 = 10;

#[test]
fn the_relay_is_killed_or_silent_over_ipv4() {
    the_relay_is_killed_or_silent(Family::V4);
}

#[test]
fn the_relay_is_killed_or_silent_over_ipv6() {
    the_relay_is_killed_or_silent(Family::V6);
}

fn the_relay_is_killed_or_silent(family: Family) {
    let Some(mut scene) = Scene::start(family) else {
        return;
    };
    let prober = scene.prober();
    scene.bed.kill_relay();
    assert_eq!(prober.go_on_for(SECOND, Instant::now()), 0);
    scene.bed.start_relay();
    let took = prober.back_after(Instant::now());
    scene.within(SECOND, "relay killed and started again", took);

    let prober = prober.calm();
    scene.network.silence_relay();
    assert_eq!(prober.go_on_for(10 * SECOND, Instant::now()), 0);
    scene.network.wake_relay();
    let took = prober.back_after(Instant::now());
    scene.within(3 * SECOND, "relay's host silent for 10 s", took);
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
    let Some(scene) = Scene::start(family) else {
        return;
    };
    let prober = scene.prober();
    scene.dns.move_home(&scene.network);
    let took = prober.back_after(Instant::now());
    scene.within(NOTICED * SECOND, "home's address replaced", took);
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
    let Some(scene) = Scene::start(family) else {
        return;
    };
    let prober = scene.prober();
    let cuts: &[u32] = if crate::is_acceptance() {
        &[3, 20, 60]
    } else {
        &[20]
    };
    for seconds in cuts {
        scene.black_hole(&prober, SECOND * *seconds);
        let took = prober.back_after(Instant::now());
        // Two seconds between two packets that ask for a connection.
        scene.within(3 * SECOND, &format!("black hole of {seconds} s"), took);
    }
}

#[test]
fn the_router_forgets_the_connection_over_ipv4() {
    the_router_forgets_the_connection(Family::V4);
}

#[test]
fn the_router_forgets_the_connection_over_ipv6() {
    the_router_forgets_the_connection(Family::V6);
}

fn the_router_forgets_the_connection(family: Family) {
    let Some(scene) = Scene::start(family) else {
        return;
    };
    let prober = scene.prober();
    scene.network.forget_mappings();
    let took = prober.back_after(Instant::now());
    scene.within(NOTICED * SECOND, "NAT mapping lost, with visitors", took);
}

#[test]
fn the_router_forgets_a_connection_that_nobody_uses_over_ipv4() {
    the_router_forgets_a_connection_that_nobody_uses(Family::V4);
}

#[test]
fn the_router_forgets_a_connection_that_nobody_uses_over_ipv6() {
    the_router_forgets_a_connection_that_nobody_uses(Family::V6);
}

/// To ssh it is all the same: it asks as often.
fn the_router_forgets_a_connection_that_nobody_uses(family: Family) {
    if !crate::is_acceptance() {
        return;
    }
    let Some(scene) = Scene::start(family) else {
        return;
    };
    scene.bed.is_quiet_for(UNVISITED);
    scene.network.forget_mappings();
    let forgotten = Instant::now();
    let took = scene.prober_at(RELAY).back_after(forgotten);
    scene.within(NOTICED * SECOND, "NAT mapping lost, nobody there", took);
}

#[test]
fn the_laptop_sleeps_and_wakes_over_ipv4() {
    the_laptop_sleeps_and_wakes(Family::V4);
}

#[test]
fn the_laptop_sleeps_and_wakes_over_ipv6() {
    the_laptop_sleeps_and_wakes(Family::V6);
}

/// ssh asks as soon as it is awake, and then as above.
fn the_laptop_sleeps_and_wakes(family: Family) {
    let Some(scene) = Scene::start(family) else {
        return;
    };
    let prober = scene.prober();
    scene.suspend(&prober);
    let took = prober.back_after(Instant::now());
    scene.within(8 * SECOND, "laptop woken", took);
}

#[test]
fn the_relay_moves_to_another_address_over_ipv4() {
    the_relay_moves_to_another_address(Family::V4);
}

#[test]
fn the_relay_moves_to_another_address_over_ipv6() {
    the_relay_moves_to_another_address(Family::V6);
}

/// The old address falls silent at the moment at which DNS tells the new one. Each new ssh asks DNS anew.
fn the_relay_moves_to_another_address(family: Family) {
    let Some(scene) = Scene::start(family) else {
        return;
    };
    drop(scene.prober());
    scene.network.move_relay();
    scene.dns.answer(RELAY_MOVED[family as usize]);
    let moved = Instant::now();
    let took = scene.prober_at(RELAY_MOVED).back_after(moved);
    scene.within(NOTICED * SECOND, "relay moved, DNS changed", took);
}

#[test]
fn dns_tells_the_new_address_late_over_ipv4() {
    dns_tells_the_new_address_late(Family::V4);
}

#[test]
fn dns_tells_the_new_address_late_over_ipv6() {
    dns_tells_the_new_address_late(Family::V6);
}

fn dns_tells_the_new_address_late(family: Family) {
    let Some(scene) = Scene::start(family) else {
        return;
    };
    drop(scene.prober());
    scene.network.move_relay();
    let prober = scene.prober_at(RELAY_MOVED);
    assert_eq!(prober.go_on_for(12 * SECOND, Instant::now()), 0);
    scene.dns.answer(RELAY_MOVED[family as usize]);
    let took = prober.back_after(Instant::now());
    // The ssh that dials the old address gives up after 5 s.
    scene.within(6 * SECOND, "relay moved before, DNS changed", took);
}
