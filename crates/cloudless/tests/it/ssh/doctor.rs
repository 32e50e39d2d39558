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
