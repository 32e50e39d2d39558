//! `cloudless service`, and what systemd's own tools say of the units.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::binary::{self, Run, cloudless};
use crate::corpus::missing;

const NOBODY: u32 = 65534;

fn shipped(folder: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../packaging/systemd")
        .join(folder);
    let mut units: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    units.sort();
    units
}

/// `cloudless service` on the system below a directory.
fn service(root: &Path, arguments: &[&str]) -> Run {
    let root = root.to_str().unwrap();
    cloudless(&[&["service"], arguments, &["--root", root]].concat())
}

/// The same as a user that is not root, with a home directory of their own.
fn service_of_nobody(home: &Path, arguments: &[&str]) -> Run {
    let mut command = binary::command(&[&["service"], arguments].concat());
    command.env_clear().env("HOME", home).current_dir("/");
    if rustix::process::geteuid().is_root() {
        // The binary may lie where only root comes.
        let copy = home.join("cloudless");
        if !copy.exists() {
            fs::copy(env!("CARGO_BIN_EXE_cloudless"), &copy).unwrap();
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        command = Command::new(copy);
        command
            .args(arguments)
            .env_clear()
            .env("HOME", home)
            .current_dir("/");
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A directory in which everybody may write.
fn open_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    directory
}

#[test]
fn what_was_edited_is_neither_overwritten_nor_removed() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let unit = root.join("etc/systemd/system/cloudless-relay.service");
    let socket = root.join("etc/systemd/system/cloudless-relay.socket");

    let installed = service(root, &["install", "relay"]).expect(0);
    assert_eq!(installed.stdout, "");
    for said in [
        "cloudless-relay.service",
        "cloudless-relay.socket",
        "relay init",
        "enable",
    ] {
        assert!(installed.stderr.contains(said), "{said}: {installed:?}");
    }
    assert!(unit.exists() && socket.exists());
    let mode = fs::metadata(&unit).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "everybody may read units");
    let again = service(root, &["install", "relay"]).expect(0);
    assert_eq!(again.stderr.matches("unchanged").count(), 2, "{again:?}");
    assert!(
        !again.stderr.contains("wrote") && !again.stderr.contains("made"),
        "{again:?}"
    );

    let edited = fs::read_to_string(&unit)
        .unwrap()
        .replace("RestartSec=1", "RestartSec=9");
    fs::write(&unit, &edited).unwrap();
    fs::remove_file(&socket).unwrap();
    for verb in ["install", "uninstall"] {
        let refused = service(root, &[verb, "relay"]).expect(64);
        assert!(refused.stderr.contains("--force"), "{refused:?}");
        assert_eq!(fs::read_to_string(&unit).unwrap(), edited);
        assert!(!socket.exists(), "all or nothing");
    }
    let forced = service(root, &["install", "relay", "--force"]).expect(0);
    assert!(forced.stderr.contains("replaced"), "{forced:?}");
    let status = service(root, &["status", "relay", "--json"])
        .expect(0)
        .json();
    assert_eq!(
        status["units"][0]["written_by"], "service install",
        "{status}"
    );
    assert_eq!(status["systemd"], false);

    service(root, &["uninstall", "relay"]).expect(0);
    assert!(!unit.exists() && !socket.exists());
    let nothing = service(root, &["uninstall", "relay"]).expect(0);
    assert!(nothing.stderr.contains("nothing to remove"), "{nothing:?}");
}

#[test]
fn a_unit_of_a_package_is_not_hidden_by_another() {
    let directory = tempfile::tempdir().unwrap();
    let packaged = directory.path().join("usr/lib/systemd/system");
    fs::create_dir_all(&packaged).unwrap();
    fs::write(packaged.join("cloudless-home.service"), "[Unit]\n").unwrap();
    let refused = service(directory.path(), &["install", "home"]).expect(64);
    assert!(
        refused
            .stderr
            .contains("enable --now cloudless-home.service"),
        "{refused:?}"
    );
    service(directory.path(), &["install", "home", "--force"]).expect(0);
}

#[test]
fn a_dry_run_shows_what_would_be_written_and_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let shown = service(directory.path(), &["install", "home", "--print"])
        .expect(0)
        .stdout;
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    service(directory.path(), &["install", "home"]).expect(0);
    let path = directory
        .path()
        .join("etc/systemd/system/cloudless-home.service");
    let written = fs::read_to_string(&path).unwrap();
    assert_eq!(shown, format!("# {}\n{written}\n", path.display()));
}

/// The ports of relay.toml become those of the socket unit.
#[test]
fn the_sockets_are_those_that_the_relay_would_bind() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("srv/my relay");
    fs::create_dir(directory.path().join("srv")).unwrap();
    #[rustfmt::skip]
    binary::on(&state, &["relay", "init", "--address", "relay.example.org", "--no-http",
        "--listen", "127.0.0.1:8443", "--listen", "[::]:443"]).expect(0);
    service(
        directory.path(),
        &["install", "relay", "--state", "/srv/my relay"],
    )
    .expect(0);
    let socket = directory
        .path()
        .join("etc/systemd/system/cloudless-relay.socket");
    let text = fs::read_to_string(socket).unwrap();
    let streams: Vec<_> = text
        .lines()
        .filter(|it| it.starts_with("ListenStream="))
        .collect();
    assert_eq!(streams, ["ListenStream=127.0.0.1:8443", "ListenStream=443"]);
    let condition = "ConditionPathExists=/srv/my relay/relay.toml\n";
    assert!(text.contains(condition), "{text}");
}

#[test]
fn who_is_not_root_gets_a_service_of_their_own() {
    let home = open_directory();
    let refused = service_of_nobody(home.path(), &["install", "relay"]).expect(64);
    for way in [
        "sudo cloudless service install relay",
        "cloudless service install relay --user",
    ] {
        assert!(refused.stderr.contains(way), "{refused:?}");
    }
    let installed = service_of_nobody(home.path(), &["install", "home", "--user"]).expect(0);
    for said in [
        "cloudless home join CODE",
        "systemctl --user enable --now cloudless-home.service",
        "loginctl enable-linger",
    ] {
        assert!(installed.stderr.contains(said), "{said}: {installed:?}");
    }
    assert!(
        !installed.stderr.contains("sudo systemctl"),
        "{installed:?}"
    );
    let unit = home
        .path()
        .join(".config/systemd/user/cloudless-home.service");
    let text = fs::read_to_string(&unit).unwrap();
    assert!(
        text.contains("--state %h/.local/share/cloudless/home\n"),
        "{text}"
    );
    service_of_nobody(home.path(), &["uninstall", "home", "--user"]).expect(0);
    assert!(!unit.exists());
}

#[test]
fn a_program_that_others_can_change_is_warned_of() {
    let home = open_directory();
    let installed = service_of_nobody(home.path(), &["install", "home", "--print"]).expect(0);
    let warned = installed
        .stderr
        .contains("who can change it can be the service");
    assert!(warned, "{installed:?}");
}

/// Every file of a directory, and who owns it.
fn owners(directory: &Path) -> Vec<(PathBuf, u32)> {
    let entries = fs::read_dir(directory)
        .unwrap()
        .map(|it| it.unwrap().path());
    let owner = |path: PathBuf| {
        let uid = fs::symlink_metadata(&path).unwrap().uid();
        let below = if path.is_dir() {
            owners(&path)
        } else {
            Vec::new()
        };
        std::iter::once((path, uid)).chain(below)
    };
    entries.flat_map(owner).collect()
}

#[test]
fn what_root_does_to_the_state_of_a_service_is_not_roots() {
    if !rustix::process::geteuid().is_root() {
        return missing("root: whose files are those of a service is not tried");
    }
    let directory = open_directory();
    let (relay, home) = (
        directory.path().join("relay"),
        directory.path().join("home"),
    );
    for state in [&relay, &home] {
        fs::create_dir(state).unwrap();
        fs::set_permissions(state, fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::chown(state, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    binary::on(&relay, &["relay", "init", "--address", "relay.example.org"]).expect(0);
    binary::on(&relay, &["relay", "invite", "contacts.example.org"]).expect(0);
    #[rustfmt::skip]
    binary::on(&home, &["device", "add", "me", "phone", "--create-user"]).expect(0);
    let card = directory.path().join("ann.vcf");
    fs::write(
        &card,
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:ann\r\nFN:Ann\r\nEND:VCARD\r\n",
    )
    .unwrap();
    // A file that only root can read, and one that only root can write.
    fs::set_permissions(&card, fs::Permissions::from_mode(0o600)).unwrap();
    binary::on(&home, &["contacts", "import", card.to_str().unwrap()]).expect(0);
    let closed = tempfile::tempdir().unwrap();
    let backup = closed.path().join("backup.sqlite");
    binary::on(&home, &["home", "backup", backup.to_str().unwrap()]).expect(0);
    assert!(backup.exists());
    for (path, uid) in [owners(&relay), owners(&home)].concat() {
        assert_eq!(uid, NOBODY, "{}", path.display());
    }
}

/// Runs `systemd-analyze`, or says that there is none.
fn analyze(arguments: &[&str], units: &[PathBuf]) -> Option<std::process::Output> {
    // For the units of users.
    let runtime = tempfile::tempdir().unwrap();
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .args(units)
        .env("XDG_RUNTIME_DIR", runtime.path())
        .output();
    if output.is_err() {
        missing("systemd-analyze, of Debian's systemd");
    }
    output.ok()
}

#[test]
fn systemd_reads_every_unit_without_complaint() {
    // Paths that need quotes, a state directory of another user, and the binary of these tests.
    let directory = tempfile::tempdir().unwrap();
    for role in ["relay", "home"] {
        let state = format!("/srv/50% \"of\" my/{role}");
        service(directory.path(), &["install", role, "--state", &state]).expect(0);
    }
    let written = directory.path().join("etc/systemd/system");
    let written: Vec<_> = fs::read_dir(written)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    let home = open_directory();
    for role in ["relay", "home"] {
        service_of_nobody(home.path(), &["install", role, "--user"]).expect(0);
    }
    let of_users = fs::read_dir(home.path().join(".config/systemd/user")).unwrap();
    let of_users: Vec<_> = of_users.map(|it| it.unwrap().path()).collect();
    for (scope, units) in [("--system", written), ("--user", of_users)] {
        let Some(output) = analyze(&[scope, "--man=no", "verify"], &units) else {
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        // It also reads what they depend on, which is this machine's matter.
        let complaint = said.lines().find(|line| line.contains("cloudless"));
        assert_eq!(complaint, None, "{said}");
        assert!(output.status.success(), "{said}");
    }
}

/// From 0 (safe) to 10, by systemd's own scale.
#[test]
fn services_of_the_machine_are_exposed_to_little() {
    let is_service = |unit: &PathBuf| unit.extension().is_some_and(|it| it == "service");
    let units: Vec<_> = shipped("system").into_iter().filter(is_service).collect();
    assert_eq!(units.len(), 2);
    for unit in units {
        // In tenths; it fails above.
        let arguments = ["security", "--offline=true", "--threshold=14"];
        let Some(output) = analyze(&arguments, std::slice::from_ref(&unit)) else {
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}: {said}", unit.display());
    }
}
