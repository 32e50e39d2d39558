//! Commands with and without a running process.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use http::StatusCode;
use serde_json::Value;

use crate::binary::{command, on, until};
use crate::cards;
use crate::pair::{HOSTNAME, Pair};

/// A moment in JSON: in UTC, to the second or finer.
fn moment(value: &Value) -> jiff::Timestamp {
    let text = value.as_str().expect("a moment is text");
    assert!(text.ends_with('Z'), "{text}");
    text.parse().expect("a moment of RFC 3339")
}

/// Every `--json` tells moments in one way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moments_in_json_are_rfc_3339() {
    let pair = Pair::start();
    let (relay, home) = (pair.folder("relay"), pair.folder("home"));
    let json = |state, arguments: &[&str]| {
        on(state, &[arguments, &["--json"]].concat())
            .expect(0)
            .json()
    };
    let status = json(&relay, &["relay", "status"]);
    moment(&status["since"]);
    moment(&status["homes"][0]["since"]);
    moment(&json(&relay, &["relay", "homes"])[0]["joined_at"]);
    let status = json(&home, &["home", "status"]);
    moment(&status["relays"][0]["since"]);
    moment(&status["certificates"][0]["expires_at"]);
    moment(&json(&home, &["user", "list"])[0]["created_at"]);
    moment(&json(&home, &["device", "list"])[0]["created_at"]);
    json(&home, &["book", "add", "club"]);
    json(&home, &["book", "remove", "club"]);
    moment(&json(&home, &["book", "list"])["removed"][0]["removed_at"]);
    moment(&json(&home, &["contacts", "prune", "--older-than", "2y"])["before"]);
    let restored = json(&home, &["contacts", "restore", "--at", "1d", "--dry-run"]);
    moment(&restored["restored_to"]);
    let card = home.join("ann.vcf");
    fs::write(
        &card,
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:ann\r\nFN:Ann\r\nEND:VCARD\r\n",
    )
    .unwrap();
    json(&home, &["contacts", "import", card.to_str().unwrap()]);
    moment(&json(&home, &["contacts", "search", "ann"])[0]["modified_at"]);
    moment(&json(&home, &["contacts", "history"])["at"]);
    moment(&json(&home, &["contacts", "show", "ann"])["at"]);
}

#[test]
fn a_migration_says_where_the_copy_of_before_is() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    fs::create_dir(&home).unwrap();
    let old = rusqlite::Connection::open(home.join("store.sqlite")).unwrap();
    let first = include_str!("../../../cloudless-store/src/schema/version_1.sql");
    old.execute_batch(first).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    drop(old);
    let listed = on(&home, &["user", "list"]).expect(0);
    let copy = fs::read_dir(&home)
        .unwrap()
        .map(|file| file.unwrap().path())
        .find(|file| file.to_string_lossy().contains("before-version"))
        .unwrap();
    let copy = copy.to_str().unwrap();
    assert!(listed.stderr.contains(copy), "{listed:?}");
    let again = on(&home, &["user", "list"]).expect(0);
    assert!(!again.stderr.contains(copy), "it was told: {again:?}");
    let status = on(&home, &["home", "status"]).expect(0).stdout;
    assert!(status.contains(copy), "{status}");
    let status = on(&home, &["home", "status", "--json"]).expect(0).json();
    assert_eq!(status["migration_copies"][0], copy);
}

#[test]
fn whose_contacts_are_meant_has_to_be_said_where_there_are_several() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    let card = directory.path().join("ann.vcf");
    fs::write(
        &card,
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:ann\r\nFN:Ann\r\nEND:VCARD\r\n",
    )
    .unwrap();
    let import = ["contacts", "import", card.to_str().unwrap()];
    let export = ["contacts", "export"];
    on(&home, &["user", "add", "me"]).expect(0);
    on(&home, &import).expect(0);
    let exported = on(&home, &export).expect(0);
    assert!(exported.stdout.contains("FN:Ann"), "{exported:?}");
    on(&home, &["user", "add", "you"]).expect(0);
    for command in [
        &import[..],
        &export,
        &["contacts", "duplicates"],
        &["book", "list"],
    ] {
        let refused = on(&home, command).expect(1);
        let said = "say whose with --user: me, you";
        assert!(refused.stderr.contains(said), "{command:?}: {refused:?}");
        on(&home, &[command, &["--user", "me"]].concat()).expect(0);
    }
}

#[test]
fn an_invite_prints_the_code_alone() {
    let directory = tempfile::tempdir().unwrap();
    on(
        directory.path(),
        &["relay", "init", "--address", "relay.example.org"],
    )
    .expect(0);
    let invite = on(
        directory.path(),
        &["relay", "invite", "contacts.example.org"],
    )
    .expect(0);
    let [code] = invite.stdout.lines().collect::<Vec<_>>()[..] else {
        panic!("{invite:?}")
    };
    assert!(
        code.starts_with("cloudless1-") && !code.contains(' '),
        "{code}"
    );
    assert!(invite.stderr.contains("cloudless home join"), "{invite:?}");

    let json = on(
        directory.path(),
        &["relay", "invite", "contacts.example.org", "--json"],
    )
    .expect(0)
    .json();
    assert_eq!(json["hostname"], "contacts.example.org");
    assert!(json["code"].as_str().unwrap().starts_with("cloudless1-"));
    assert!(moment(&json["expires_at"]) > jiff::Timestamp::now());
}

#[test]
fn a_relay_whose_port_is_not_chosen_yet_invites_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let flags = [
        "--address",
        "127.0.0.1",
        "--listen",
        "127.0.0.1:0",
        "--no-http",
    ];
    on(directory.path(), &[&["relay", "init"], &flags[..]].concat()).expect(0);
    let refused = on(
        directory.path(),
        &["relay", "invite", "contacts.example.org"],
    )
    .expect(64);
    assert!(refused.stderr.contains("start it first"), "{refused:?}");
    assert_eq!(refused.stdout, "");
}

#[test]
fn a_listing_that_is_empty_is_an_empty_array() {
    let directory = tempfile::tempdir().unwrap();
    let relay = directory.path().join("relay");
    on(&relay, &["relay", "init", "--address", "relay.example.org"]).expect(0);
    assert_eq!(
        on(&relay, &["relay", "homes", "--json"]).expect(0).stdout,
        "[]\n"
    );
    let home = directory.path().join("home");
    fs::create_dir(&home).unwrap();
    assert_eq!(
        on(&home, &["user", "list", "--json"]).expect(0).stdout,
        "[]\n"
    );
    assert_eq!(
        on(&home, &["device", "list", "--json"]).expect(0).stdout,
        "[]\n"
    );
}

#[test]
fn users_and_devices_without_a_running_home() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    on(&home, &["user", "add", "me"]).expect(0);
    let failed = on(&home, &["user", "add", "me"]).expect(1);
    assert!(failed.stderr.contains("already exists"), "{failed:?}");
    let failed = on(&home, &["device", "add", "you", "phone"]).expect(1);
    assert!(
        failed.stderr.contains("cloudless user add you"),
        "{failed:?}"
    );

    let text = on(&home, &["device", "add", "me", "phone"])
        .expect(0)
        .stdout;
    assert!(text.starts_with("user      me\npassword  "), "{text}");
    let added = on(
        &home,
        &["device", "add", "you", "tablet", "--create-user", "--json"],
    )
    .expect(0);
    let password = added.json()["password"].as_str().unwrap().to_owned();
    assert_eq!(password.len(), 26);
    assert!(
        password
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')),
        "{password}"
    );
    assert_eq!(added.json()["user"], "you");

    on(&home, &["device", "revoke", "me", "phone"]).expect(0);
    on(&home, &["device", "revoke", "me", "phone"]).expect(1);
    let devices = on(&home, &["device", "list", "--user", "me", "--json"])
        .expect(0)
        .json();
    assert_eq!(devices[0]["name"], "phone");
    assert!(moment(&devices[0]["revoked_at"]) <= jiff::Timestamp::now());
    assert_eq!(devices.as_array().unwrap().len(), 1);
}

#[test]
fn two_commands_at_once_wait_for_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().to_str().unwrap();
    let running: Vec<_> = ["a", "b", "c", "d"]
        .map(|user| {
            command(&["user", "add", user, "--state", state])
                .spawn()
                .unwrap()
        })
        .into_iter()
        .collect();
    for mut child in running {
        assert!(child.wait().unwrap().success());
    }
    let users = on(directory.path(), &["user", "list", "--json"])
        .expect(0)
        .json();
    assert_eq!(users.as_array().unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_device_is_refused_at_once() {
    let pair = Pair::start();
    let home = pair.folder("home");
    let mode = fs::metadata(home.join("home.sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let mut connection = pair.phone().connect().await.unwrap();
    let card = cards::small("one");
    assert_eq!(
        connection.put("one.vcf", &card).await.unwrap().status,
        StatusCode::CREATED
    );
    assert_eq!(connection.get("one.vcf").await.unwrap().body, card);
    on(&home, &["device", "revoke", "me", "phone"]).expect(0);
    let answer = connection.get("one.vcf").await.unwrap();
    assert_eq!(
        answer.status,
        StatusCode::UNAUTHORIZED,
        "the connection that was open too"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_pair_answers_commands() {
    let mut pair = Pair::start();
    let (relay, home) = (pair.folder("relay"), pair.folder("home"));

    let added = on(&home, &["device", "add", "me", "tablet", "--json"])
        .expect(0)
        .json();
    let port = pair.relay_port();
    assert_eq!(
        added["public_urls"][0],
        format!("https://localhost:{port}/")
    );
    let local_url = added["local_urls"][0].as_str().unwrap();
    assert!(
        local_url.starts_with("http://127.0.0.1:") && !local_url.ends_with(":0/"),
        "{added}"
    );

    let mut connection = pair.phone().connect().await.unwrap();
    connection
        .put("one.vcf", &cards::small("one"))
        .await
        .unwrap();
    let status = until(&relay, "relay", |it| it["homes"][0]["online"] == true);
    assert_eq!(status["running"], true);
    assert_eq!(status["homes"][0]["last_server_name"], HOSTNAME);
    assert!(status["homes"][0]["bytes_up"].as_u64().unwrap() > 0);
    let text = on(&relay, &["relay", "status"]).expect(0).stdout;
    assert!(
        text.contains("running since") && text.contains(HOSTNAME),
        "{text}"
    );

    let status = on(&home, &["home", "status", "--json"]).expect(0).json();
    assert_eq!(status["running"], true);
    assert_eq!(status["relays"][0]["state"], "connected");
    assert!(
        on(&home, &["home", "status"])
            .expect(0)
            .stdout
            .contains("connected since")
    );

    let homes = on(&relay, &["relay", "homes", "--json"]).expect(0).json();
    assert_eq!(homes[0]["hostname"], HOSTNAME);
    assert_eq!(homes[0]["online"], true);
    let taken = on(&relay, &["relay", "invite", HOSTNAME]).expect(1);
    assert!(taken.stderr.contains("--replace"), "{taken:?}");
    on(&relay, &["relay", "invite", HOSTNAME, "--replace"]).expect(0);

    // The second process on a state says that it is one too many.
    let second = on(&relay, &["relay", "run"]).expect(1);
    assert!(second.stderr.contains("registry.lock"), "{second:?}");
    let second = on(&home, &["home", "run"]).expect(1);
    assert!(second.stderr.contains("in use"), "{second:?}");

    on(&relay, &["relay", "revoke", HOSTNAME]).expect(0);
    assert_eq!(on(&relay, &["relay", "homes", "--json"]).stdout, "[]\n");
    assert!(
        pair.phone().connect().await.is_err(),
        "the name leads nowhere"
    );

    pair.kill_home();
    let status = on(&home, &["home", "status", "--json"]).expect(0).json();
    assert_eq!(
        status["running"], false,
        "a socket that a killed process left is no process"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_or_expired_join_code_is_refused() {
    let pair = Pair::start();
    let relay = pair.folder("relay");
    let code = on(&relay, &["relay", "invite", "second.example.org"])
        .expect(0)
        .stdout;
    on(&pair.folder("second"), &["home", "join", code.trim()]).expect(0);
    let refused = on(&pair.folder("third"), &["home", "join", code.trim()]).expect(1);
    assert!(refused.stderr.contains("already used"), "{refused:?}");
    assert!(!pair.folder("third").join("home.toml").exists());

    let late = [
        "relay",
        "invite",
        "third.example.org",
        "--expires-in",
        "1s",
        "--json",
    ];
    let late = on(&relay, &late).expect(0).json();
    let expiry = moment(&late["expires_at"]);
    while jiff::Timestamp::now().duration_since(expiry).as_secs() < 1 {
        on(&relay, &["relay", "homes"]).expect(0);
    }
    let late = late["code"].as_str().unwrap();
    let refused = on(&pair.folder("third"), &["home", "join", late]).expect(1);
    assert!(refused.stderr.contains("expired on"), "{refused:?}");
    assert!(refused.stderr.contains("the relay refused"), "{refused:?}");
    assert!(!pair.folder("third").join("home.toml").exists());

    let mut cut = code.trim().to_owned();
    cut.pop();
    let refused = on(&pair.folder("third"), &["home", "join", &cut]).expect(64);
    assert!(refused.stderr.contains("cut off"), "{refused:?}");
}
