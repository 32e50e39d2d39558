//! The failures of networks with an sshd as the relay: phone, router, server and home on machines of
//! their own, as for a relay of cloudless.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use cloudless_testbed::{Bed, Conditions, Family, RELAY, missing};
use rustix::process::{Pid, Signal, kill_process};

use crate::corpus;
use crate::network::prober::Prober;
use crate::ssh::home::Home;
use crate::ssh::sshd::{Machine, RECIPE, Sshd};

const SECOND: Duration = Duration::from_secs(1);
/// As docs/sshd.md advises.
const ADVISED: &str = "StreamLocalBindUnlink yes\nClientAliveInterval 5\nClientAliveCountMax 2\n";

/// An sshd, a home behind a router, and a phone.
struct Scene {
    // Processes end before their machines.
    front: Option<Front>,
    home: Home,
    sshd: Sshd,
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
    fn start(settings: &str) -> Option<Self> {
        Self::start_at(settings, |_| "*:443".to_owned())
    }

    /// It listens at a Unix socket, with HAProxy in front.
    fn start_with_a_socket() -> Option<Self> {
        let program = "/usr/sbin/haproxy";
        if !Path::new(program).exists() {
            corpus::missing(program);
            return None;
        }
        let socket = |sshd: &Sshd| format!("unix:{}", sshd.path("home.sock").display());
        let mut scene = Self::start_at(ADVISED, socket)?;
        let config = scene.sshd.path("haproxy.cfg");
        let text = format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
             listen https\n  bind :443\n  server home unix@{}\n",
            scene.sshd.path("home.sock").display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Machine::of(&scene.bed.relay).command(program);
        command.arg("-db").arg("-f").arg(&config);
        scene.front = Some(Front(command.spawn().unwrap()));
        Some(scene)
    }

    fn start_at(settings: &str, forward: impl Fn(&Sshd) -> String) -> Option<Self> {
        if let Some(what) = missing() {
            corpus::missing(&what);
            return None;
        }
        let bed = Bed::new(Conditions::default());
        let address = SocketAddr::from((RELAY[Family::V4 as usize], 22));
        let sshd = Sshd::start_at(&Machine::of(&bed.relay), settings, || address)?;
        let forward = forward(&sshd);
        let mut home = Home::set_up_at(&Machine::of(&bed.home), &sshd, &forward, "");
        home.start();
        home.await_tunnel();
        Some(Self {
            front: None,
            home,
            sshd,
            bed,
        })
    }

    fn prober(&self) -> Prober {
        let address = SocketAddr::from((RELAY[Family::V4 as usize], 443));
        Prober::start(&self.bed.phone, self.home.phone(address)).calm()
    }
}

#[track_caller]
fn within(promise: Duration, event: &str, took: Duration) {
    println!(
        "MEASURED sshd as the relay, {event}: {:.2} s",
        took.as_secs_f64()
    );
    assert!(took <= promise, "{event}: back after {took:?}");
}

#[test]
fn sshd_and_its_sessions_are_killed_and_started_again() {
    let Some(mut scene) = Scene::start(RECIPE) else {
        return;
    };
    let prober = scene.prober();
    scene.sshd.kill();
    assert_eq!(prober.go_on_for(SECOND, Instant::now()), 0);
    scene.sshd.restart();
    within(
        2 * SECOND,
        "killed and started again",
        prober.back_after(Instant::now()),
    );
}

#[test]
fn the_server_is_silent_for_ten_seconds() {
    let Some(scene) = Scene::start(RECIPE) else {
        return;
    };
    let prober = scene.prober();
    scene.bed.silence_relay();
    assert_eq!(prober.go_on_for(10 * SECOND, Instant::now()), 0);
    scene.bed.wake_relay();
    within(
        2 * SECOND,
        "host silent for 10 s",
        prober.back_after(Instant::now()),
    );
}

#[test]
fn the_path_to_the_server_is_a_black_hole() {
    let Some(scene) = Scene::start(RECIPE) else {
        return;
    };
    let prober = scene.prober();
    scene.bed.internet.set(Conditions::BLACK_HOLE);
    let cut = Instant::now();
    assert_eq!(prober.go_on_for(20 * SECOND, cut), 0);
    scene.bed.internet.set(Conditions::default());
    within(
        15 * SECOND,
        "black hole of 20 s",
        prober.back_after(Instant::now()),
    );
}

#[test]
fn home_moves_to_another_network_and_takes_the_socket_from_its_dead_session() {
    let Some(scene) = Scene::start_with_a_socket() else {
        return;
    };
    let prober = scene.prober();
    scene.bed.move_home();
    let took = prober.back_after(Instant::now());
    within(2 * SECOND, "on a socket, home's address replaced", took);
}

#[test]
fn the_router_forgets_the_session_and_home_takes_the_socket_from_it() {
    let Some(scene) = Scene::start_with_a_socket() else {
        return;
    };
    let prober = scene.prober();
    scene.bed.forget_mappings();
    let took = prober.back_after(Instant::now());
    // The ping comes after 5 s of silence while there are visitors.
    within(
        8 * SECOND,
        "on a socket, NAT mapping lost, with visitors",
        took,
    );
}

#[test]
fn home_sleeps_and_wakes_and_takes_the_socket_from_its_dead_session() {
    let Some(scene) = Scene::start_with_a_socket() else {
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
    within(2 * SECOND, "on a socket, laptop woken", took);
}

/// What holds home up is sshd, which keeps the port for the session that is dead, and does not look
/// whether it lives while visitors come. So it takes half a minute, and nobody comes.
#[test]
fn a_port_is_held_for_a_dead_session_and_home_says_what_to_change() {
    if !crate::is_acceptance() {
        return;
    }
    let settings = format!("{RECIPE}ClientAliveInterval 5\nClientAliveCountMax 2\n");
    let Some(scene) = Scene::start(&settings) else {
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
    within(
        60 * SECOND,
        "on a port, home's address replaced, nobody visits",
        moved.elapsed(),
    );
}
