//! Knot DNS, Debian's, as name server and as resolver, with zones that it signs.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use tempfile::TempDir;

/// Whether Knot is missing here; says so, and fails where that must not be.
pub(crate) fn is_missing() -> bool {
    let is_there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if is_there("knotd") && is_there("keymgr") {
        return false;
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "the package knot is missing"
    );
    eprintln!("SKIPPED, as the package knot is missing: apt-get install knot");
    true
}

/// The keys of signed zones, which several servers may have.
pub(crate) struct Keys(TempDir);

impl Keys {
    pub(crate) fn new(zones: &[&str]) -> Self {
        let keys = Self(tempfile::tempdir().unwrap());
        for zone in zones {
            keys.manage(
                zone,
                &[
                    "generate",
                    "algorithm=ECDSAP256SHA256",
                    "ksk=yes",
                    "zsk=yes",
                ],
            );
        }
        keys
    }

    /// A DS record for the zone above.
    pub(crate) fn ds(&self, zone: &str) -> String {
        let lines = self.manage(zone, &["ds"]);
        lines.lines().next().unwrap().to_owned()
    }

    /// A DNSKEY record to begin with.
    pub(crate) fn dnskey(&self, zone: &str) -> String {
        let line = self.manage(zone, &["dnskey"]);
        line.replacen("DNSKEY", "60 IN DNSKEY", 1)
    }

    fn manage(&self, zone: &str, arguments: &[&str]) -> String {
        let output = Command::new("keymgr")
            .arg("-D")
            .arg(self.0.path())
            .arg(zone)
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

/// What a zone is signed with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signed {
    No,
    Nsec,
    Nsec3,
}

/// A zone: its name, its records but for SOA and NS, and how it is signed.
pub(crate) type Zone<'a> = (&'a str, String, Signed);

/// A running server, which ends when dropped.
pub(crate) struct Knot {
    child: Child,
    pub(crate) address: SocketAddr,
    _directory: TempDir,
}

impl Knot {
    /// Serves zones, in which `ADDRESS` is this server's address; all zones have the one name
    /// server `ns.test`.
    pub(crate) fn start(keys: &Keys, zones: &[Zone<'_>]) -> Self {
        Self::start_at(free_address(), keys, zones)
    }

    /// The same at an address that a server had before.
    pub(crate) fn start_at(address: SocketAddr, keys: &Keys, zones: &[Zone<'_>]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let database = path.join("keys");
        copy(keys.0.path(), &database);
        let mut config = config(path, &database, address);
        for (zone, records, signed) in zones {
            let file = path.join(format!("{zone}.zone"));
            let text = format!(
                "{zone}. 60 SOA ns.test. host.test. 1 3600 600 86400 60\n{zone}. 60 NS ns.test.\n{}\n",
                records.replace("ADDRESS", &address.ip().to_string())
            );
            fs::write(&file, text).unwrap();
            let policy = match signed {
                Signed::No => "",
                Signed::Nsec => "    dnssec-signing: on\n    dnssec-policy: nsec\n",
                Signed::Nsec3 => "    dnssec-signing: on\n    dnssec-policy: nsec3\n",
            };
            let line = format!(
                "  - domain: {zone}\n    file: \"{}\"\n{policy}",
                file.display()
            );
            config.push_str(&line);
        }
        let file = path.join("knot.conf");
        fs::write(&file, config).unwrap();
        let mut child = Command::new("knotd")
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut told = String::new();
        loop {
            let line = lines
                .next()
                .unwrap_or_else(|| panic!("knotd ended: {told}"))
                .unwrap();
            if line.contains("server started") {
                break;
            }
            told.push_str(&line);
        }
        // Ends with the server.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            address,
            _directory: directory,
        }
    }
}

impl Drop for Knot {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(path: &Path, database: &Path, address: SocketAddr) -> String {
    let (path, database) = (path.display(), database.display());
    let (ip, port) = (address.ip(), address.port());
    let policy = |name: &str, nsec3: &str| {
        format!(
            "  - id: {name}\n    manual: on\n    single-type-signing: on\n    \
             algorithm: ECDSAP256SHA256\n    nsec3: {nsec3}\n    cds-cdnskey-publish: none\n"
        )
    };
    format!(
        "server:\n    rundir: \"{path}\"\n    listen: {ip}@{port}\n    \
         udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n\
         log:\n  - target: stderr\n    any: info\n\
         database:\n    storage: \"{path}\"\n    kasp-db: \"{database}\"\n\
         policy:\n{}{}\
         template:\n  - id: default\n    storage: \"{path}\"\n    journal-content: none\n    \
         zonefile-sync: -1\n    zonefile-load: whole\n    semantic-checks: off\n\
         zone:\n",
        policy("nsec", "off"),
        policy("nsec3", "on")
    )
}

/// A loopback address that nobody else has, and a port that is free there: the system gives none
/// away at an address that no other program binds.
fn free_address() -> SocketAddr {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let last = COUNT.fetch_add(1, Ordering::Relaxed);
    let ip = IpAddr::V4(Ipv4Addr::new(127, 64 | high & 63, low, last));
    loop {
        let udp = UdpSocket::bind((ip, 0)).unwrap();
        let address = udp.local_addr().unwrap();
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let target = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy(&file.path(), &target);
        } else {
            fs::copy(file.path(), target).unwrap();
        }
    }
}
