//! An sshd that makes addresses wait which fail often (PerSourcePenalties, 9.8 and later).

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::ssh::home::Home;
use crate::ssh::sshd::{RECIPE, SSHD, Sshd, free_address, make_key};

/// How sshd says that somebody has to wait.
const DROPPED: &str = "drop connection";
/// For several tries of home's.
const LONG: Duration = Duration::from_secs(65);

/// One with these lines; `None` where it is older, or none.
fn start(settings: &str) -> Option<Sshd> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("sshd_config");
    fs::write(&file, "PerSourcePenalties yes\n").unwrap();
    let asked = Command::new(SSHD).arg("-t").arg("-f").arg(&file).output();
    let said = asked.map_or_else(
        |_| String::new(),
        |it| String::from_utf8_lossy(&it.stderr).into(),
    );
    if said.contains("Bad configuration option") {
        // Debian 12 has none that does.
        println!("NOT TESTED: this sshd makes nobody wait");
        return None;
    }
    Sshd::start(&format!("{RECIPE}{settings}"))
}

#[test]
fn home_gets_in_when_the_time_is_over_that_somebody_behind_its_address_has_to_wait() {
    let Some(sshd) = start("PerSourcePenalties authfail:12s min:5s\n") else {
        return;
    };
    let mut home = Home::set_up(&sshd, &free_address().to_string(), "");
    let strange = home.state().join("strange");
    make_key(&strange, "ed25519");
    let refused = Command::new("ssh")
        .args(["-F", "/dev/null", "-o", "BatchMode=yes"])
        .args([
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
        ])
        .args(["-o", "IdentitiesOnly=yes", "-i"])
        .arg(&strange)
        .args([
            "-p",
            &sshd.address().port().to_string(),
            "127.0.0.1",
            "true",
        ])
        .env_remove("SSH_AUTH_SOCK")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!refused.status.success(), "{refused:?}");
    home.start();
    let error = |row: &serde_json::Value| row["error"].as_str().unwrap_or_default().to_owned();
    home.relay_until(|row| error(row).contains("PerSourcePenalties"));
    assert!(sshd.log().contains(DROPPED), "{}", sshd.log());
    home.await_tunnel();
}

/// With sshd's own settings.
#[test]
fn what_home_tries_in_vain_never_makes_it_wait() {
    if !crate::is_acceptance() {
        return;
    }
    let Some(mut sshd) = start("") else { return };
    let mut home = Home::set_up(&sshd, &free_address().to_string(), "");
    let line = home.succeed(&["home", "ssh", "key"]);
    let tries = |sshd: &Sshd| sshd.log().matches("Connection from").count();
    sshd.authorize("");
    home.start();
    home.role().is_quiet_for(LONG);
    let refused = tries(&sshd);
    assert!(refused >= 4, "{refused} tries");
    assert!(!sshd.log().contains(DROPPED), "{}", sshd.log());
    sshd.authorize(line.trim_end());
    home.await_tunnel();

    sshd.change_key();
    home.relay_until(|row| row["state"] == "refused");
    home.role().is_quiet_for(LONG);
    let distrusted = tries(&sshd) - refused;
    assert!(distrusted >= 15, "{distrusted} tries");
    assert!(!sshd.log().contains(DROPPED), "{}", sshd.log());
    println!(
        "MEASURED tries in 65 s: {refused} with a refused key, {distrusted} at a strange server"
    );
}
