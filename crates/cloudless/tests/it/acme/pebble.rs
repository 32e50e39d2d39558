//! Pebble, Let's Encrypt's test server for ACME, as a process, with a DNS in which every name leads
//! to this machine.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use tempfile::TempDir;

use crate::corpus;

/// Long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a test wants of the authority.
pub(crate) struct Settings {
    /// Where it validates: the relay's ports.
    pub(crate) https: u16,
    pub(crate) http: u16,
    /// Of a hundred nonces, how many it refuses.
    pub(crate) nonces_refused: u32,
    /// Accounts have to name this key: its id and its base64url.
    pub(crate) external: Option<(&'static str, &'static str)>,
    /// How many seconds a certificate is good; five years if nothing is said.
    pub(crate) validity_s: Option<u64>,
}

/// A running Pebble.
pub(crate) struct Pebble {
    child: Child,
    directory: TempDir,
    address: SocketAddr,
    management: SocketAddr,
    _dns: Dns,
}

/// Whether it is installed; says so when it is not.
pub(crate) fn is_installed() -> bool {
    let found = Command::new("pebble")
        .arg("-help")
        .stderr(Stdio::null())
        .status();
    let is_installed = !found.is_err_and(|error| error.kind() == ErrorKind::NotFound);
    if !is_installed {
        corpus::missing("pebble: run `cargo xtask test`, which installs it");
    }
    is_installed
}

impl Pebble {
    pub(crate) fn start(settings: &Settings) -> Self {
        let dns = Dns::start();
        // Pebble does not say which port the system gave it. One that was free is taken again by
        // somebody else now and then.
        for _ in 0..10 {
            if let Some(pebble) = Self::try_start(settings, &dns) {
                let (child, directory, address, management) = pebble;
                return Self {
                    child,
                    directory,
                    address,
                    management,
                    _dns: dns,
                };
            }
        }
        panic!("Pebble does not start");
    }

    fn try_start(
        settings: &Settings,
        dns: &Dns,
    ) -> Option<(Child, TempDir, SocketAddr, SocketAddr)> {
        let directory = TempDir::new().unwrap();
        let (certificate, key) = identity(directory.path());
        let (address, management) = (free_port(), free_port());
        let mut config = json!({
            "listenAddress": address,
            "managementListenAddress": management,
            "certificate": certificate,
            "privateKey": key,
            "httpPort": settings.http,
            "tlsPort": settings.https,
            "externalAccountBindingRequired": settings.external.is_some(),
        });
        if let Some((id, key)) = settings.external {
            config["externalAccountMACKeys"] = json!({ id: key });
        }
        if let Some(validity_s) = settings.validity_s {
            config["certificateValidityPeriod"] = json!(validity_s);
        }
        let file = directory.path().join("pebble.json");
        fs::write(&file, json!({ "pebble": config }).to_string()).unwrap();
        let log = fs::File::create(directory.path().join("pebble.log")).unwrap();
        let mut child = Command::new("pebble")
            .arg("-config")
            .arg(&file)
            .args(["-dnsserver", &dns.address.to_string()])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_AUTHZREUSE", "0")
            .env(
                "PEBBLE_WFE_NONCEREJECT",
                settings.nonces_refused.to_string(),
            )
            .stdin(Stdio::null())
            .stderr(log.try_clone().unwrap())
            .stdout(log)
            .spawn()
            .unwrap();
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end && child.try_wait().unwrap().is_none() {
            let listens = |address| TcpStream::connect(address).is_ok();
            if listens(address) && listens(management) {
                // Else the port is somebody else's by now, and Pebble is about to end.
                if is_ours(address, &directory.path().join("ca.pem")) {
                    return Some((child, directory, address, management));
                }
            }
            thread::yield_now();
        }
        let _ = child.kill();
        let _ = child.wait();
        None
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The authority that signed the certificate of its own server, in PEM.
    pub(crate) fn server_ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Writes the root of the certificates that it issues to a file, in PEM.
    pub(crate) fn write_root(&self, file: &Path) {
        let url = format!("https://{}/roots/0", self.management);
        let status = Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--insecure", &url])
            .arg("--output")
            .arg(file)
            .status();
        assert!(status.unwrap().success(), "Pebble's root");
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = fs::read_to_string(self.directory.path().join("pebble.log"));
            println!("---- pebble said:\n{}", log.unwrap_or_default());
        }
    }
}

/// An authority and a certificate for this machine by it, which is written beside its key.
pub(crate) fn identity(directory: &Path) -> (PathBuf, PathBuf) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    // OpenSSL takes a certificate whose issuer has its own name for a self-signed one.
    let name = &mut params.distinguished_name;
    name.push(rcgen::DnType::CommonName, "authority of the tests");
    let ca_key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(names).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let path = |name: &str| directory.join(name);
    fs::write(path("ca.pem"), ca.pem()).unwrap();
    fs::write(path("cert.pem"), leaf.pem()).unwrap();
    fs::write(path("key.pem"), key.serialize_pem()).unwrap();
    (path("cert.pem"), path("key.pem"))
}

/// Whether the server has the certificate by an authority that only this Pebble was given.
fn is_ours(address: SocketAddr, ca: &Path) -> bool {
    let status = Command::new("curl")
        .args([
            "--silent",
            "--fail",
            "--max-time",
            "10",
            "--output",
            "/dev/null",
        ])
        .arg("--cacert")
        .arg(ca)
        .arg(format!("https://{address}/dir"))
        .status();
    status.unwrap().success()
}

/// A port that nobody listens on at this moment.
pub(crate) fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

/// Answers every question for an address with this machine's (RFC 1035 section 4).
struct Dns {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Dns {
    fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = stop.clone();
        let thread = thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                if let Some(answer) = answer(&buffer[..length]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Self {
            address,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let _ = socket.send_to(&[0], self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn answer(question: &[u8]) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let name_end = question.get(HEADER..)?.iter().position(|byte| *byte == 0)?;
    let end = HEADER + name_end + 1 + 4;
    let kind = question.get(end - 4..end - 2)?;
    let is_a = *kind == [0, 1];
    let mut answer = question.get(..end)?.to_vec();
    // A response without an error, of one question and at most one answer.
    answer[2..HEADER].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
    if is_a {
        // The name of the question, A, IN, a minute, four bytes.
        answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}
