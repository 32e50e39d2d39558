//! A relay that is started anew on sockets that systemd keeps: SIGTERM, a drain, and the next
//! process.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use cloudless_testbed::{Bed, Family, RELAY};
use rustix::process::{Pid, Signal, kill_process};

use crate::corpus::missing;
use crate::network::machines::Machines;
use crate::network::outages::{SECOND, within};
use crate::role::Role;

/// Starts the relay again whenever it ends; its process number is in the file that comes first.
const AGAIN: &str = r#"while :; do sh -c 'echo $$ >"$0"; LISTEN_PID=$$ exec "$@"' "$@"; done"#;
/// How long the relay holds a visitor whose home is away.
const HOLD: Duration = Duration::from_secs(5);
const ROUNDS: usize = 2;

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
    let address = SocketAddr::from((RELAY[family as usize], 443));
    let ip = address.ip().to_string();
    let init = ["--address", &ip];
    let mut pid_file = PathBuf::new();
    let start = |bed: &Bed, state: &Path| {
        pid_file = state.with_extension("pid");
        // The tool starts the relay when somebody comes.
        bed.relay.spawn(move || {
            while TcpStream::connect(address).is_err() {
                thread::yield_now();
            }
        });
        let mut command = bed.relay.command("systemd-socket-activate");
        command.args(["-l", &address.to_string(), "--fdname=https"]);
        command.args(["sh", "-c", AGAIN, "sh"]).arg(&pid_file);
        command.arg(env!("CARGO_BIN_EXE_cloudless"));
        Role::start_under(command, state, "relay").0
    };
    let Some(mut machines) = Machines::start_by(family, &init, |_| (), start) else {
        return;
    };
    let relay = Relay { pid_file };
    let prober = machines.prober().calm();
    for _ in 0..crate::rounds(ROUNDS) {
        let (before, told) = (relay.pid(), Instant::now());
        kill_process(before, Signal::TERM).unwrap();
        machines.await_relay();
        assert_ne!(relay.pid(), before);
        // Those that came while it was away are among them.
        let longest = prober.all_answered(3 * SECOND, told);
        within(
            HOLD,
            "relay restarted by SIGTERM, the longest try",
            family,
            longest,
        );
    }
}

/// The process behind the sockets.
struct Relay {
    pid_file: PathBuf,
}

impl Relay {
    fn pid(&self) -> Pid {
        let text = fs::read_to_string(&self.pid_file).unwrap();
        Pid::from_raw(text.trim().parse().unwrap()).unwrap()
    }
}
