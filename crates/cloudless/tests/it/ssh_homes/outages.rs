//! The failures of networks with autossh as home, by the command that `relay allow-ssh` prints.

use std::time::{Duration, Instant};

use cloudless_testbed::{Bed as Network, Conditions, Family, RELAY, missing};

use super::{Bed, HOSTNAME, Place, Running, web_server};
use crate::client::Client;
use crate::corpus;
use crate::network::outages::within;
use crate::network::prober::Prober;
use crate::ssh::sshd::Machine;

const SECOND: Duration = Duration::from_secs(1);

/// A web server and autossh at home behind a router, a relay, and a phone.
struct Scene {
    // Processes end before their machines.
    _autossh: Running,
    _nginx: Running,
    bed: Bed,
    family: Family,
    network: Network,
}

impl Scene {
    /// Returns once the relay has the name.
    fn start(family: Family) -> Option<Self> {
        if let Some(what) = missing() {
            corpus::missing(&what);
            return None;
        }
        if !web_server::is_installed() {
            return None;
        }
        let network = Network::new(Conditions::default());
        let bed = Bed::start_at(Place {
            relay: Machine::of(&network.relay),
            home: Machine::of(&network.home),
            address: RELAY[family as usize],
            ports: [443, 80, 2222],
        })?;
        let allowed = bed.allow("id");
        let known_hosts = allowed["known_hosts"][0].as_str().unwrap();
        let nginx = web_server::start(&bed, "127.0.0.1:443".parse().unwrap());
        let mut autossh = bed.ssh_by("autossh", "id");
        autossh
            .args([
                "-N",
                "-o",
                "ServerAliveInterval=10",
                "-o",
                "ServerAliveCountMax=2",
            ])
            .args(["-o", "ExitOnForwardFailure=yes"])
            .args(["-R", &format!("{HOSTNAME}:443:127.0.0.1:443")])
            .arg(format!("relay@{}", bed.ssh.ip()));
        let autossh = Running::start(&mut autossh, &bed.path("autossh.log"));
        bed.is_online(true);
        assert!(known_hosts.starts_with(&format!("[{}]:2222 ", bed.ssh.ip())));
        Some(Self {
            _autossh: autossh,
            _nginx: nginx,
            bed,
            family,
            network,
        })
    }

    fn prober(&self) -> Prober {
        let client = Client::through_relay(self.bed.https, &self.bed.path("web.pem"), "any");
        Prober::start(&self.network.phone, client).calm()
    }

    #[track_caller]
    fn within(&self, promise: Duration, event: &str, took: Duration) {
        within(
            promise,
            &format!("autossh as home, {event}"),
            self.family,
            took,
        );
    }
}

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
    scene.within(5 * SECOND, "relay killed and started again", took);

    let prober = prober.calm();
    scene.network.silence_relay();
    assert_eq!(prober.go_on_for(10 * SECOND, Instant::now()), 0);
    scene.network.wake_relay();
    let took = prober.back_after(Instant::now());
    scene.within(2 * SECOND, "relay's host silent for 10 s", took);
}

#[test]
fn home_moves_to_another_network_over_ipv4() {
    home_moves_to_another_network(Family::V4);
}

#[test]
fn home_moves_to_another_network_over_ipv6() {
    home_moves_to_another_network(Family::V6);
}

/// The relay gives the name to the new session at once; it is ssh that needs so long to see that the
/// old one is dead.
fn home_moves_to_another_network(family: Family) {
    let Some(scene) = Scene::start(family) else {
        return;
    };
    let prober = scene.prober();
    scene.network.move_home();
    let took = prober.back_after(Instant::now());
    scene.within(40 * SECOND, "home's address replaced", took);
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
    scene.network.internet.set(Conditions::BLACK_HOLE);
    assert_eq!(prober.go_on_for(20 * SECOND, Instant::now()), 0);
    scene.network.internet.set(Conditions::default());
    let took = prober.back_after(Instant::now());
    scene.within(15 * SECOND, "black hole of 20 s", took);
}

#[test]
fn the_router_forgets_the_session_over_ipv4() {
    the_router_forgets_the_session(Family::V4);
}

#[test]
fn the_router_forgets_the_session_over_ipv6() {
    the_router_forgets_the_session(Family::V6);
}

fn the_router_forgets_the_session(family: Family) {
    // As long as when home moves, for the same reason.
    if !crate::is_acceptance() {
        return;
    }
    let Some(scene) = Scene::start(family) else {
        return;
    };
    let prober = scene.prober();
    scene.network.forget_mappings();
    let took = prober.back_after(Instant::now());
    scene.within(40 * SECOND, "NAT mapping lost, with visitors", took);
}
