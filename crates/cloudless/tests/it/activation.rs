//! Sockets that systemd keeps while the relay is started anew.

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
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("relay");
    #[rustfmt::skip]
    binary::on(&state, &["relay", "init", "--address", "127.0.0.1", "--server-name", "relay.test",
        "--no-http"]).expect(0);
    let free = [(); 2].map(|()| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    });
    let mut command = Command::new("systemd-socket-activate");
    for address in free {
        command.arg("-l").arg(address.to_string());
    }
    let child = command
        .args(["--fdname=https:ssh", env!("CARGO_BIN_EXE_cloudless")])
        .args(["relay", "run", "--state"])
        .arg(&state)
        .stdin(Stdio::null())
        .process_group(0)
        .spawn();
    let Ok(child) = child else {
        return missing("systemd-socket-activate, of Debian's systemd");
    };
    let (_sender, lines) = sync_channel(0);
    let _unit = Unit { child, lines };
    let answer = attempt(free[1]);
    assert!(answer.starts_with("SSH-2.0-cloudless_"), "{answer}");
}

/// The answer to a request in clear, which both ports give: what is for no home is not found, and the
/// port for TLS says what it is for.
fn attempt(address: SocketAddr) -> String {
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
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    (&stream)
        .write_all(b"GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    (&stream).read_to_string(&mut answer).unwrap();
    answer
}

static SEEN: std::sync::Mutex<std::collections::BTreeSet<SocketAddr>> =
    std::sync::Mutex::new(std::collections::BTreeSet::new());

fn seen(address: SocketAddr) -> bool {
    SEEN.lock().unwrap().contains(&address)
}
