//! Servers that other people wrote, as processes on this machine.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::yield_now;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::corpus;

/// Long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server; it ends when dropped.
pub(crate) struct Peer {
    child: Child,
    address: SocketAddr,
    /// Of its own, if it needs one.
    folder: Option<TempDir>,
}

impl Peer {
    /// Starts a server that is told where to listen, and waits until it does.
    pub(crate) fn start(command: impl Fn(SocketAddr) -> Command) -> Self {
        let start = Instant::now();
        loop {
            // Somebody may take the port meanwhile: then the server ends, and another is tried.
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = free.local_addr().unwrap();
            drop(free);
            let mut child = command(address).stdin(Stdio::null()).spawn().unwrap();
            while child.try_wait().unwrap().is_none() {
                if TcpStream::connect(address).is_ok() {
                    return Self {
                        child,
                        address,
                        folder: None,
                    };
                }
                assert!(start.elapsed() < PATIENCE, "the server does not listen");
                yield_now();
            }
            assert!(start.elapsed() < PATIENCE, "the server ends at once");
        }
    }

    /// Radicale with the user `me` and the password `secret`.
    pub(crate) fn radicale() -> Option<Self> {
        Self::radicale_with(&[])
    }

    /// The same over TLS, with the certificate in this folder.
    pub(crate) fn radicale_over_tls(identity: &Path) -> Option<Self> {
        let path = |name: &str| identity.join(name).to_str().unwrap().to_owned();
        let (certificate, key) = (path("cert.pem"), path("key.pem"));
        Self::radicale_with(&[
            "--server-ssl",
            "--server-certificate",
            &certificate,
            "--server-key",
            &key,
        ])
    }

    fn radicale_with(options: &[&str]) -> Option<Self> {
        let program = program("radicale")?;
        let directory = TempDir::new().unwrap();
        let folder = directory.path();
        std::fs::write(folder.join("passwords"), "me:secret\n").unwrap();
        let mut started = Self::start(|address| {
            let mut command = Command::new(&program);
            command
                .args(["--config", "", "--hosts", &address.to_string()])
                .args([
                    "--auth-type",
                    "htpasswd",
                    "--auth-htpasswd-encryption",
                    "plain",
                ])
                .arg("--auth-htpasswd-filename")
                .arg(folder.join("passwords"))
                .arg("--storage-filesystem-folder")
                .arg(folder.join("collections"))
                .args(["--auth-delay", "0", "--logging-level", "warning"])
                .args(options);
            command
        });
        started.folder = Some(directory);
        Some(started)
    }

    /// Xandikos, which asks nobody for a password; it makes its address book itself.
    pub(crate) fn xandikos() -> Option<Self> {
        let program = program("xandikos")?;
        let directory = TempDir::new().unwrap();
        let folder = directory.path();
        let mut started = Self::start(|address| {
            let mut command = Command::new(&program);
            command
                .args(["serve", "--defaults", "--no-detect-systemd"])
                .args(["--current-user-principal", "/me/"])
                .args(["--listen-address", &address.ip().to_string()])
                .args(["--port", &address.port().to_string()])
                .arg("--directory")
                .arg(folder.join("data"))
                .arg("--state-dir")
                .arg(folder.join("state"))
                .stderr(Stdio::null());
            command
        });
        started.folder = Some(directory);
        Some(started)
    }

    /// Where it keeps its files, of one that has a folder of its own.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program of the environment with servers, which `cargo xtask test` installs.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("CLOUDLESS_PEERS").map(PathBuf::from);
    if folder.is_none() {
        corpus::missing(&format!(
            "{name}: run `cargo xtask test`, which installs it"
        ));
    }
    Some(folder?.join(name))
}
