//! What Debian's `ssh` gets of the relay, and what it shows when it gets nothing.

use std::fs;
use std::process::Output;

use super::{Bed, HOSTNAME, Running};
use crate::binary::{self, on};

/// What `ssh` shows to people.
fn told(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn ssh_gets_no_shell_no_files_and_no_other_forward() {
    let Some(bed) = Bed::start() else { return };
    bed.allow("id");
    let here = "relay@127.0.0.1";
    for arguments in [
        &[here][..],
        &[here, "id"],
        &["-s", here, "sftp"],
        &["-A", here],
        &["-X", here],
    ] {
        let told = told(&bed.ssh("id", arguments));
        let expected = "administratively prohibited: no shell, commands or files here";
        assert!(told.contains(expected), "{arguments:?}: {told}");
    }
    let told_of = |arguments: &[&str]| told(&bed.ssh("id", &[arguments, &[here]].concat()));
    let through = told_of(&["-W", "127.0.0.1:22"]);
    assert!(
        through.contains("administratively prohibited: nothing is forwarded from here"),
        "{through}"
    );
    for (forward, said) in [
        (
            "other.example.org:443:127.0.0.1:9",
            "other.example.org is no name of this key",
        ),
        ("localhost:8443:127.0.0.1:9", "only the ports 443 and 80"),
        (
            "*:443:127.0.0.1:9",
            "say which name: -R HOST:443:localhost:443",
        ),
        (
            "/tmp/cloudless.sock:127.0.0.1:9",
            "sockets are not forwarded here",
        ),
    ] {
        let told = told_of(&["-N", "-R", forward]);
        assert!(told.contains(said), "{forward}: {told}");
        let told = told_of(&["-N", "-o", "ExitOnForwardFailure=yes", "-R", forward]);
        assert!(told.contains("forwarding failed"), "{forward}: {told}");
    }
}

#[test]
fn only_the_right_keys_meet() {
    let Some(bed) = Bed::start() else { return };
    bed.make_key("stranger");
    let said = bed.allow("id");
    assert_eq!(said["hostname"], HOSTNAME);
    let forward = format!("{HOSTNAME}:443:localhost:443");
    assert!(said["ssh"].as_str().unwrap().contains(&forward), "{said}");
    assert!(
        said["autossh"]
            .as_str()
            .unwrap()
            .contains("autossh -M 0 -N"),
        "{said}"
    );
    let known = fs::read_to_string(bed.path("known_hosts")).unwrap();
    assert_eq!(said["known_hosts"][0], known.trim_end());

    let here = "relay@127.0.0.1";
    let refused = told(&bed.ssh("stranger", &["-N", "-R", &forward, here]));
    assert!(
        refused.contains("Permission denied (publickey)"),
        "{refused}"
    );

    // The fingerprints that people compare.
    let listed = on(&bed.state(), &["relay", "homes"]).expect(0).stdout;
    let keygen = std::process::Command::new("ssh-keygen")
        .arg("-lf")
        .arg(bed.path("id.pub"))
        .output()
        .unwrap();
    let keygen = String::from_utf8(keygen.stdout).unwrap();
    let fingerprint = keygen.split_whitespace().nth(1).unwrap();
    assert!(listed.contains(fingerprint), "{listed}");
    let status = on(&bed.state(), &["relay", "status"]).expect(0).stdout;
    assert!(status.contains("offline (ssh)"), "{status}");

    // Somebody in the relay's place is seen.
    let line = format!(
        "[127.0.0.1]:{} {}",
        bed.ssh.port(),
        bed.public_key("stranger")
    );
    fs::write(bed.path("known_hosts"), line).unwrap();
    let refused = told(&bed.ssh("id", &["-N", "-R", &forward, here]));
    assert!(
        refused.contains("HOST IDENTIFICATION HAS CHANGED"),
        "{refused}"
    );
}

#[test]
fn an_ecdsa_key_of_each_curve_logs_in() {
    let Some(bed) = Bed::start() else { return };
    let forward = format!("{HOSTNAME}:443:127.0.0.1:9");
    for bits in ["256", "384", "521"] {
        bed.make_key_of(bits, &["-t", "ecdsa", "-b", bits]);
        let key = bed.public_key(bits);
        let words: Vec<_> = key.split_whitespace().collect();
        let allow = [&["relay", "allow-ssh", HOSTNAME, "--replace"], &words[..]].concat();
        on(&bed.state(), &allow).expect(0);
        let mut command = bed.ssh_by("ssh", bits);
        let ssh = Running::start(
            command.args(["-N", "-R", &forward, "relay@127.0.0.1"]),
            &bed.path("ssh.log"),
        );
        bed.is_connected(true);
        drop(ssh);
        bed.is_connected(false);
    }
}

#[test]
fn a_file_that_was_edited_counts_after_a_reload() {
    let Some(bed) = Bed::start() else { return };
    bed.allow("id");
    let log = bed.path("ssh.log");
    let forward = format!("{HOSTNAME}:443:127.0.0.1:9");
    let start = || {
        let mut command = bed.ssh_by("ssh", "id");
        Running::start(
            command.args(["-N", "-R", &forward, "relay@127.0.0.1"]),
            &log,
        )
    };
    let mut ssh = start();
    bed.is_connected(true);
    let homes = bed.state().join("homes.toml");
    let before = fs::read_to_string(&homes).unwrap();
    fs::write(&homes, "").unwrap();
    on(&bed.state(), &["relay", "reload"]).expect(0);
    assert!(!ssh.0.wait().unwrap().success());
    let said = fs::read_to_string(&log).unwrap();
    assert!(
        said.contains("this key has no name here any more"),
        "{said}"
    );

    // The whole line of a key is taken, too.
    let line = bed.public_key("id");
    let fingerprint = before
        .split('"')
        .find(|it| it.starts_with("SHA256:"))
        .unwrap();
    fs::write(&homes, before.replace(fingerprint, line.trim())).unwrap();
    on(&bed.state(), &["relay", "reload"]).expect(0);
    let _ssh = start();
    bed.is_connected(true);
    let status = binary::until(&bed.state(), "relay", |_| true);
    assert_eq!(status["homes"][0]["key"], fingerprint);
}
