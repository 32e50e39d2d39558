//! Homes without cloudless: `ssh` and `autossh`, with the programs that people have behind them.

mod answers;
mod classic;
mod outages;
mod refused;
mod restarts;
mod scene;
mod web_server;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::binary::{self, on};
use crate::corpus;
use crate::role::Role;
use crate::ssh::sshd::Machine;

/// It resolves everywhere.
const HOSTNAME: &str = "localhost";

/// Where relay and home run, and where the relay listens for visitors, in clear, and for SSH.
struct Place {
    relay: Machine,
    home: Machine,
    /// What home calls the relay's machine.
    host: String,
    address: IpAddr,
    ports: [u16; 3],
}

/// A relay that listens for SSH, and a machine at home with keys and a known_hosts.
struct Bed {
    directory: TempDir,
    place: Place,
    relay: Role,
    https: SocketAddr,
    http: SocketAddr,
    ssh: SocketAddr,
    metrics: String,
}

impl Bed {
    fn start() -> Option<Self> {
        Self::start_at(Place {
            relay: Machine::default(),
            home: Machine::default(),
            host: Ipv4Addr::LOCALHOST.to_string(),
            address: Ipv4Addr::LOCALHOST.into(),
            ports: [0; 3],
        })
    }

    fn start_at(place: Place) -> Option<Self> {
        for program in ["ssh", "autossh"] {
            let found = Command::new(program).arg("-V").output();
            if found.is_err() {
                corpus::missing(&format!(
                    "{program}: run `cargo xtask test`, which installs it"
                ));
                return None;
            }
        }
        let directory = TempDir::new().unwrap();
        let state = directory.path().join("relay");
        let listen = place.ports.map(|port| (place.address, port));
        let listen = listen.map(|at| SocketAddr::from(at).to_string());
        #[rustfmt::skip]
        on(&state, &["relay", "init", "--address", &place.host, "--server-name", "relay.test",
            "--listen", &listen[0], "--http-listen", &listen[1]]).expect(0);
        let config = state.join("relay.toml");
        let text = fs::read_to_string(&config).unwrap();
        assert!(
            text.contains("\nssh = []\n"),
            "SSH is off by default: {text}"
        );
        let on_ssh = text.replace("\nssh = []\n", &format!("\nssh = \"{}\"\n", listen[2]));
        let with_metrics = format!("metrics = \"127.0.0.1:0\"\n{on_ssh}");
        fs::write(&config, with_metrics).unwrap();
        let (relay, ready) = start_relay(&place, &state);
        let address = |name: &str| {
            ready[name][0]
                .as_str()
                .unwrap()
                .parse::<SocketAddr>()
                .unwrap()
        };
        let (https, http, ssh) = (address("https"), address("http"), address("ssh"));
        // A relay that is started again has to be found where it was.
        let mut pinned = fs::read_to_string(&config).unwrap();
        for (at, (name, address)) in [("https", https), ("http", http), ("ssh", ssh)]
            .into_iter()
            .enumerate()
        {
            let open = format!("\n{name} = \"{}\"\n", listen[at]);
            assert!(pinned.contains(&open), "{pinned}");
            pinned = pinned.replace(&open, &format!("\n{name} = \"{address}\"\n"));
        }
        fs::write(&config, pinned).unwrap();
        let bed = Self {
            directory,
            place,
            relay,
            https,
            http,
            ssh,
            metrics: ready["metrics"].as_str().unwrap().to_owned(),
        };
        bed.make_key("id");
        bed.learn_host_key();
        Some(bed)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn state(&self) -> PathBuf {
        self.path("relay")
    }

    /// Returns after so long, in which the relay goes on and has nothing to say.
    fn is_quiet_for(&self, duration: Duration) {
        self.relay.is_quiet_for(duration);
    }

    fn kill_relay(&mut self) {
        self.relay.kill();
    }

    /// Starts the relay again; it listens on return.
    fn start_relay(&mut self) {
        let (relay, ready) = start_relay(&self.place, &self.state());
        self.relay = relay;
        assert_eq!(ready["ssh"][0], self.ssh.to_string());
    }

    /// Makes a key as people do.
    fn make_key(&self, name: &str) {
        self.make_key_of(name, &["-t", "ed25519"]);
    }

    fn make_key_of(&self, name: &str, kind: &[&str]) {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-N", "", "-C", "laptop"])
            .args(kind)
            .arg("-f")
            .arg(self.path(name))
            .status();
        assert!(made.unwrap().success());
    }

    fn public_key(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap()
    }

    /// What `relay ssh-key` prints is what known_hosts takes.
    fn learn_host_key(&self) {
        let lines = on(&self.state(), &["relay", "ssh-key"]).expect(0).stdout;
        fs::write(self.path("known_hosts"), lines).unwrap();
    }

    /// Binds the name to a key, and returns what the command says.
    fn allow(&self, name: &str) -> Value {
        let key = self.public_key(name);
        let words: Vec<_> = key.split_whitespace().collect();
        let arguments = [&["relay", "allow-ssh", HOSTNAME], &words[..], &["--json"]].concat();
        on(&self.state(), &arguments).expect(0).json()
    }

    /// `ssh`, or a program that starts it, with what this bed needs.
    fn ssh_by(&self, program: &str, key: &str) -> Command {
        let known_hosts = format!("UserKnownHostsFile={}", self.path("known_hosts").display());
        let mut command = self.place.home.command(program);
        if program == "autossh" {
            let environment = [("AUTOSSH_GATETIME", "0"), ("AUTOSSH_POLL", "5")];
            command.args(["-M", "0"]).envs(environment);
        }
        command
            .args(["-F", "/dev/null", "-o", &known_hosts])
            .args(["-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"])
            .args(["-o", "IdentitiesOnly=yes", "-i"])
            .arg(self.path(key))
            .args(["-p", &self.ssh.port().to_string()])
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::null());
        command
    }

    /// Runs `ssh` to its end.
    fn ssh(&self, key: &str, arguments: &[&str]) -> Output {
        let mut command = self.ssh_by("ssh", key);
        command.args(arguments).output().unwrap()
    }

    /// Waits until visitors of the name are answered, or are not.
    fn is_online(&self, is_online: bool) {
        binary::until(&self.state(), "relay", |status| {
            status["homes"][0]["online"] == is_online
        });
    }

    /// Waits until the relay has the name, whatever is behind it, or has it no more.
    fn is_connected(&self, is_connected: bool) {
        binary::until(&self.state(), "relay", |status| {
            status["homes"][0]["since"].is_string() == is_connected
        });
    }

    /// What a URL of the name answers, through the relay.
    fn curl(&self, path: &str, arguments: &[&str]) -> String {
        let url = format!("https://{HOSTNAME}:{}{path}", self.https.port());
        curl(&[&["--ipv4", &url], arguments].concat())
    }
}

fn start_relay(place: &Place, state: &Path) -> (Role, Value) {
    let command = place.relay.command(env!("CARGO_BIN_EXE_cloudless"));
    Role::start_by(command, state, "relay")
}

fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--include", "--max-time", "20"])
        .args(arguments)
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&told).into_owned()
}

/// A program that runs until it is dropped, and those that it has started.
struct Running(Child);

impl Running {
    fn start(command: &mut Command, log: &Path) -> Self {
        let log = fs::File::options().create(true).append(true).open(log);
        let log = log.unwrap();
        let command = command.stdout(log.try_clone().unwrap()).stderr(log);
        Self(
            std::os::unix::process::CommandExt::process_group(command, 0)
                .spawn()
                .unwrap(),
        )
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.0.id()).ok();
        let pid = pid.and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// The same to those too that it has started.
    fn signal_all(&self, signal: rustix::process::Signal) {
        let group = i32::try_from(self.0.id()).ok();
        let group = group.and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process_group(group, signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = i32::try_from(self.0.id()).ok();
        if let Some(group) = group.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.0.wait();
    }
}
