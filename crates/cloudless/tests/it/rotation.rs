//! The relay's key is rotated under a running pair, and beside one that is away.

use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::binary::{self, on, until};
use crate::pair::{HOSTNAME, Pair};

fn status(relay: &Path) -> Value {
    on(relay, &["relay", "status", "--json"]).expect(0).json()
}

fn check(home: &Path) {
    let checked = on(home, &["home", "status", "--check"]).expect(0);
    assert!(
        checked.stdout.starts_with("home is online\n"),
        "{checked:?}"
    );
}

/// Waits until home has a tunnel again.
fn connected(home: &Path) -> Value {
    until(home, "home", |it| it["relays"][0]["state"] == "connected")
}

/// Waits until the relay says so of its home.
fn says(relay: &Path, what: &str) -> Value {
    until(relay, "relay", |it| it["homes"][0][what] == true)
}

#[test]
fn a_pair_goes_on_while_the_key_is_rotated_and_both_are_killed() {
    let mut pair = Pair::start();
    let (relay, home) = (pair.folder("relay"), pair.folder("home"));
    let begun = on(
        &relay,
        &["relay", "rotate-key", "--overlap", "7d", "--json"],
    );
    let begun = begun.expect(0).json();
    let next = begun["rotation"]["next"].clone();
    says(&relay, "knows_next_key");
    let text = on(&relay, &["relay", "status"]).expect(0).stdout;
    assert!(text.contains("known to 1 of 1 homes"), "{text}");
    let text = on(&home, &["home", "status"]).expect(0).stdout;
    assert!(text.contains("is being replaced"), "{text}");
    let again = on(&relay, &["relay", "rotate-key"]).expect(1);
    assert!(again.stderr.contains("--finish"), "{again:?}");

    pair.kill_relay();
    pair.start_relay();
    connected(&home);
    let status = says(&relay, "online");
    assert_eq!(status["homes"][0]["knows_next_key"], true);
    assert_eq!(status["key"]["rotation"]["next"], next);
    check(&home);

    let finished = on(&relay, &["relay", "rotate-key", "--finish"]).expect(0);
    assert!(finished.stderr.contains("alone now"), "{finished:?}");
    check(&home);
    pair.kill_home();
    pair.kill_relay();
    pair.start_relay();
    pair.start_home();
    pair.await_tunnel();
    check(&home);
    let status = connected(&home);
    assert_eq!(status["relays"][0]["keys"], Value::from(vec![next.clone()]));
    let status = on(&relay, &["relay", "status", "--json"]).expect(0).json();
    assert_eq!(status["key"]["key"], next);
    assert_eq!(status["key"]["rotation"], Value::Null);
}

#[test]
fn a_home_that_was_away_all_the_time_says_what_to_do_and_that_helps() {
    let mut pair = Pair::start();
    let (relay, home) = (pair.folder("relay"), pair.folder("home"));
    pair.kill_home();
    pair.kill_relay();
    // No relay runs.
    let begun = on(&relay, &["relay", "rotate-key", "--json"])
        .expect(0)
        .json();
    let next = begun["rotation"]["next"].as_str().unwrap().to_owned();
    let refused = on(&relay, &["relay", "rotate-key", "--finish"]).expect(1);
    assert!(refused.stderr.contains(HOSTNAME), "{refused:?}");
    on(&relay, &["relay", "rotate-key", "--finish", "--force"]).expect(0);
    pair.start_relay();
    pair.start_home();
    let told = until(&home, "home", |it| it["relays"][0]["error"].is_string());
    let error = told["relays"][0]["error"].as_str().unwrap();
    for word in [&next, "relay invite --replace", "home join"] {
        assert!(error.contains(word), "{error}");
    }

    let code = on(&relay, &["relay", "invite", "--replace", HOSTNAME]).expect(0);
    on(&home, &["home", "join", code.stdout.trim()]).expect(0);
    pair.kill_home();
    pair.start_home();
    pair.await_tunnel();
    check(&home);
    let status = connected(&home);
    assert_eq!(status["relays"].as_array().unwrap().len(), 1, "{status}");
}

/// SIGKILL at any moment of a rotation and of its end leaves a pair that works.
#[test]
fn a_relay_that_is_killed_while_its_key_is_rotated_lets_its_home_back_in() {
    let mut pair = Pair::start();
    let (relay, home) = (pair.folder("relay"), pair.folder("home"));
    let mut finished = 0;
    for round in 0..crate::rounds(6) {
        let is_begun = status(&relay)["key"]["rotation"] != Value::Null;
        if is_begun {
            says(&relay, "knows_next_key");
        }
        let step: &[&str] = if is_begun { &["--finish"] } else { &[] };
        let mut command = binary::command(&[&["relay", "rotate-key", "--state"], &[][..]].concat())
            .arg(&relay)
            .args(step)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A step takes a few milliseconds, most of them the start of the command.
        let begun = Instant::now();
        let moment = Duration::from_micros(u64::try_from(round).unwrap() * 7919 % 30_000);
        while begun.elapsed() < moment {
            thread::yield_now();
        }
        pair.kill_relay();
        let pid = Pid::from_raw(i32::try_from(command.id()).unwrap()).unwrap();
        let _ = kill_process(pid, Signal::KILL);
        command.wait().unwrap();
        pair.start_relay();
        says(&relay, "online");
        connected(&home);
        if is_begun && status(&relay)["key"]["rotation"] == Value::Null {
            finished += 1;
        }
    }
    check(&home);
    eprintln!("{finished} rotations came to their end");
}
