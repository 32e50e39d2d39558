//! Ports that an sshd keeps for sessions that are dead.

use std::time::Instant;

use cloudless_testbed::Family;
use serde_json::Value;

use crate::network::outages::UNVISITED;
use crate::ssh::scene::{SECOND, Scene};

const ASKING: &str = "GatewayPorts clientspecified\nClientAliveInterval 5\nClientAliveCountMax 2\n";

/// What holds home up is sshd, which keeps the port for the session that is dead, and does not look
/// whether it lives while visitors come. So it takes half a minute, and nobody comes.
#[test]
fn a_port_is_held_for_a_dead_session_and_home_says_what_to_change_over_ipv4() {
    a_port_is_held_for_a_dead_session_and_home_says_what_to_change(Family::V4);
}

#[test]
fn a_port_is_held_for_a_dead_session_and_home_says_what_to_change_over_ipv6() {
    a_port_is_held_for_a_dead_session_and_home_says_what_to_change(Family::V6);
}

fn a_port_is_held_for_a_dead_session_and_home_says_what_to_change(family: Family) {
    if !crate::is_acceptance() {
        return;
    }
    let Some(scene) = Scene::start(family, ASKING) else {
        return;
    };
    drop(scene.prober());
    scene.dns.move_home(&scene.bed);
    let moved = Instant::now();
    let row = scene.home.relay_until(|row| row["state"] == "refused");
    let error = row["error"].as_str().unwrap();
    assert!(error.contains("StreamLocalBindUnlink yes"), "{error}");
    // Nobody visits, so that sshd looks.
    scene.home.relay_until(|row| row["state"] == "connected");
    scene.within(
        60 * SECOND,
        "on a port, home's address replaced, nobody visits",
        moved.elapsed(),
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

/// sshd asks more often than home does, and yet finds out some seconds later.
fn the_router_forgets_a_session_that_nobody_uses(family: Family) {
    if !crate::is_acceptance() {
        return;
    }
    let Some(scene) = Scene::start(family, ASKING) else {
        return;
    };
    scene.home.role().is_quiet_for(UNVISITED);
    scene.bed.forget_mappings();
    let forgotten = Instant::now();
    scene.home.relay_until(|row| !row["error"].is_null());
    let is_back = |row: &Value| row["state"] == "connected" && row["error"].is_null();
    scene.home.relay_until(is_back);
    let took = scene.first_try().back_after(forgotten);
    scene.within(
        40 * SECOND,
        "on a port, NAT mapping lost, nobody there",
        took,
    );
}

#[test]
fn the_servers_tcp_gives_up_early_and_the_port_is_free_although_visitors_come_over_ipv4() {
    the_servers_tcp_gives_up_early_and_the_port_is_free_although_visitors_come(Family::V4);
}

#[test]
fn the_servers_tcp_gives_up_early_and_the_port_is_free_although_visitors_come_over_ipv6() {
    the_servers_tcp_gives_up_early_and_the_port_is_free_although_visitors_come(Family::V6);
}

fn the_servers_tcp_gives_up_early_and_the_port_is_free_although_visitors_come(family: Family) {
    if !crate::is_acceptance() {
        return;
    }
    let Some(scene) = Scene::start(family, ASKING) else {
        return;
    };
    // 12.6 s in place of a quarter of an hour.
    scene.bed.relay.set_parameter("ipv4/tcp_retries2", "5");
    let prober = scene.prober();
    scene.bed.forget_mappings();
    let took = prober.back_after(Instant::now());
    scene.within(
        30 * SECOND,
        "on a port, tcp_retries2 = 5, NAT mapping lost, with visitors",
        took,
    );
    scene.suspend(&prober);
    let took = prober.back_after(Instant::now());
    scene.within(
        30 * SECOND,
        "on a port, tcp_retries2 = 5, laptop woken, with visitors",
        took,
    );
    scene.dns.move_home(&scene.bed);
    let took = prober.back_after(Instant::now());
    scene.within(
        30 * SECOND,
        "on a port, tcp_retries2 = 5, home's address replaced, with visitors",
        took,
    );
}
