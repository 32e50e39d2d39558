//! OpenSSH's server, as a process of its own that knows one user: whoever runs the tests.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::yield_now;
use std::time::{Duration, Instant};

use cloudless_testbed::Namespace;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::corpus;

pub(crate) const SSHD: &str = "/usr/sbin/sshd";
/// Long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the classic recipe sets, and nothing else.
pub(crate) const RECIPE: &str = "GatewayPorts clientspecified\n";

/// Where something runs: here, or in a network namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine(Option<String>);

impl Machine {
    pub(crate) fn of(namespace: &Namespace) -> Self {
        Self(Some(namespace.name().to_owned()))
    }

    /// A command that becomes the program there.
    pub(crate) fn command(&self, program: &str) -> Command {
        let Some(name) = &self.0 else {
            return Command::new(program);
        };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", name, program]);
        command
    }
}

/// A running sshd with its sessions; all of it ends when dropped.
pub(crate) struct Sshd {
    machine: Machine,
    folder: TempDir,
    address: SocketAddr,
    child: Child,
}

impl Sshd {
    /// Starts one with these lines in its configuration; `None` where there is no sshd.
    pub(crate) fn start(settings: &str) -> Option<Self> {
        Self::start_at(&Machine::default(), settings, free_address)
    }

    /// The same on another machine.
    pub(crate) fn start_at(
        machine: &Machine,
        settings: &str,
        address: impl Fn() -> SocketAddr,
    ) -> Option<Self> {
        if !Path::new(SSHD).exists() {
            corpus::missing("sshd, of the package openssh-server");
            return None;
        }
        let folder = TempDir::new().unwrap();
        // Where sshd shuts itself in before it knows anybody.
        let _ = fs::create_dir_all("/run/sshd");
        fs::write(folder.path().join("authorized_keys"), "").unwrap();
        make_key(&folder.path().join("host_key"), "ed25519");
        let start = Instant::now();
        loop {
            let address = address();
            configure(folder.path(), address, settings);
            if let Some(child) = listening(machine, folder.path()) {
                return Some(Self {
                    machine: machine.clone(),
                    folder,
                    address,
                    child,
                });
            }
            assert!(
                start.elapsed() < PATIENCE,
                "sshd ends at once: {}",
                log(folder.path())
            );
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it calls its key.
    pub(crate) fn fingerprint(&self) -> String {
        let key = self.folder.path().join("host_key.pub");
        let output = Command::new("ssh-keygen")
            .arg("-lf")
            .arg(key)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split(' ').nth(1).unwrap().to_owned()
    }

    /// A line that lets somebody in.
    pub(crate) fn authorize(&self, line: &str) {
        let path = self.folder.path().join("authorized_keys");
        fs::write(path, format!("{line}\n")).unwrap();
    }

    /// From now on it has another key.
    pub(crate) fn change_key(&mut self) {
        let path = self.folder.path().join("host_key");
        fs::remove_file(&path).unwrap();
        make_key(&path, "ed25519");
        self.restart();
    }

    /// Its host reboots in no time.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(child) = listening(&self.machine, self.folder.path()) {
                self.child = child;
                return;
            }
        }
        panic!("sshd does not start again: {}", self.log());
    }

    /// Ends the sessions too.
    pub(crate) fn kill(&mut self) {
        let sessions = self.sessions();
        let _ = self.child.kill();
        let _ = self.child.wait();
        for session in sessions {
            let _ = kill_process(session, Signal::KILL);
        }
    }

    /// The processes of its sessions, which outlive it as they come.
    pub(crate) fn sessions(&self) -> Vec<Pid> {
        let mut found = Vec::new();
        let mut parents = vec![self.child.id().to_string()];
        while let Some(parent) = parents.pop() {
            let output = Command::new("pgrep")
                .args(["-P", &parent])
                .output()
                .unwrap();
            let children = String::from_utf8(output.stdout).unwrap();
            for child in children.lines() {
                found.extend(child.parse().ok().and_then(Pid::from_raw));
                parents.push(child.to_owned());
            }
        }
        found
    }

    pub(crate) fn log(&self) -> String {
        log(self.folder.path())
    }

    /// A path for a socket that its sessions may make.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("---- sshd said:\n{}", self.log());
        }
        self.kill();
    }
}

/// An address on loopback where nobody listens, as far as that can be known.
pub(crate) fn free_address() -> SocketAddr {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    free.local_addr().unwrap()
}

fn configure(folder: &Path, address: SocketAddr, settings: &str) {
    let folder_name = folder.display();
    let config = format!(
        "{settings}\
         Port {}\nListenAddress {}\nHostKey {folder_name}/host_key\nPidFile none\n\
         AuthorizedKeysFile {folder_name}/authorized_keys\nStrictModes no\nUsePAM no\n\
         PasswordAuthentication no\nPermitRootLogin prohibit-password\nLogLevel VERBOSE\n",
        address.port(),
        address.ip(),
    );
    fs::write(folder.join("sshd_config"), config).unwrap();
}

/// An sshd that listens, unless it ends at once.
fn listening(machine: &Machine, folder: &Path) -> Option<Child> {
    let n_listening = || log(folder).matches("Server listening on").count();
    let before = n_listening();
    let output = fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .unwrap();
    let mut child = machine
        .command(SSHD)
        .args(["-D", "-e", "-f"])
        .arg(folder.join("sshd_config"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output)
        .spawn()
        .unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if n_listening() > before {
            return Some(child);
        }
        assert!(start.elapsed() < PATIENCE, "sshd does not listen");
        yield_now();
    }
    None
}

pub(crate) fn make_key(path: &Path, kind: &str) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-N", "", "-C", "test", "-f"])
        .arg(path)
        .status()
        .unwrap();
    assert!(made.success());
}

/// Whom it knows.
pub(crate) fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}
