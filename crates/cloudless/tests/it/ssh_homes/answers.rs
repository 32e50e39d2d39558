//! What `relay status` says of a home whose `ssh` is there and whose web server is not.

use super::{Bed, HOSTNAME, Running, web_server};
use crate::acme::pebble;
use crate::binary::on;

const NOTHING_LISTENS: &str = "does something listen where its -R localhost:443 leads?";

#[test]
fn a_name_is_online_only_while_nginx_behind_ssh_answers() {
    if !web_server::is_installed() {
        return;
    }
    let Some(bed) = Bed::start() else { return };
    bed.allow("id");
    let address = pebble::free_port();
    let mut command = bed.ssh_by("ssh", "id");
    let forward = format!("{HOSTNAME}:443:{address}");
    let _ssh = Running::start(
        command.args(["-N", "-R", &forward, "relay@127.0.0.1"]),
        &bed.path("ssh.log"),
    );
    // Nobody has visited it.
    bed.is_connected(true);
    says_that_it_does_not_answer(&bed);

    let nginx = web_server::start(&bed, address);
    bed.is_online(true);
    let status = on(&bed.state(), &["relay", "status"]).expect(0).stdout;
    assert!(!status.contains("no answer"), "{status}");
    let listed = on(&bed.state(), &["relay", "homes"]).expect(0).stdout;
    assert!(listed.contains(" online "), "{listed}");

    drop(nginx);
    bed.is_online(false);
    bed.is_connected(true);
    says_that_it_does_not_answer(&bed);
}

fn says_that_it_does_not_answer(bed: &Bed) {
    let status = on(&bed.state(), &["relay", "status"]).expect(0).stdout;
    assert!(status.contains("0 of 1 names online"), "{status}");
    assert!(status.contains("no answer (ssh)"), "{status}");
    assert!(status.contains(NOTHING_LISTENS), "{status}");
    let listed = on(&bed.state(), &["relay", "homes"]).expect(0).stdout;
    assert!(listed.contains("no answer"), "{listed}");
    let metrics = super::curl(&[&format!("http://{}/metrics", bed.metrics)]);
    for line in [
        "cloudless_relay_homes_online 0",
        "cloudless_relay_homes_unanswering 1",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line}: {metrics}");
    }
    let json = on(&bed.state(), &["relay", "status", "--json"])
        .expect(0)
        .json();
    let home = &json["homes"][0];
    assert_eq!(home["online"], false);
    let error = home["probe"]["error"].as_str().unwrap();
    assert!(error.contains(NOTHING_LISTENS), "{error}");
}
