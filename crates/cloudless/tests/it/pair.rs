//! A relay and a home as two processes of the binary, as they would run on two machines.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;

/// Long enough for a loaded machine; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// The hostname of every pair: it resolves everywhere.
pub(crate) const HOSTNAME: &str = "localhost";

/// What a process said, in its state directory.
const LOG: &str = "stderr.log";

/// A relay, a home that joined it, and a user `me` with one device.
pub(crate) struct Pair {
    directory: TempDir,
    relay: Role,
    home: Role,
    relay_address: SocketAddr,
    local_address: SocketAddr,
    password: String,
}

impl Pair {
    /// Sets both up as the README says and starts them; returns once the tunnel is up.
    pub(crate) fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let (relay_state, home_state) = (
            directory.path().join("relay"),
            directory.path().join("home"),
        );
        #[rustfmt::skip]
        run(&relay_state, &["relay", "init", "--address", "127.0.0.1", "--server-name", "relay.test",
            "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]);
        let (relay, ready) = Role::start(&relay_state, "relay");
        let relay_address = address(&ready["https"][0]);
        // A relay that is started again has to be found where it was.
        let config = relay_state.join("relay.toml");
        let text = fs::read_to_string(&config).unwrap();
        let pinned = text.replacen(
            r#"https = "127.0.0.1:0""#,
            &format!(r#"https = "{relay_address}""#),
            1,
        );
        assert_ne!(pinned, text, "relay.toml says where to listen");
        fs::write(&config, pinned).unwrap();

        let code = run(&relay_state, &["relay", "invite", HOSTNAME]);
        run(
            &home_state,
            &["home", "join", code.trim(), "--local", "127.0.0.1:0"],
        );
        let added = run(
            &home_state,
            &["device", "add", "me", "phone", "--create-user", "--json"],
        );
        let added: Value = serde_json::from_str(&added).unwrap();
        let password = added["password"].as_str().expect("a password").to_owned();
        let (home, ready) = Role::start(&home_state, "home");
        let mut pair = Self {
            directory,
            relay,
            home,
            relay_address,
            local_address: address(&ready["local"][0]),
            password,
        };
        pair.await_tunnel();
        pair
    }

    /// Blocks until home says that its tunnel is up; once for each start of home.
    pub(crate) fn await_tunnel(&mut self) {
        let line = self.home.line();
        assert_eq!(line["tunnel"], "up", "{line}");
    }

    pub(crate) fn kill_home(&mut self) {
        self.home.kill();
    }

    /// Starts home again; its tunnel need not be up yet.
    pub(crate) fn start_home(&mut self) {
        let (home, ready) = Role::start(&self.directory.path().join("home"), "home");
        self.home = home;
        self.local_address = address(&ready["local"][0]);
    }

    pub(crate) fn kill_relay(&mut self) {
        self.relay.kill();
    }

    /// Starts the relay again, at the address that it had; it listens on return.
    pub(crate) fn start_relay(&mut self) {
        let (relay, ready) = Role::start(&self.directory.path().join("relay"), "relay");
        self.relay = relay;
        assert_eq!(address(&ready["https"][0]), self.relay_address);
    }

    /// A client that goes through the relay, with TLS to home.
    pub(crate) fn phone(&self) -> Client {
        Client::through_relay(self.relay_address, &self.ca_file(), &self.password)
    }

    /// A client on home's own machine.
    pub(crate) fn local_program(&self) -> Client {
        Client::on_loopback(self.local_address, &self.password)
    }

    pub(crate) fn relay_port(&self) -> u16 {
        self.relay_address.port()
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.directory.path().join("home").join("ca.pem")
    }

    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    /// A folder that lives as long as the pair.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if thread::panicking() {
            for name in ["relay", "home"] {
                let log = fs::read_to_string(self.directory.path().join(name).join(LOG));
                println!("---- {name} said:\n{}", log.unwrap_or_default());
            }
        }
    }
}

/// A running process of the binary.
struct Role {
    child: Child,
    lines: Receiver<String>,
}

impl Role {
    /// Starts `cloudless ROLE run` and returns it with its first line of JSON.
    fn start(state: &Path, name: &str) -> (Self, Value) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(state.join(LOG))
            .unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_cloudless"))
            .args([
                name,
                "run",
                "--ready-json",
                "--die-with",
                &std::process::id().to_string(),
            ])
            .arg("--state")
            .arg(state)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = sync_channel(16);
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut role = Self { child, lines };
        let ready = role.line();
        assert_eq!(ready["role"], name, "{ready}");
        (role, ready)
    }

    fn line(&mut self) -> Value {
        let line = self
            .lines
            .recv_timeout(PATIENCE)
            .expect("the process says that it is ready");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// SIGKILL: no drain, no flush.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // It may have been killed by the test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the binary to its end, which must be a success, and returns its standard output.
pub(crate) fn run(state: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_cloudless"))
        .args(arguments)
        .arg("--state")
        .arg(state)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cloudless {arguments:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn address(value: &Value) -> SocketAddr {
    value
        .as_str()
        .and_then(|it| it.parse().ok())
        .unwrap_or_else(|| panic!("no address: {value}"))
}
