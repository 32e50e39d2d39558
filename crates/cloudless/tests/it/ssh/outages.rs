//! The failures of networks with an sshd as the relay.

use std::time::Instant;

use cloudless_testbed::{Family, RELAY_MOVED};

use crate::network::outages::{PING_INTERVAL, UNVISITED};
use crate::ssh::scene::{SECOND, Scene};
use crate::ssh::sshd::RECIPE;

#[test]
fn sshd_and_its_sessions_are_killed_and_started_again_over_ipv4() {
    sshd_and_its_sessions_are_killed_and_started_again(Family::V4);
}

#[test]
fn sshd_and_its_sessions_are_killed_and_started_again_over_ipv6() {
    sshd_and_its_sessions_are_killed_and_started_again(Family::V6);
}

fn sshd_and_its_sessions_are_killed_and_started_again(family: Family) {
    let Some(mut scene) = Scene::start(family, RECIPE) else {
        return;
    };
    let prober = scene.prober();
    scene.sshd.kill();
    assert_eq!(prober.go_on_for(SECOND, Instant::now()), 0);
    scene.sshd.restart();
    scene.within(
        2 * SECOND,
        "killed and started again",
        prober.back_after(Instant::now()),
    );
}

#[test]
fn the_server_is_silent_for_ten_seconds_over_ipv4() {
    the_server_is_silent_for_ten_seconds(Family::V4);
}

#[test]
fn the_server_is_silent_for_ten_seconds_over_ipv6() {
    the_server_is_silent_for_ten_seconds(Family::V6);
}

fn the_server_is_silent_for_ten_seconds(family: Family) {
    let Some(scene) = Scene::start(family, RECIPE) else {
        return;
    };
    let prober = scene.prober();
    scene.bed.silence_relay();
    assert_eq!(prober.go_on_for(10 * SECOND, Instant::now()), 0);
    scene.bed.wake_relay();
    scene.within(
        2 * SECOND,
        "host silent for 10 s",
        prober.back_after(Instant::now()),
    );
}

#[test]
fn the_path_to_the_server_is_a_black_hole_over_ipv4() {
    the_path_to_the_server_is_a_black_hole(Family::V4);
}

#[test]
fn the_path_to_the_server_is_a_black_hole_over_ipv6() {
    the_path_to_the_server_is_a_black_hole(Family::V6);
}

fn the_path_to_the_server_is_a_black_hole(family: Family) {
    let Some(scene) = Scene::start(family, RECIPE) else {
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
        scene.within(2 * SECOND, &format!("black hole of {seconds} s"), took);
    }
}

#[test]
fn home_moves_to_another_network_and_takes_the_socket_from_its_dead_session_over_ipv4() {
    home_moves_to_another_network_and_takes_the_socket_from_its_dead_session(Family::V4);
}

#[test]
fn home_moves_to_another_network_and_takes_the_socket_from_its_dead_session_over_ipv6() {
    home_moves_to_another_network_and_takes_the_socket_from_its_dead_session(Family::V6);
}

fn home_moves_to_another_network_and_takes_the_socket_from_its_dead_session(family: Family) {
    let Some(scene) = Scene::start_with_a_socket(family) else {
        return;
    };
    let prober = scene.prober();
    scene.dns.move_home(&scene.bed);
    let took = prober.back_after(Instant::now());
    scene.within(2 * SECOND, "on a socket, home's address replaced", took);
}

#[test]
fn the_router_forgets_the_session_and_home_takes_the_socket_from_it_over_ipv4() {
    the_router_forgets_the_session_and_home_takes_the_socket_from_it(Family::V4);
}

#[test]
fn the_router_forgets_the_session_and_home_takes_the_socket_from_it_over_ipv6() {
    the_router_forgets_the_session_and_home_takes_the_socket_from_it(Family::V6);
}

fn the_router_forgets_the_session_and_home_takes_the_socket_from_it(family: Family) {
    let Some(scene) = Scene::start_with_a_socket(family) else {
        return;
    };
    let prober = scene.prober();
    scene.bed.forget_mappings();
    let took = prober.back_after(Instant::now());
    // The ping comes after 5 s of silence while there are visitors.
    scene.within(
        8 * SECOND,
        "on a socket, NAT mapping lost, with visitors",
        took,
    );
}

#[test]
fn the_router_forgets_a_session_that_nobody_uses_over_ipv4() {
    the_router_forgets_a_session_that_nobody_uses(Family::V4);
}

#[test]
fn the_router_forgets_a_session_that_nobody_uses_over_ipv6() {
    the_router_forgets_a_session_that_nobody_uses(Family::V6);
}

fn the_router_forgets_a_session_that_nobody_uses(family: Family) {
    if !crate::is_acceptance() {
        return;
    }
    let Some(scene) = Scene::start_with_a_socket(family) else {
        return;
    };
    scene.home.role().is_quiet_for(UNVISITED);
    scene.bed.forget_mappings();
    let forgotten = Instant::now();
    // Who comes now does not get as far as home, so that home is still alone.
    let took = scene.first_try().back_after(forgotten);
    let promise = PING_INTERVAL + 3 * SECOND;
    scene.within(promise, "on a socket, NAT mapping lost, nobody there", took);
}

#[test]
fn home_sleeps_and_wakes_and_takes_the_socket_from_its_dead_session_over_ipv4() {
    home_sleeps_and_wakes_and_takes_the_socket_from_its_dead_session(Family::V4);
}

#[test]
fn home_sleeps_and_wakes_and_takes_the_socket_from_its_dead_session_over_ipv6() {
    home_sleeps_and_wakes_and_takes_the_socket_from_its_dead_session(Family::V6);
}

fn home_sleeps_and_wakes_and_takes_the_socket_from_its_dead_session(family: Family) {
    let Some(scene) = Scene::start_with_a_socket(family) else {
        return;
    };
    let prober = scene.prober();
    scene.suspend(&prober);
    let took = prober.back_after(Instant::now());
    scene.within(2 * SECOND, "on a socket, laptop woken", took);
}

#[test]
fn the_server_moves_to_another_address_over_ipv4() {
    the_server_moves_to_another_address(Family::V4);
}

#[test]
fn the_server_moves_to_another_address_over_ipv6() {
    the_server_moves_to_another_address(Family::V6);
}

/// The old address falls silent at the moment at which DNS tells the new one.
fn the_server_moves_to_another_address(family: Family) {
    let Some(scene) = Scene::start_with_a_socket(family) else {
        return;
    };
    drop(scene.prober());
    scene.bed.move_relay();
    scene.dns.answer(RELAY_MOVED[family as usize]);
    let moved = Instant::now();
    let took = scene.prober_at(RELAY_MOVED).back_after(moved);
    // A ping after 5 s of silence and 2 s without its answer, and 5 s from then on.
    scene.within(12 * SECOND, "on a socket, server moved, DNS changed", took);
}

#[test]
fn dns_fails_and_the_server_is_where_it_was_over_ipv4() {
    dns_fails_and_the_server_is_where_it_was(Family::V4);
}

#[test]
fn dns_fails_and_the_server_is_where_it_was_over_ipv6() {
    dns_fails_and_the_server_is_where_it_was(Family::V6);
}

fn dns_fails_and_the_server_is_where_it_was(family: Family) {
    let Some(mut scene) = Scene::start(family, RECIPE) else {
        return;
    };
    let prober = scene.prober();
    scene.dns.fail();
    scene.sshd.kill();
    assert_eq!(prober.go_on_for(SECOND, Instant::now()), 0);
    scene.sshd.restart();
    let took = prober.back_after(Instant::now());
    scene.within(2 * SECOND, "killed and started again, DNS fails", took);
}
