//! A home whose relay is an SSH server.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::sshd::{Machine, Sshd, user};
use crate::binary;
use crate::client::Client;
use crate::network::machines::success;
use crate::pair::HOSTNAME;
use crate::role::{LOG, Role};

/// A home, and a user `me` with one device.
pub(crate) struct Home {
    machine: Machine,
    directory: TempDir,
    role: Option<Role>,
    password: String,
}

impl Home {
    /// Sets one up as docs/sshd.md says; it does not run yet.
    pub(crate) fn set_up(sshd: &Sshd, forward: &str, more: &str) -> Self {
        let home = Self::configured(sshd, forward, more);
        home.meet(sshd);
        home
    }

    /// The same on another machine, for which sshd's host has this name.
    pub(crate) fn set_up_at(machine: &Machine, sshd: &Sshd, host: &str, forward: &str) -> Self {
        let mut home = Self::configured_for(sshd, host, forward, "");
        home.machine = machine.clone();
        home.meet(sshd);
        home
    }

    /// Each vouches for the other.
    fn meet(&self, sshd: &Sshd) {
        let line = self.succeed(&["home", "ssh", "key"]);
        sshd.authorize(line.trim_end());
        self.succeed(&["home", "ssh", "trust", &sshd.fingerprint()]);
    }

    /// The same, before anybody has vouched for anybody.
    pub(crate) fn configured(sshd: &Sshd, forward: &str, more: &str) -> Self {
        Self::configured_for(sshd, &sshd.address().ip().to_string(), forward, more)
    }

    fn configured_for(sshd: &Sshd, host: &str, forward: &str, more: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let state = directory.path();
        let (port, user) = (sshd.address().port(), user());
        let config = format!(
            "hostnames = [\"{HOSTNAME}\"]\nlocal = \"127.0.0.1:0\"\n\
             [probe]\naddresses = \"127.0.0.1:9\"\n\
             [[relay]]\ntransport = \"ssh\"\nhost = \"{host}\"\nport = {port}\n\
             user = \"{user}\"\nforward = \"{forward}\"\n{more}",
        );
        fs::write(state.join("home.toml"), config).unwrap();
        let added = binary::on(
            state,
            &["device", "add", "me", "phone", "--create-user", "--json"],
        );
        let password = added.expect(0).json()["password"]
            .as_str()
            .unwrap()
            .to_owned();
        Self {
            machine: Machine::default(),
            directory,
            role: None,
            password,
        }
    }

    pub(crate) fn stop(&mut self) {
        self.role = None;
    }

    /// The same once more, as on a machine that got a copy of the first one's disk. Neither may run.
    pub(crate) fn copy(&self) -> Self {
        let directory = TempDir::new().unwrap();
        let copied = Command::new("cp")
            .arg("-a")
            .arg(self.state().join("."))
            .arg(directory.path())
            .status();
        assert!(copied.unwrap().success());
        Self {
            machine: self.machine.clone(),
            directory,
            role: None,
            password: self.password.clone(),
        }
    }

    /// Has home look for itself at this address.
    pub(crate) fn probe_at(&self, address: SocketAddr) {
        let path = self.state().join("home.toml");
        let text = fs::read_to_string(&path).unwrap();
        let nowhere = "addresses = \"127.0.0.1:9\"";
        assert!(text.contains(nowhere), "{text}");
        let text = text.replace(nowhere, &format!("addresses = \"{address}\""));
        fs::write(&path, text).unwrap();
    }

    /// Starts it; its tunnel need not be up yet.
    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// The same with these environment variables.
    pub(crate) fn start_with(&mut self, environment: &[(&str, &str)]) {
        let mut command = self.machine.command(env!("CARGO_BIN_EXE_cloudless"));
        command.envs(environment.iter().copied());
        let (role, _) = Role::start_by(command, self.state(), "home");
        self.role = Some(role);
    }

    /// Blocks until home says that its tunnel is up; once for each start of home.
    pub(crate) fn await_tunnel(&mut self) {
        let line = self.role.as_mut().unwrap().line();
        assert_eq!(line["tunnel"], "up", "{line}");
    }

    pub(crate) fn role(&self) -> &Role {
        self.role.as_ref().unwrap()
    }

    /// The first relay's row of the status once it is as wanted.
    #[track_caller]
    pub(crate) fn relay_until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let status = binary::until(self.state(), "home", |it| wanted(&it["relays"][0]));
        status["relays"][0].clone()
    }

    /// A client that comes in at this address.
    pub(crate) fn phone(&self, address: SocketAddr) -> Client {
        Client::through_relay(address, &self.ca_file(), &self.password)
    }

    /// The same, which trusts another authority than home's own.
    pub(crate) fn phone_that_trusts(&self, address: SocketAddr, ca_file: &Path) -> Client {
        Client::through_relay(address, ca_file, &self.password)
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.state().join("ca.pem")
    }

    pub(crate) fn state(&self) -> &Path {
        self.directory.path()
    }

    /// Runs the binary on home's machine to its success, and returns what it printed.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let mut command = self.machine.command(env!("CARGO_BIN_EXE_cloudless"));
        command.args(arguments).arg("--state").arg(self.state());
        let output = command.output().unwrap();
        String::from_utf8(success(&command, output)).unwrap()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.state().join(LOG));
            println!("---- home said:\n{}", log.unwrap_or_default());
        }
    }
}
