//! What `status` says of a running pair, and what it says when something is wrong.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::binary::{self, on, until};
use crate::pair::Pair;

#[test]
fn a_home_that_phones_reach_is_online_and_one_without_a_relay_is_not() {
    let mut pair = Pair::start();
    let (relay, home) = (pair.folder("relay"), pair.folder("home"));
    let check = ["home", "status", "--check", "--json"];
    let status = on(&home, &check).expect(0).json();
    assert_eq!(status["public"][0]["state"], "online", "{status}");
    let row = &status["relays"][0];
    assert!(row["round_trip"]["smoothed_us"].as_u64() > Some(0), "{row}");
    // The probe's own bytes.
    assert!(
        row["bytes_up"].as_u64() > Some(0) && row["bytes_down"].as_u64() > Some(0),
        "{row}"
    );
    let text = on(&home, &["home", "status"]).expect(0).stdout;
    assert!(text.starts_with("home is online\n"), "{text}");
    let status = on(&relay, &["relay", "status", "--json"]).expect(0).json();
    let row = &status["homes"][0];
    assert!(
        row["online"] == true && row["probe"]["error"].is_null(),
        "{row}"
    );
    assert!(row["round_trip"]["last_us"].as_u64() > Some(0), "{row}");
    // A home that has joined and hung up has not failed.
    let outcomes = &status["outcomes"];
    assert!(
        outcomes["joined"] == 1 && outcomes["tunnel_failed"].is_null(),
        "{outcomes}"
    );

    pair.kill_relay();
    let failed = on(&home, &["home", "status", "--check"]).expect(1);
    assert!(!failed.stdout.contains("online\n"), "{failed:?}");
    assert!(
        failed.stderr.contains("phones do not reach localhost"),
        "{failed:?}"
    );
    pair.kill_home();
    let failed = on(&home, &["home", "status", "--check"]).expect(1);
    assert!(failed.stderr.contains("home is not running"), "{failed:?}");
}

#[test]
fn a_name_that_leads_elsewhere_is_not_online_at_the_relay_either() {
    let mut pair = Pair::start();
    let (relay, home) = (pair.folder("relay"), pair.folder("home"));
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = elsewhere.local_addr().unwrap();
    pair.kill_home();
    let config = home.join("home.toml");
    let text = fs::read_to_string(&config).unwrap();
    let before = format!("addresses = \"{}\"\n", pair.relay_address());
    let (head, probe) = text.split_once("[probe]\n").unwrap();
    let after = format!("addresses = \"{elsewhere}\"\n");
    let probe = probe.replacen(&before, &after, 1);
    fs::write(&config, format!("{head}[probe]\n{probe}")).unwrap();
    pair.start_home();
    let failed = |it: &Value| it["homes"][0]["probe"]["error"].is_string();
    let status = until(&relay, "relay", failed);
    let row = &status["homes"][0];
    assert!(row["online"] == false && row["since"].is_string(), "{row}");
    let text = on(&relay, &["relay", "status"]).expect(0).stdout;
    assert!(
        text.contains("no answer") && text.contains(&format!("port {}", elsewhere.port())),
        "{text}"
    );
}

#[test]
fn a_watch_goes_on_while_roles_come_and_go_and_ends_well() {
    let mut pair = Pair::start();
    for (role, folder) in [
        ("relay", pair.folder("relay")),
        ("home", pair.folder("home")),
    ] {
        let arguments = [role, "status", "--watch", "--json", "--state"];
        let mut watch = binary::command(&arguments)
            .arg(&folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        let mut next =
            || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
        assert_eq!(next()["running"], true);
        if role == "relay" {
            pair.kill_relay();
        } else {
            pair.kill_home();
        }
        while next()["running"] == true {}
        let pid = Pid::from_raw(i32::try_from(watch.id()).unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        assert_eq!(watch.wait().unwrap().code(), Some(0), "{role}");
    }
}

#[test]
fn a_watch_on_a_terminal_draws_one_screen_and_leaves_the_other_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let relay = directory.path().join("relay");
    on(&relay, &["relay", "init", "--address", "relay.example.org"]).expect(0);
    let program = env!("CARGO_BIN_EXE_cloudless");
    // A shell that stayed beside the program would die of the keys that are meant for the program.
    let state = relay.display();
    let watch = format!("exec {program} relay status --watch --state {state}");
    let Some(mut terminal) = binary::terminal(&watch) else {
        return;
    };
    let mut output = terminal.stdout.take().unwrap();
    let mut shown = Vec::new();
    // The first screen, drawn to its end.
    while !shown.ends_with(b"\x1b[J") {
        let mut byte = [0];
        output.read_exact(&mut byte).unwrap();
        shown.extend(byte);
    }
    let mut keys = terminal.stdin.take().unwrap();
    keys.write_all(b"\x03").unwrap();
    output.read_to_end(&mut shown).unwrap();
    assert_eq!(terminal.wait().unwrap().code(), Some(0));

    let shown = String::from_utf8(shown).unwrap();
    let shown = shown
        .strip_prefix("\x1b[?1049h\x1b[?25l\x1b[H")
        .unwrap_or_else(|| panic!("{shown:?}"));
    let (second, first) = shown.split_once("\x1b[?25h\x1b[?1049l").unwrap();
    for screen in [second, first] {
        assert!(screen.contains("not running"), "{screen:?}");
    }
    assert!(second.contains("\x1b[K"), "{second:?}");
    assert!(!first.contains("\x1b[K"), "{first:?}");
}
