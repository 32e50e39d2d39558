//! A relay and a home as processes of the binary, in the test bed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use cloudless_home::Relay;
use cloudless_testbed::{Bed, Conditions, Family, Namespace, RELAY, RELAY_MOVED, missing};
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::corpus;
use crate::network::prober::Prober;
use crate::role::{LOG, Role};

/// The name of every home here.
pub(crate) const HOSTNAME: &str = crate::pair::HOSTNAME;
const HTTPS: u16 = 443;
/// Nobody waits longer for home to say something.
const PATIENCE: Duration = Duration::from_secs(60);

/// The scene with a relay that runs, a home that joined it, and a user `me` with one device.
pub(crate) struct Machines {
    // Processes end before their machines.
    relay: Role,
    second_relay: Option<Role>,
    home: Role,
    clone: Option<Role>,
    directory: TempDir,
    family: Family,
    password: String,
    pub(crate) bed: Bed,
}

impl Machines {
    /// Sets all up as the README says, home joined by the relay's address of this family; returns
    /// once the tunnel is up. `None` where the machine allows no scene.
    pub(crate) fn start(family: Family) -> Option<Self> {
        Self::start_at(family, &RELAY[family as usize].to_string(), |_| ())
    }

    /// The same with a relay known by `address`, and something done to the bed before.
    pub(crate) fn start_at(
        family: Family,
        address: &str,
        prepare: impl FnOnce(&Bed),
    ) -> Option<Self> {
        let at = ["--address", address];
        Self::start_by(family, &at, prepare, start_binary)
    }

    /// The same with a relay that is made with these flags and started by the caller, who may change
    /// the state directory before.
    pub(crate) fn start_by(
        family: Family,
        init: &[&str],
        prepare: impl FnOnce(&Bed),
        start_relay: impl FnOnce(&Bed, &Path) -> Role,
    ) -> Option<Self> {
        if let Some(what) = missing() {
            corpus::missing(&what);
            return None;
        }
        let bed = Bed::new(Conditions::default());
        prepare(&bed);
        let directory = TempDir::new().unwrap();
        let state = |role: &str| directory.path().join(role);
        let on_relay = |arguments: &[&str]| run(&bed.relay, &state("relay"), arguments);
        let on_home = |arguments: &[&str]| run(&bed.home, &state("home"), arguments);
        on_relay(&[&["relay", "init"], init].concat());
        let relay = start_relay(&bed, &state("relay"));
        let code = on_relay(&["relay", "invite", HOSTNAME]);
        on_home(&["home", "join", code.trim()]);
        #[rustfmt::skip]
        let added = on_home(&["device", "add", "me", "phone", "--create-user", "--json"]);
        let added: Value = serde_json::from_str(&added).unwrap();
        let password = added["password"].as_str().unwrap().to_owned();
        let (home, _) = Role::start_by(binary(&bed.home), &state("home"), "home");
        let mut machines = Self {
            relay,
            second_relay: None,
            home,
            clone: None,
            directory,
            family,
            password,
            bed,
        };
        machines.await_tunnel();
        Some(machines)
    }

    /// Blocks until home says that its tunnel is up; once for each start of home.
    pub(crate) fn await_tunnel(&mut self) {
        assert_eq!(self.home.line()["tunnel"], "up");
    }

    /// The same with a second relay that home has joined too, under the relay's other addresses, and
    /// home's own look from outside at both of them.
    pub(crate) fn start_with_two_relays(family: Family) -> Option<Self> {
        let mut machines = Self::start_with_room(family)?;
        let state = machines.folder().join("second-relay");
        let second = machines.second_address().to_string();
        #[rustfmt::skip]
        run(&machines.bed.relay, &state, &["relay", "init", "--address", &second,
            "--server-name", "second.test", "--listen", &second, "--no-http"]);
        let (relay, _) = Role::start_by(binary(&machines.bed.relay), &state, "relay");
        machines.second_relay = Some(relay);
        let code = run(&machines.bed.relay, &state, &["relay", "invite", HOSTNAME]);
        machines.kill_home();
        machines.on_home(&["home", "join", code.trim()]);
        machines.configure_home("");
        machines.start_home();
        machines.await_tunnel();
        Some(machines)
    }

    /// Leaves the relay's other addresses to another relay.
    pub(crate) fn start_with_room(family: Family) -> Option<Self> {
        let listen = SocketAddr::from((RELAY[family as usize], HTTPS)).to_string();
        let init = ["--address", &listen, "--listen", &listen, "--no-http"];
        let prepare = |bed: &Bed| bed.add_relay_addresses();
        Self::start_by(family, &init, prepare, start_binary)
    }

    /// Home stands still, and has this in its file from then on, and a look from outside at both relays.
    pub(crate) fn configure_home(&mut self, tables: &str) {
        self.home.kill();
        let file = self.directory.path().join("home").join("home.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let (first, second) = (self.first_address(), self.second_address());
        let probe = format!("[probe]\naddresses = [\"{first}\", \"{second}\"]\n");
        std::fs::write(&file, format!("{text}\n{tables}{probe}")).unwrap();
    }

    /// Runs the binary on home's machine to its success, and returns what it printed.
    pub(crate) fn on_home(&self, arguments: &[&str]) -> String {
        let state = self.directory.path().join("home");
        run(&self.bed.home, &state, arguments)
    }

    fn first_address(&self) -> SocketAddr {
        (RELAY[self.family as usize], HTTPS).into()
    }

    pub(crate) fn second_address(&self) -> SocketAddr {
        (RELAY_MOVED[self.family as usize], HTTPS).into()
    }

    /// Blocks until a relay that something else has started again says that it is ready; once for
    /// each start but the first.
    pub(crate) fn await_relay(&mut self) {
        assert_eq!(self.relay.line()["role"], "relay");
    }

    pub(crate) fn kill_relay(&mut self) {
        self.relay.kill();
    }

    /// Starts the relay again; it listens on return.
    pub(crate) fn start_relay(&mut self) {
        let state = self.directory.path().join("relay");
        (self.relay, _) = Role::start_by(binary(&self.bed.relay), &state, "relay");
    }

    /// Returns after so long, in which home goes on and has nothing to say.
    pub(crate) fn home_is_quiet_for(&self, duration: Duration) {
        self.home.is_quiet_for(duration);
    }

    /// The same of the relay.
    pub(crate) fn relay_is_quiet_for(&self, duration: Duration) {
        self.relay.is_quiet_for(duration);
    }

    /// SIGKILL, and nothing else of its machine.
    pub(crate) fn kill_home(&mut self) {
        self.home.kill();
    }

    /// Starts home again. Its tunnel need not be up yet.
    pub(crate) fn start_home(&mut self) {
        let state = self.directory.path().join("home");
        (self.home, _) = Role::start_by(binary(&self.bed.home), &state, "home");
    }

    /// Copies home's disk while home stands still, as a backup or an image of it would.
    pub(crate) fn copy_disk(&mut self) {
        self.kill_home();
        let mut copy = Command::new("cp");
        copy.arg("--archive");
        copy.args(["home", "clone"].map(|name| self.directory.path().join(name)));
        assert!(copy.status().unwrap().success(), "{copy:?}");
        self.start_home();
        self.await_tunnel();
    }

    /// Starts home from the copy of its disk, on a machine beside the phone.
    pub(crate) fn start_clone(&mut self) {
        let state = self.directory.path().join("clone");
        let (clone, _) = Role::start_by(binary(&self.bed.phone), &state, "home");
        self.clone = Some(clone);
    }

    /// Starts home from the copy of its disk, on its own machine, once what ran there is gone.
    pub(crate) fn start_home_from_copy(&mut self) {
        let state = self.directory.path().join("clone");
        (self.home, _) = Role::start_by(binary(&self.bed.home), &state, "home");
    }

    /// Starts home anew with these environment variables. Its tunnel need not be up yet.
    pub(crate) fn restart_home_with(&mut self, environment: &[(&str, &str)]) {
        self.home.kill();
        let mut command = binary(&self.bed.home);
        command.envs(environment.iter().copied());
        command.env("CLOUDLESS_LOG", "debug");
        let state = self.directory.path().join("home");
        (self.home, _) = Role::start_by(command, &state, "home");
    }

    /// Waits until home's status says this.
    pub(crate) fn home_says(&self, words: &str) {
        self.says(&self.bed.home, "home", "home", words);
    }

    /// Waits until the status of the copy that runs beside the phone says this.
    pub(crate) fn clone_says(&self, words: &str) {
        self.says(&self.bed.phone, "clone", "home", words);
    }

    /// Waits until the relay's status says this.
    pub(crate) fn relay_says(&self, words: &str) {
        self.says(&self.bed.relay, "relay", "relay", words);
    }

    /// Waits until the relay's status is as expected.
    pub(crate) fn relay_until(&self, expected: impl Fn(&Value) -> bool) {
        let begun = Instant::now();
        loop {
            let status = self.relay_status();
            if expected(&status) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{status}");
        }
    }

    /// The relay as home is told of it.
    pub(crate) fn relay(&self) -> Relay {
        let status = self.relay_status();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Relay {
            addresses: vec![self.first_address().to_string()],
            server_name: text(&status["server_name"]).parse().unwrap(),
            key: text(&status["key"]["key"]).parse().unwrap(),
        }
    }

    /// What the relay says of itself.
    pub(crate) fn relay_status(&self) -> Value {
        let state = self.directory.path().join("relay");
        let status = run(&self.bed.relay, &state, &["relay", "status", "--json"]);
        serde_json::from_str(&status).unwrap()
    }

    fn says(&self, machine: &Namespace, folder: &str, role: &str, words: &str) {
        let state = self.directory.path().join(folder);
        let begun = Instant::now();
        loop {
            let status = run(machine, &state, &[role, "status", "--json"]);
            if status.contains(words) {
                return;
            }
            let waited = begun.elapsed();
            assert!(waited < PATIENCE, "not said: {words}\n{status}");
        }
    }

    /// What home says when it is asked to look from outside now.
    pub(crate) fn home_looks(&self) -> Value {
        let state = self.directory.path().join("home");
        let mut command = binary(&self.bed.home);
        command.args(["home", "status", "--check", "--json", "--state"]);
        let output = command.arg(state).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// All that home has logged.
    pub(crate) fn home_log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("home").join(LOG)).unwrap()
    }

    pub(crate) fn home_pid(&self) -> u32 {
        self.home.pid()
    }

    /// A phone that asks for something on a new connection, every 100 ms.
    pub(crate) fn prober(&self) -> Prober {
        self.prober_at(self.first_address())
    }

    /// The same by a name that leads to both relays, the first one first.
    pub(crate) fn prober_at_both(&self) -> Prober {
        let client = self.client(self.first_address());
        Prober::start(&self.bed.phone, client.or(self.second_address()))
    }

    /// The same at a relay that has moved.
    pub(crate) fn moved_prober(&self) -> Prober {
        self.prober_at(self.second_address())
    }

    pub(crate) fn client(&self, address: SocketAddr) -> Client {
        Client::through_relay(address, &self.ca_file(), &self.password)
    }

    /// The same at this address alone.
    pub(crate) fn prober_at(&self, address: SocketAddr) -> Prober {
        Prober::start(&self.bed.phone, self.client(address))
    }

    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.directory.path().join("home").join("ca.pem")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        if thread::panicking() {
            for role in ["relay", "home"] {
                let log = self.directory.path().join(role).join(LOG);
                let log = std::fs::read_to_string(log).unwrap_or_default();
                println!("---- {role} said:\n{log}");
            }
        }
    }
}

fn start_binary(bed: &Bed, state: &Path) -> Role {
    Role::start_by(binary(&bed.relay), state, "relay").0
}

fn binary(namespace: &Namespace) -> Command {
    namespace.command(env!("CARGO_BIN_EXE_cloudless"))
}

/// Runs the binary on a machine to its end, which must be a success.
fn run(namespace: &Namespace, state: &Path, arguments: &[&str]) -> String {
    let mut command = binary(namespace);
    command.args(arguments).arg("--state").arg(state);
    let output = command.output().unwrap();
    String::from_utf8(success(&command, output)).unwrap()
}

/// What a command printed that was a success.
pub(crate) fn success(command: &Command, output: Output) -> Vec<u8> {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{told}",
        output.status
    );
    output.stdout
}
