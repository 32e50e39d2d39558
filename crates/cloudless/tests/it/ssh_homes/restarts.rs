//! A relay that is started anew on sockets that systemd keeps, with autossh as home.

use std::process::Command;
use std::time::Instant;

use cloudless_testbed::Family;
use rustix::process::{Signal, kill_process};

use super::Bed;
use super::scene::{SECOND, Scene};
use crate::corpus::missing;
use crate::network::restarts::{AGAIN, HOLD, Relay};
use crate::role::Role;

#[test]
fn a_restart_of_the_relay_loses_no_visitor_over_ipv4() {
    a_restart_of_the_relay_loses_no_visitor(Family::V4);
}

#[test]
fn a_restart_of_the_relay_loses_no_visitor_over_ipv6() {
    a_restart_of_the_relay_loses_no_visitor(Family::V6);
}

fn a_restart_of_the_relay_loses_no_visitor(family: Family) {
    let tool = Command::new("systemd-socket-activate")
        .arg("--version")
        .output();
    if tool.is_err() {
        return missing("systemd-socket-activate, of Debian's systemd");
    }
    let Some(mut scene) = Scene::start(family) else {
        return;
    };
    let relay = keep_sockets(&mut scene.bed);
    let prober = scene.prober();
    let (before, told) = (relay.pid(), Instant::now());
    kill_process(before, Signal::TERM).unwrap();
    assert_eq!(scene.bed.relay.line()["role"], "relay");
    assert_ne!(relay.pid(), before);
    // Those that came while it was away are among them.
    let longest = prober.all_answered(3 * SECOND, told);
    scene.within(HOLD, "relay restarted by SIGTERM, the longest try", longest);
}

/// Starts the relay anew under a keeper of its sockets.
fn keep_sockets(bed: &mut Bed) -> Relay {
    bed.kill_relay();
    let pid_file = bed.path("pid");
    let mut command = bed.place.relay.command("systemd-socket-activate");
    for socket in [bed.https, bed.ssh] {
        command.args(["-l", &socket.to_string()]);
    }
    command
        .args(["--fdname=https:ssh", "sh", "-c", AGAIN, "sh"])
        .arg(&pid_file)
        .arg(env!("CARGO_BIN_EXE_cloudless"));
    // It starts when somebody comes, as autossh does.
    (bed.relay, _) = Role::start_under(command, &bed.state(), "relay");
    Relay { pid_file }
}
