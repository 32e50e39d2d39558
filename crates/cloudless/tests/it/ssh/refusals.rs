//! Who is not trusted, and who does not trust home: each says what to do, and nobody is hasty.

use crate::binary;
use crate::ssh::home::Home;
use crate::ssh::sshd::{RECIPE, Sshd, free_address, make_key};

#[test]
fn a_server_is_trusted_once_somebody_vouches_for_its_key_and_no_more_when_it_changes() {
    let Some(mut sshd) = Sshd::start(RECIPE) else {
        return;
    };
    let mut home = Home::configured(&sshd, &free_address().to_string(), "");
    let line = home.succeed(&["home", "ssh", "key"]);
    assert!(
        line.starts_with("restrict,port-forwarding,permitlisten=\"127.0.0.1:"),
        "{line}"
    );
    sshd.authorize(line.trim_end());
    home.start();
    let fingerprint = sshd.fingerprint();
    let row = home.relay_until(|row| row["state"] == "refused");
    let error = row["error"].as_str().unwrap();
    assert!(
        error.contains("nobody has vouched for") && error.contains(&fingerprint),
        "{error}"
    );
    assert!(error.contains("home ssh trust"), "{error}");

    let shown = home.succeed(&["home", "ssh", "trust"]);
    assert!(shown.contains(&fingerprint), "{shown}");
    let wrong = fingerprint.replace("SHA256:", "SHA256:x");
    binary::on(home.state(), &["home", "ssh", "trust", &wrong]).expect(1);
    assert!(!home.state().join("known_hosts").exists());
    home.succeed(&["home", "ssh", "trust", &fingerprint]);
    home.await_tunnel();

    sshd.change_key();
    let row = home.relay_until(|row| row["state"] == "refused");
    let error = row["error"].as_str().unwrap();
    assert!(
        error.contains("line 1 of") && error.contains(&sshd.fingerprint()),
        "{error}"
    );
    let log = sshd.log();
    let proven = log.matches("Accepted publickey").count();
    assert_eq!(
        proven, 1,
        "home proved its key to a server that it does not trust: {log}"
    );
}

#[test]
fn a_key_that_is_revoked_or_of_an_unknown_kind_is_refused_and_a_hashed_name_is_known() {
    let Some(sshd) = Sshd::start(RECIPE) else {
        return;
    };
    let mut home = Home::set_up(&sshd, &free_address().to_string(), "");
    let path = home.state().join("known_hosts");
    let known = std::fs::read_to_string(&path).unwrap();
    let (_, key) = known.split_once(' ').unwrap();
    std::fs::write(&path, format!("@revoked * {key}{known}")).unwrap();
    home.start();
    let is_said = |words: &'static str| {
        move |row: &serde_json::Value| row["error"].as_str().is_some_and(|it| it.contains(words))
    };
    home.relay_until(is_said("has revoked"));

    let rsa = known.replace("ssh-ed25519 ", "ssh-rsa ");
    std::fs::write(&path, rsa).unwrap();
    home.relay_until(is_said("only a key of the kind ssh-rsa is known"));

    std::fs::write(&path, &known).unwrap();
    let hashed = std::process::Command::new("ssh-keygen")
        .args(["-q", "-H", "-f"])
        .arg(&path)
        .status();
    assert!(hashed.unwrap().success());
    let hashed = std::fs::read_to_string(&path).unwrap();
    assert!(
        hashed.starts_with("|1|") && !hashed.contains("127.0.0.1"),
        "{hashed}"
    );
    home.await_tunnel();
}

#[test]
fn a_server_that_does_not_know_homes_key_is_told_to_and_is_not_dialed_in_haste() {
    let Some(sshd) = Sshd::start(RECIPE) else {
        return;
    };
    let mut home = Home::set_up(&sshd, &free_address().to_string(), "");
    let line = home.succeed(&["home", "ssh", "key"]);
    sshd.authorize("");
    home.start();
    let row = home.relay_until(|row| row["state"] == "refused");
    let error = row["error"].as_str().unwrap();
    assert!(
        error.contains("authorized_keys") && error.contains(line.trim()),
        "{error}"
    );
    // sshd 9.8 would make home wait after some more.
    let tries = || sshd.log().matches("Connection from").count();
    let before = tries();
    home.role().is_quiet_for(std::time::Duration::from_secs(3));
    assert_eq!(tries(), before, "{}", sshd.log());
}

#[test]
fn keys_that_are_of_no_use_are_refused_before_anything_is_served() {
    let Some(sshd) = Sshd::start(RECIPE) else {
        return;
    };
    let home = Home::configured(&sshd, &free_address().to_string(), "key_file = \"mine\"\n");
    let key = home.state().join("mine");
    let refused = || binary::on(home.state(), &["home", "run"]).expect(64).stderr;
    make_key(&key, "rsa");
    let said = refused();
    assert!(
        said.contains("RSA") && said.contains("ssh-keygen -t ed25519"),
        "{said}"
    );
    std::fs::remove_file(&key).unwrap();
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "secret", "-f"])
        .arg(&key)
        .status();
    assert!(made.unwrap().success());
    let said = refused();
    assert!(said.contains("passphrase"), "{said}");
    std::fs::remove_file(&key).unwrap();
    let said = refused();
    assert!(said.contains("cloudless home ssh key"), "{said}");
}

#[test]
fn an_ecdsa_key_of_each_curve_logs_in() {
    let Some(sshd) = Sshd::start(RECIPE) else {
        return;
    };
    for bits in ["256", "384", "521"] {
        let forward = free_address().to_string();
        let mut home = Home::configured(&sshd, &forward, "key_file = \"mine\"\n");
        let made = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ecdsa", "-b", bits, "-N", "", "-f"])
            .arg(home.state().join("mine"))
            .status();
        assert!(made.unwrap().success());
        let line = home.succeed(&["home", "ssh", "key"]);
        assert!(line.contains(&format!("ecdsa-sha2-nistp{bits} ")), "{line}");
        sshd.authorize(line.trim_end());
        home.succeed(&["home", "ssh", "trust", &sshd.fingerprint()]);
        home.start();
        home.await_tunnel();
    }
    let log = sshd.log();
    assert_eq!(log.matches("Accepted publickey").count(), 3, "{log}");
    assert_eq!(log.matches("ssh2: ECDSA SHA256:").count(), 3, "{log}");
}
