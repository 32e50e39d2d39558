//! The package in a Debian of its own: installed, upgraded, purged, and run by a systemd that has
//! booted. The steps are in `debian/*.sh`. Minutes, so only in `cargo xtask acceptance`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::corpus::missing;
use crate::is_acceptance;

const SUITE: &str = "bookworm";
const FILES: [(&str, &str); 3] = [
    ("installed.sh", include_str!("debian/installed.sh")),
    ("booted.sh", include_str!("debian/booted.sh")),
    ("check.service", include_str!("debian/check.service")),
];

/// A system of its own, and what is shared with it.
struct Container {
    base: PathBuf,
    shared: tempfile::TempDir,
}

impl Container {
    /// `None` where something is missing, which has been said then.
    fn prepare() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            missing("root: the Debian package is not tried");
            return None;
        }
        let Some(deb) = std::env::var_os("CLOUDLESS_DEB") else {
            missing(
                "CLOUDLESS_DEB, which `cargo xtask acceptance` sets: the Debian package is not tried",
            );
            return None;
        };
        let base = base()?;
        let shared = tempfile::tempdir().unwrap();
        let copy = |from: &Path, name| fs::copy(from, shared.path().join(name)).unwrap();
        copy(deb.as_ref(), "cloudless.deb");
        copy(env!("CARGO_BIN_EXE_cloudless").as_ref(), "cloudless");
        for (name, text) in FILES {
            fs::write(shared.path().join(name), text).unwrap();
        }
        Some(Self { base, shared })
    }

    /// On a copy of the system that is gone afterwards, and without a network.
    fn command(&self) -> Command {
        let mut command = Command::new("systemd-nspawn");
        command
            .args([
                "--quiet",
                "--ephemeral",
                "--private-network",
                "--console=pipe",
            ])
            .args(["--register=no", "--keep-unit"])
            // Else the sandbox of the roles could not be closed there.
            .arg("--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self")
            .arg("--directory")
            .arg(&self.base)
            .arg(format!("--bind-ro={}:/test", self.shared.path().display()))
            .stdin(Stdio::null());
        command
    }
}

/// A small Debian, made once.
fn base() -> Option<PathBuf> {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("debian-{SUITE}"));
    if base.is_dir() {
        return Some(base);
    }
    let new = base.with_extension("new");
    let _ = fs::remove_dir_all(&new);
    let made = Command::new("/usr/sbin/debootstrap")
        .args([
            "--variant=minbase",
            "--include=dbus,libpam-systemd,systemd-sysv",
            SUITE,
        ])
        .arg(&new)
        .output();
    match made {
        Ok(output) if output.status.success() => {
            fs::rename(&new, &base).unwrap();
            Some(base)
        }
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout);
            missing(&format!(
                "a Debian to install the package in: {}",
                said.trim()
            ));
            None
        }
        Err(error) => {
            missing(&format!("debootstrap: {error}"));
            None
        }
    }
}

#[track_caller]
fn assert_passed(log: &str) {
    assert_eq!(
        log.lines().rfind(|line| !line.starts_with('+')),
        Some("PASSED"),
        "{log}"
    );
}

#[test]
fn debian_installs_upgrades_and_purges_the_package_and_runs_its_services() {
    if !is_acceptance() {
        return;
    }
    let Some(container) = Container::prepare() else {
        return;
    };
    let installed = container
        .command()
        .args(["/bin/bash", "/test/installed.sh"])
        .output();
    let Ok(installed) = installed else {
        return missing("systemd-nspawn, of Debian's systemd-container");
    };
    let mut log = String::from_utf8_lossy(&installed.stderr).into_owned();
    log.push_str(&String::from_utf8_lossy(&installed.stdout));
    assert_passed(&log);

    let results = tempfile::tempdir().unwrap();
    let check = container.shared.path().join("check.service");
    let booted = container
        .command()
        .arg(format!("--bind={}:/result", results.path().display()))
        .arg(format!(
            "--bind-ro={}:/etc/systemd/system/check.service",
            check.display()
        ))
        .args(["--boot", "systemd.wants=check.service"])
        .output()
        .unwrap();
    let log = fs::read_to_string(results.path().join("log"));
    assert_passed(&log.unwrap_or_else(|error| format!("{error}: {booted:?}")));
}
