//! Sockets that systemd keeps while the relay is started anew.

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use tempfile::TempDir;

use crate::binary;
use crate::corpus::missing;

const PATIENCE: Duration = Duration::from_secs(60);
/// Starts the relay again whenever it ends, and says its process number before.
const AGAIN: &str =
    r#"while :; do sh -c 'echo "{\"pid\":$$}"; LISTEN_PID=$$ exec "$@"' sh "$@"; done"#;

/// `systemd-socket-activate` and all that it started.
struct Unit {
    child: Child,
    lines: Receiver<Value>,
}

impl Unit {
    /// The next line that has this key.
    fn line_with(&self, key: &str) -> Value {
        loop {
            let mut line = self.lines.recv_timeout(PATIENCE).expect("a line of JSON");
            if !line[key].is_null() {
                return line[key].take();
            }
        }
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

#[test]
fn no_connection_attempt_is_lost_while_the_relay_is_started_anew() {
    if Command::new("systemd-socket-activate")
        .arg("--version")
        .output()
        .is_err()
    {
        return missing("systemd-socket-activate, of Debian's systemd");
    }
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("relay");
    #[rustfmt::skip]
    binary::on(&state, &["relay", "init", "--address", "127.0.0.1", "--server-name", "relay.test",
        "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]).expect(0);
    // The tool cannot choose ports.
    let free = ["127.0.0.1:0", "[::1]:0", "127.0.0.1:0"].map(|address| {
        let listener = TcpListener::bind(address).unwrap();
        listener.local_addr().unwrap()
    });
    let mut command = Command::new("systemd-socket-activate");
    for address in free {
        command.arg("-l").arg(address.to_string());
    }
    let mut child = command
        .args(["--fdname=https:https:http", "sh", "-c", AGAIN, "sh"])
        .arg(env!("CARGO_BIN_EXE_cloudless"))
        .args(["relay", "run", "--ready-json", "--state"])
        .arg(&state)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().expect("piped"));
    let (sender, lines) = sync_channel(64);
    thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            let _ = sender.send(serde_json::from_str(&line).unwrap());
        }
    });
    let unit = Unit { child, lines };

    let stop = Arc::new(AtomicBool::new(false));
    let answered: [Arc<AtomicU64>; 3] = Default::default();
    let clients: Vec<_> = free
        .into_iter()
        .zip(&answered)
        .map(|(address, answered)| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(answered));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let is_http = address == free[2];
                    let expected = if is_http { "404 " } else { "400 " };
                    let answer = attempt(address);
                    let status = answer.strip_prefix("HTTP/1.1 ");
                    assert!(
                        status.is_some_and(|it| it.starts_with(expected)),
                        "{answer}"
                    );
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut pid = unit.line_with("pid");
    for _ in 0..crate::rounds(5) {
        let https = unit.line_with("https");
        assert_eq!(https, serde_json::json!([free[0], free[1]]));
        // Each client gets through to each of the processes.
        for answered in &answered {
            let before = answered.load(Ordering::Relaxed);
            while answered.load(Ordering::Relaxed) < before + 2 {
                assert!(clients.iter().all(|client| !client.is_finished()));
                thread::yield_now();
            }
        }
        let process = i32::try_from(pid.as_i64().unwrap()).unwrap();
        kill_process(Pid::from_raw(process).unwrap(), Signal::TERM).unwrap();
        pid = unit.line_with("pid");
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn a_socket_for_ssh_is_one() {
    let free = [free_address(), free_address()];
    let Some(_unit) = start("", &free, &["--fdname=https:ssh"]) else {
        return;
    };
    let answer = attempt(free[1]);
    assert!(answer.starts_with("SSH-2.0-cloudless_"), "{answer}");
}

/// The sockets of a unit have one name, which says nothing.
#[test]
fn a_socket_for_ssh_is_known_by_its_port() {
    let free = [free_address(), free_address()];
    let Some(_unit) = start(&free[1].to_string(), &free, &[]) else {
        return;
    };
    let answer = attempt(free[0]);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let answer = attempt(free[1]);
    assert!(answer.starts_with("SSH-2.0-cloudless_"), "{answer}");
}

/// The units that packages bring know nothing of SSH.
#[test]
fn the_relay_listens_for_ssh_itself_where_systemd_does_not() {
    let free = [free_address()];
    let Some(mut unit) = start("127.0.0.1:0", &free, &[]) else {
        return;
    };
    let answer = attempt(free[0]);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let ready = unit.ready();
    assert_eq!(ready["https"], serde_json::json!([free[0]]));
    let ssh = ready["ssh"][0].as_str().expect("an address").parse();
    let answer = attempt(ssh.unwrap());
    assert!(answer.starts_with("SSH-2.0-cloudless_"), "{answer}");
}

#[test]
fn a_relay_that_cannot_listen_for_ssh_does_not_start_and_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (taken, address)).unwrap();
    let free = [free_address()];
    let Some(mut unit) = start(&taken.1.to_string(), &free, &[]) else {
        return;
    };
    // Nobody answers.
    let _waiting = connect(free[0]);
    assert!(!unit.child.wait().unwrap().success());
    let mut said = String::new();
    let mut errors = unit.child.stderr.take().expect("piped");
    errors.read_to_string(&mut said).unwrap();
    let line = format!("ListenStream={}", taken.1);
    for words in ["systemctl edit cloudless-relay.socket", &line, "listen.ssh"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

/// A relay with this `listen.ssh`, to which the tool hands over sockets with these addresses at the
/// first connection.
fn start(ssh: &str, sockets: &[SocketAddr], options: &[&str]) -> Option<Activated> {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("relay");
    #[rustfmt::skip]
    binary::on(&state, &["relay", "init", "--address", "127.0.0.1", "--server-name", "relay.test",
        "--no-http"]).expect(0);
    if !ssh.is_empty() {
        let config = state.join("relay.toml");
        let text = fs::read_to_string(&config).unwrap();
        let text = text.replace("\nssh = []\n", &format!("\nssh = \"{ssh}\"\n"));
        fs::write(&config, text).unwrap();
    }
    let mut command = Command::new("systemd-socket-activate");
    for address in sockets {
        command.arg("-l").arg(address.to_string());
    }
    let child = command
        .args(options)
        .arg(env!("CARGO_BIN_EXE_cloudless"))
        .args(["relay", "run", "--ready-json", "--state"])
        .arg(&state)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn();
    match child {
        Ok(child) => Some(Activated {
            child,
            _directory: directory,
        }),
        Err(_) => {
            missing("systemd-socket-activate, of Debian's systemd");
            None
        }
    }
}

/// The tool, and then the relay in its place.
struct Activated {
    child: Child,
    _directory: TempDir,
}

impl Activated {
    /// What the relay says once it listens.
    fn ready(&mut self) -> Value {
        let output = self.child.stdout.take().expect("piped");
        let line = BufReader::new(output).lines().next().expect("a line");
        serde_json::from_str(&line.unwrap()).unwrap()
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap()
}

/// The answer to a request in clear, which both ports give: what is for no home is not found, and the
/// port for TLS says what it is for.
fn attempt(address: SocketAddr) -> String {
    let stream = connect(address);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    (&stream)
        .write_all(b"GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    (&stream).read_to_string(&mut answer).unwrap();
    answer
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = loop {
        match TcpStream::connect(address) {
            // The tool does not listen yet; from then on the port is never free.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused && !seen(address) => {
                thread::yield_now();
            }
            connected => break connected.unwrap(),
        }
    };
    SEEN.lock().unwrap().insert(address);
    stream
}

static SEEN: std::sync::Mutex<std::collections::BTreeSet<SocketAddr>> =
    std::sync::Mutex::new(std::collections::BTreeSet::new());

fn seen(address: SocketAddr) -> bool {
    SEEN.lock().unwrap().contains(&address)
}
