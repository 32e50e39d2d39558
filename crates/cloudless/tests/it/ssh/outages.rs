//! The failures of networks with an sshd as the relay: phone, router, server and home on machines of
//! their own, as for a relay of cloudless.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use cloudless_testbed::{Bed, Conditions, Family, RELAY, RELAY_MOVED, missing};
use rustix::process::{Pid, Signal, kill_process};

use crate::corpus;
use crate::network::name_server::{NAME, NameServer};
use crate::network::outages::within;
use crate::network::prober::Prober;
use crate::ssh::home::Home;
use crate::ssh::sshd::{Machine, RECIPE, Sshd};

/// Wherever sshd's host is.
const ANYWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    IpAddr::V6(Ipv6Addr::UNSPECIFIED),
];
const SECOND: Duration = Duration::from_secs(1);
/// As docs/sshd.md advises.
const ADVISED: &str = "StreamLocalBindUnlink yes\nClientAliveInterval 5\nClientAliveCountMax 2\n";

/// An sshd, a home behind a router, and a phone.
struct Scene {
    // Processes end before their machines.
    front: Option<Front>,
    home: Home,
    sshd: Sshd,
    dns: NameServer,
    family: Family,
    bed: Bed,
}

/// HAProxy before a Unix socket.
struct Front(Child);

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Scene {
    /// sshd listens for visitors itself.
    fn start(family: Family, settings: &str) -> Option<Self> {
        Self::start_at(family, settings, |_| "*:443".to_owned())
    }

    /// It listens at a Unix socket, with HAProxy in front.
    fn start_with_a_socket(family: Family) -> Option<Self> {
        let program = "/usr/sbin/haproxy";
        if !Path::new(program).exists() {
            corpus::missing(program);
            return None;
        }
        let socket = |sshd: &Sshd| format!("unix:{}", sshd.path("home.sock").display());
        let mut scene = Self::start_at(family, ADVISED, socket)?;
        let config = scene.sshd.path("haproxy.cfg");
        let text = format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
             listen https\n  bind [::]:443 v4v6\n  server home unix@{}\n",
            scene.sshd.path("home.sock").display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Machine::of(&scene.bed.relay).command(program);
        command.arg("-db").arg("-f").arg(&config);
        scene.front = Some(Front(command.spawn().unwrap()));
        Some(scene)
    }

    fn start_at(family: Family, settings: &str, forward: impl Fn(&Sshd) -> String) -> Option<Self> {
        if let Some(what) = missing() {
            corpus::missing(&what);
            return None;
        }
        let bed = Bed::new(Conditions::default());
        let dns = NameServer::start(&bed, RELAY[family as usize]);
        let address = SocketAddr::from((ANYWHERE[family as usize], 22));
        let sshd = Sshd::start_at(&Machine::of(&bed.relay), settings, || address)?;
        let forward = forward(&sshd);
        let mut home = Home::set_up_at(&Machine::of(&bed.home), &sshd, NAME, &forward);
        home.start();
        home.await_tunnel();
        Some(Self {
            front: None,
            home,
            sshd,
            dns,
            family,
            bed,
        })
    }

    fn prober(&self) -> Prober {
        self.prober_at(RELAY).calm()
    }

    fn prober_at(&self, addresses: [IpAddr; 2]) -> Prober {
        let address = SocketAddr::from((addresses[self.family as usize], 443));
        Prober::start(&self.bed.phone, self.home.phone(address))
    }

    #[track_caller]
    fn within(&self, promise: Duration, event: &str, took: Duration) {
        within(
            promise,
            &format!("sshd as the relay, {event}"),
            self.family,
            took,
        );
    }
}

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
        3 * SECOND,
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
    scene.bed.internet.set(Conditions::BLACK_HOLE);
    let cut = Instant::now();
    assert_eq!(prober.go_on_for(20 * SECOND, cut), 0);
    scene.bed.internet.set(Conditions::default());
    scene.within(
        15 * SECOND,
        "black hole of 20 s",
        prober.back_after(Instant::now()),
    );
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
    scene.bed.move_home();
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
    let signal = |signal| {
        let pid = scene.home.role().pid();
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        kill_process(pid.unwrap(), signal).unwrap();
    };
    signal(Signal::STOP);
    let asleep = Instant::now();
    scene.bed.forget_mappings();
    assert_eq!(prober.go_on_for(13 * SECOND, asleep), 0);
    signal(Signal::CONT);
    let took = prober.back_after(Instant::now());
    scene.within(2 * SECOND, "on a socket, laptop woken", took);
}

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
    let settings = format!("{RECIPE}ClientAliveInterval 5\nClientAliveCountMax 2\n");
    let Some(scene) = Scene::start(family, &settings) else {
        return;
    };
    drop(scene.prober());
    scene.bed.move_home();
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
