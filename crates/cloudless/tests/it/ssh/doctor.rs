//! What `relay doctor --ssh` reads out of a real sshd.

use serde_json::Value;

use crate::binary::{Run, cloudless};
use crate::ssh::sshd::{RECIPE, Sshd};

#[test]
fn the_doctor_reads_a_real_sshds_settings_as_they_are_for_the_user() {
    let settings = format!("{RECIPE}Match User tunnel\n    AllowTcpForwarding no\n");
    // Its own settings come before the Match.
    let Some(sshd) = Sshd::start("") else {
        return;
    };
    let path = sshd.path("sshd_config");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}{settings}")).unwrap();
    let ask = |more: &[&str]| -> Run {
        let config = [
            "relay",
            "doctor",
            "--ssh",
            "--config",
            path.to_str().unwrap(),
        ];
        cloudless(&[&config[..], more].concat())
    };
    let found = ask(&["--user", "tunnel", "--json"]).expect(1);
    let findings: Vec<Value> = serde_json::from_str(&found.stdout).unwrap();
    let bad: Vec<&Value> = findings.iter().filter(|it| it["state"] == "bad").collect();
    assert_eq!(bad.len(), 1, "{bad:?}");
    assert_eq!(bad[0]["setting"], "AllowTcpForwarding no");
    assert_eq!(bad[0]["line"], "AllowTcpForwarding remote");

    let text = ask(&["--user", "tunnel"]).expect(1).stdout;
    assert!(
        text.contains("Match User tunnel\n        AllowTcpForwarding remote\n"),
        "{text}"
    );
    // Another user may, and the recipe's settings do; a dead session is worth a word.
    let text = ask(&["--user", "other"]).expect(0).stdout;
    assert!(text.contains("GatewayPorts clientspecified"), "{text}");
    assert!(
        text.contains("ClientAliveInterval 5\n        ClientAliveCountMax 2"),
        "{text}"
    );
    // Nobody calls a socket good that the next session could not take over.
    let socket = ask(&["--user", "other", "--forward", "unix:/run/a.sock"])
        .expect(1)
        .stdout;
    assert!(socket.contains("StreamLocalBindUnlink yes"), "{socket}");
}

/// Whoever runs the tests is in a group, and there the others are not.
#[test]
fn the_doctor_knows_the_users_groups_and_what_more_sshd_asks_for() {
    let Some(sshd) = Sshd::start(RECIPE) else {
        return;
    };
    let id = |option: &str| {
        let output = std::process::Command::new("id").arg(option).output();
        String::from_utf8(output.unwrap().stdout)
            .unwrap()
            .trim()
            .to_owned()
    };
    let (user, group) = (id("-un"), id("-gn"));
    let path = sshd.path("sshd_config");
    let text = std::fs::read_to_string(&path).unwrap();
    for (more, named) in [
        (format!("AllowGroups {group}"), None),
        (
            "AllowGroups others more".to_owned(),
            Some("AllowGroups others more"),
        ),
        (format!("DenyGroups {group}"), Some("DenyGroups")),
        ("DenyGroups others".to_owned(), None),
        ("AuthenticationMethods publickey".to_owned(), None),
        (
            "AuthenticationMethods publickey,publickey".to_owned(),
            Some("AuthenticationMethods publickey,publickey"),
        ),
    ] {
        std::fs::write(&path, format!("{text}{more}\n")).unwrap();
        let config = [
            "--config",
            path.to_str().unwrap(),
            "--user",
            &user,
            "--json",
        ];
        let found = cloudless(&[&["relay", "doctor", "--ssh"], &config[..]].concat());
        let found = found.expect(i32::from(named.is_some()));
        let findings: Vec<Value> = serde_json::from_str(&found.stdout).unwrap();
        let bad = findings.iter().filter(|it| it["state"] == "bad");
        let bad: Vec<_> = bad.map(|it| it["setting"].as_str().unwrap()).collect();
        assert_eq!(bad.len(), usize::from(named.is_some()), "{more}: {bad:?}");
        assert!(named.is_none_or(|it| bad[0].starts_with(it)), "{bad:?}");
    }
}
