//! A relay that is run by a user without rights, on ports that are not the phone's.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use cloudless_testbed::{Bed, Family, RELAY};

use crate::network::machines::Machines;
use crate::network::sync_between;
use crate::role::Role;

/// As administrators redirect the ports of their machine that are below 1024, kept for root.
const REDIRECT: &str = "
table inet ports {
    chain prerouting {
        type nat hook prerouting priority dstnat
        fib daddr type local tcp dport 443 redirect to :8443
        fib daddr type local tcp dport 80 redirect to :8080
    }
}
";
const HIGH_PORTS: [&str; 4] = ["--listen", "[::]:8443", "--http-listen", "[::]:8080"];
/// The user `nobody`, who has no group and no capability.
const NOBODY: [&str; 3] = ["--reuid=65534", "--regid=65534", "--clear-groups"];
const LOW_PORTS_ALLOWED: [&str; 2] = [
    "--inh-caps=+net_bind_service",
    "--ambient-caps=+net_bind_service",
];

fn keep_low_ports(bed: &Bed) {
    bed.relay
        .set_parameter("ipv4/ip_unprivileged_port_start", "1024");
}

/// A command that runs the relay as nobody, who gets the state and a program to run.
fn as_nobody(bed: &Bed, state: &Path, capabilities: &[&str]) -> Command {
    let folder = state.parent().unwrap();
    fs::set_permissions(folder, Permissions::from_mode(0o711)).unwrap();
    let binary = folder.join("cloudless");
    fs::copy(env!("CARGO_BIN_EXE_cloudless"), &binary).unwrap();
    let mut chown = Command::new("chown");
    chown.args(["-R", "65534:65534"]).arg(state);
    assert!(chown.status().unwrap().success(), "{chown:?}");
    let mut command = bed.relay.command("setpriv");
    command.args(NOBODY).args(capabilities).arg(binary);
    command
}

#[test]
fn an_unprivileged_relay_serves_on_high_ports_that_the_low_ones_are_redirected_to() {
    for family in [Family::V4, Family::V6] {
        // Home and phone know the port that the world sees.
        let address = crate::network::bracketed(&RELAY[family as usize].to_string());
        let address = format!("{address}:443");
        let init = [&["--address", &address], &HIGH_PORTS[..]].concat();
        let prepare = |bed: &Bed| {
            keep_low_ports(bed);
            bed.relay.run("nft", &[REDIRECT]);
        };
        let start =
            |bed: &Bed, state: &Path| Role::start_by(as_nobody(bed, state, &[]), state, "relay").0;
        let Some(machines) = Machines::start_by(family, &init, prepare, start) else {
            return;
        };
        sync_between(&machines, family);
    }
}

#[test]
fn an_unprivileged_relay_serves_on_low_ports_with_the_capability_alone() {
    for family in [Family::V4, Family::V6] {
        let address = RELAY[family as usize].to_string();
        let init = ["--address", &address];
        let start = |bed: &Bed, state: &Path| {
            let mut without = as_nobody(bed, state, &[]);
            without.args(["relay", "run", "--state"]).arg(state);
            let refused = without.output().unwrap();
            let told = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(!refused.status.success(), "nobody has low ports: {told}");
            assert!(told.contains("CAP_NET_BIND_SERVICE"), "{told}");
            Role::start_by(as_nobody(bed, state, &LOW_PORTS_ALLOWED), state, "relay").0
        };
        let Some(machines) = Machines::start_by(family, &init, keep_low_ports, start) else {
            return;
        };
        sync_between(&machines, family);
    }
}
