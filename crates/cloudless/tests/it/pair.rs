//! A relay and a home as two processes of the binary, as they would run on two machines.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use crate::binary;
use crate::client::Client;
use crate::role::{LOG, Role};

/// The hostname of every pair: it resolves everywhere.
pub(crate) const HOSTNAME: &str = "localhost";

/// A relay, a home that joined it, and a user `me` with one device.
pub(crate) struct Pair {
    directory: TempDir,
    relay: Role,
    home: Role,
    relay_address: SocketAddr,
    relay_http: SocketAddr,
    local_address: SocketAddr,
    password: String,
    hostname: String,
    /// What the relay logs when it is started again.
    level: Option<String>,
}

impl Pair {
    /// Sets both up as the README says and starts them; returns once the tunnel is up.
    pub(crate) fn start() -> Self {
        Self::start_as(HOSTNAME)
    }

    /// The same with another hostname, which need not resolve.
    pub(crate) fn start_as(hostname: &str) -> Self {
        Self::start_configured(hostname, "")
    }

    /// The same with more tables in home.toml.
    pub(crate) fn start_configured(hostname: &str, tables: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let (relay_state, home_state) = (
            directory.path().join("relay"),
            directory.path().join("home"),
        );
        #[rustfmt::skip]
        succeed(&relay_state, &["relay", "init", "--address", "127.0.0.1", "--server-name", "relay.test",
            "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]);
        let (relay, ready) = Role::start(&relay_state, "relay");
        let relay_address = address(&ready["https"][0]);
        let relay_http = address(&ready["http"][0]);
        // A relay that is started again has to be found where it was.
        let config = relay_state.join("relay.toml");
        let text = fs::read_to_string(&config).unwrap();
        let pinned = text.replacen(
            r#"https = "127.0.0.1:0""#,
            &format!(r#"https = "{relay_address}""#),
            1,
        );
        let pinned_http = pinned.replacen(
            r#"http = "127.0.0.1:0""#,
            &format!(r#"http = "{relay_http}""#),
            1,
        );
        assert!(
            pinned != text && pinned_http != pinned,
            "relay.toml says where to listen"
        );
        let pinned = pinned_http;
        fs::write(&config, pinned).unwrap();

        let code = succeed(&relay_state, &["relay", "invite", hostname]);
        succeed(
            &home_state,
            &["home", "join", code.trim(), "--local", "127.0.0.1:0"],
        );
        let added = succeed(
            &home_state,
            &["device", "add", "me", "phone", "--create-user", "--json"],
        );
        // The name leads to both families, and the relay listens on one.
        let config = home_state.join("home.toml");
        let text = fs::read_to_string(&config).unwrap();
        let probe = format!("{text}\n[probe]\naddresses = \"{relay_address}\"\n{tables}");
        fs::write(&config, probe).unwrap();
        let added: Value = serde_json::from_str(&added).unwrap();
        let password = added["password"].as_str().expect("a password").to_owned();
        let (home, ready) = Role::start(&home_state, "home");
        let mut pair = Self {
            directory,
            relay,
            home,
            relay_address,
            relay_http,
            local_address: address(&ready["local"][0]),
            password,
            hostname: hostname.to_owned(),
            level: None,
        };
        pair.await_tunnel();
        pair
    }

    /// Has home find the relay elsewhere from its next start on.
    pub(crate) fn lead_home_over(&self, address: SocketAddr) {
        let config = self.directory.path().join("home/home.toml");
        let text = fs::read_to_string(&config).unwrap();
        let (joined, led) = (
            format!("addresses = [\"{}\"]", self.relay_address),
            format!("addresses = [\"{address}\"]"),
        );
        assert!(text.contains(&joined), "{text}");
        fs::write(&config, text.replacen(&joined, &led, 1)).unwrap();
    }

    /// Blocks until home says that its tunnel is up; once for each start of home.
    pub(crate) fn await_tunnel(&mut self) {
        let line = self.home.line();
        assert_eq!(line["tunnel"], "up", "{line}");
    }

    pub(crate) fn home_pid(&self) -> u32 {
        self.home.pid()
    }

    pub(crate) fn relay_pid(&self) -> u32 {
        self.relay.pid()
    }

    pub(crate) fn kill_home(&mut self) {
        self.home.kill();
    }

    /// Starts home again; its tunnel need not be up yet.
    pub(crate) fn start_home(&mut self) {
        self.start_home_by(Command::new(env!("CARGO_BIN_EXE_cloudless")));
    }

    /// The same by another command that ends in the binary.
    pub(crate) fn start_home_by(&mut self, command: Command) {
        let state = self.directory.path().join("home");
        let (home, ready) = Role::start_by(command, &state, "home");
        self.home = home;
        self.local_address = address(&ready["local"][0]);
    }

    pub(crate) fn kill_relay(&mut self) {
        self.relay.kill();
    }

    /// Starts the relay again, at the address that it had; it listens on return.
    pub(crate) fn start_relay(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloudless"));
        if let Some(level) = &self.level {
            command.env("CLOUDLESS_LOG", level);
        }
        let state = self.directory.path().join("relay");
        let (relay, ready) = Role::start_by(command, &state, "relay");
        self.relay = relay;
        assert_eq!(address(&ready["https"][0]), self.relay_address);
    }

    /// Ends both and starts them again with another level and format of logs, which begin anew.
    pub(crate) fn restart_with_log(&mut self, level: &str, format: &str) {
        self.kill_home();
        self.kill_relay();
        self.level = Some(level.to_owned());
        let start = |name: &str| {
            let state = self.directory.path().join(name);
            fs::remove_file(state.join(LOG)).unwrap();
            let mut command = Command::new(env!("CARGO_BIN_EXE_cloudless"));
            command.env("CLOUDLESS_LOG", level);
            command.env("CLOUDLESS_LOG_FORMAT", format);
            Role::start_by(command, &state, name)
        };
        let ((relay, _), (home, ready)) = (start("relay"), start("home"));
        self.relay = relay;
        self.home = home;
        self.local_address = address(&ready["local"][0]);
        self.await_tunnel();
    }

    /// What a role said on standard error so far.
    pub(crate) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name).join(LOG)).unwrap_or_default()
    }

    /// A client that goes through the relay, with TLS to home.
    pub(crate) fn phone(&self) -> Client {
        Client::through_relay(self.relay_address, &self.ca_file(), &self.password)
            .named(&self.hostname)
    }

    /// A client on home's own machine.
    pub(crate) fn local_program(&self) -> Client {
        Client::on_loopback(self.local_address, &self.password)
    }

    /// The URL of a path at home's own machine, without TLS.
    pub(crate) fn local_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.local_address)
    }

    pub(crate) fn relay_address(&self) -> SocketAddr {
        self.relay_address
    }

    pub(crate) fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    pub(crate) fn relay_port(&self) -> u16 {
        self.relay_address.port()
    }

    pub(crate) fn relay_http_port(&self) -> u16 {
        self.relay_http.port()
    }

    pub(crate) fn relay_http_address(&self) -> SocketAddr {
        self.relay_http
    }

    /// A phone that trusts another authority than home's own.
    pub(crate) fn phone_that_trusts(&self, ca_file: &Path) -> Client {
        Client::through_relay(self.relay_address, ca_file, &self.password)
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
                println!("---- {name} said:\n{}", self.log(name));
            }
        }
    }
}

fn address(value: &Value) -> SocketAddr {
    value
        .as_str()
        .and_then(|it| it.parse().ok())
        .unwrap_or_else(|| panic!("no address: {value}"))
}

/// Runs the binary to its end, which must be a success, and returns its standard output.
fn succeed(state: &Path, arguments: &[&str]) -> String {
    binary::on(state, arguments).expect(0).stdout
}
