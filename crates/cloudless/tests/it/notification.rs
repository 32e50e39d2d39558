//! What a service manager is told of a role, through a socket of its own kind (sd_notify(3)).

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::binary;
use crate::pair::Pair;
use crate::role::Role;

/// Long enough for a loaded machine; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// So short that many pings fit into a test.
const WATCHDOG: Duration = Duration::from_millis(300);

/// The service manager's end.
struct Systemd {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Systemd {
    fn new(directory: &Path) -> Self {
        let path = directory.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, path }
    }

    /// The binary as it starts it.
    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloudless"));
        command
            .env("NOTIFY_SOCKET", &self.path)
            .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        command
    }

    /// The next message, its assignments as lines.
    fn message(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("a message");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// The next message with this line.
    fn message_with(&self, line: &str) -> String {
        loop {
            let message = self.message();
            if message.lines().any(|it| it == line) {
                return message;
            }
        }
    }

    /// Whether nothing has come that was not read.
    fn is_quiet_for(&self, duration: Duration) -> bool {
        self.socket.set_read_timeout(Some(duration)).unwrap();
        let received = self.socket.recv(&mut [0; 4096]);
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        received.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

fn signal(role: &Role, signal: Signal) {
    let pid = i32::try_from(role.pid()).ok().and_then(Pid::from_raw);
    kill_process(pid.unwrap(), signal).unwrap();
}

/// A relay that is set up on ports which it chooses.
fn init(state: &Path, listen: &str) {
    #[rustfmt::skip]
    binary::on(state, &["relay", "init", "--address", "127.0.0.1", "--server-name", "relay.test",
        "--listen", listen, "--no-http"]).expect(0);
}

#[test]
fn a_relay_is_ready_lives_reloads_and_stops() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("relay");
    init(&state, "127.0.0.1:0");
    let systemd = Systemd::new(directory.path());
    let (role, ready) = Role::start_by(systemd.command(), &state, "relay");

    let first = systemd.message();
    let lines: Vec<_> = first.lines().collect();
    assert_eq!(lines, ["READY=1", "STATUS=0 tunnels are up", "WATCHDOG=1"]);
    let https: SocketAddr = ready["https"][0].as_str().unwrap().parse().unwrap();
    TcpStream::connect(https).unwrap();
    for _ in 0..3 {
        let ping = systemd.message();
        assert!(ping.contains("WATCHDOG=1"), "{ping}");
        assert!(!ping.contains("READY=1"), "once is enough: {ping}");
    }

    signal(&role, Signal::HUP);
    let reloading = systemd.message_with("RELOADING=1");
    let moment = reloading
        .lines()
        .find_map(|it| it.strip_prefix("MONOTONIC_USEC="));
    assert!(moment.unwrap().parse::<u64>().unwrap() > 0, "{reloading}");
    systemd.message_with("READY=1");
    let status = binary::on(&state, &["relay", "status", "--json"])
        .expect(0)
        .json();
    assert_eq!(status["reloads"]["taken"], 1, "{status}");

    signal(&role, Signal::TERM);
    systemd.message_with("STOPPING=1");
}

/// A watchdog that is fed by a timer would be fed by a role that hangs.
#[test]
fn who_does_not_answer_is_not_alive() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("relay");
    init(&state, "127.0.0.1:0");
    let systemd = Systemd::new(directory.path());
    let (_role, _) = Role::start_by(systemd.command(), &state, "relay");
    systemd.message_with("READY=1");

    // In the place of the role stands one that hangs.
    let socket = state.join("relay.sock");
    std::fs::remove_file(&socket).unwrap();
    let hung = UnixListener::bind(&socket).unwrap();
    let (mut asked, _) = hung.accept().unwrap();
    systemd.socket.set_nonblocking(true).unwrap();
    while systemd.socket.recv(&mut [0; 4096]).is_ok() {}
    systemd.socket.set_nonblocking(false).unwrap();
    assert!(systemd.is_quiet_for(4 * WATCHDOG));

    let mut question = String::new();
    BufReader::new(&asked).read_line(&mut question).unwrap();
    assert!(question.contains("summary"), "{question}");
    writeln!(asked, r#"{{"type":"summary","tunnels":7}}"#).unwrap();
    let alive = systemd.message();
    assert!(
        alive.contains("STATUS=7 tunnels are up\nWATCHDOG=1"),
        "{alive}"
    );
}

#[test]
fn who_cannot_listen_is_never_ready() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("relay");
    init(&state, &taken.local_addr().unwrap().to_string());
    let systemd = Systemd::new(directory.path());
    let output = systemd
        .command()
        .args(["relay", "run", "--state"])
        .arg(&state)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(systemd.is_quiet_for(Duration::from_millis(1)));
}

#[test]
fn home_is_ready_without_its_relay() {
    let mut pair = Pair::start();
    pair.kill_home();
    pair.kill_relay();
    let systemd = Systemd::new(&pair.folder("systemd"));
    let (role, _) = Role::start_by(systemd.command(), &pair.folder("home"), "home");
    let ready = systemd.message();
    let lines: Vec<_> = ready.lines().collect();
    assert_eq!(
        lines,
        ["READY=1", "STATUS=no tunnel to a relay yet", "WATCHDOG=1"]
    );
    signal(&role, Signal::TERM);
    systemd.message_with("STOPPING=1");
}
