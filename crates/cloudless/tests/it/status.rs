//! What `status` says of a running pair, and what it says when something is wrong.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::binary::{self, on, until};
use crate::pair::Pair;

/// Nobody waits longer for a screen.
const PATIENCE: Duration = Duration::from_secs(60);

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
    // Nobody else has come since.
    let total = row["visitors_total"].as_u64().unwrap();
    assert!(total > 0, "{row}");
    for words in [
        "round trip",
        &format!("0 now, {total} in all, "),
        " up, ",
        " down\n",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    let status = on(&relay, &["relay", "status", "--json"]).expect(0).json();
    let row = &status["homes"][0];
    assert!(
        row["online"] == true && row["probe"]["error"].is_null(),
        "{row}"
    );
    assert!(row["round_trip"]["last_us"].as_u64() > Some(0), "{row}");
    let totals = &status["totals"];
    let total = totals["visitors_total"].as_u64().unwrap();
    assert!(
        total > 0 && totals["bytes_up"].as_u64() > Some(0),
        "{totals}"
    );
    let text = on(&relay, &["relay", "status"]).expect(0).stdout;
    let words = format!("1 of 1 names online, visitors 0 now, {total} in all, ");
    assert!(text.contains(&words), "no {words:?} in {text}");
    assert!(!text.contains(" 0 B to homes"), "{text}");
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
    let relay = pair.folder("relay");
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = elsewhere.local_addr().unwrap();
    lead_name_to(&mut pair, &[elsewhere]);
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
fn a_name_of_which_one_address_works_is_partly_online_at_the_relay() {
    let mut pair = Pair::start();
    let (relay, home) = (pair.folder("relay"), pair.folder("home"));
    // Nobody listens where somebody did.
    let elsewhere = TcpListener::bind("[::1]:0").unwrap().local_addr().unwrap();
    let both = [pair.relay_address(), elsewhere];
    lead_name_to(&mut pair, &both);
    let failed = |it: &Value| it["homes"][0]["probe"]["error"].is_string();
    let status = until(&relay, "relay", failed);
    assert_eq!(status["homes"][0]["online"], true, "{status}");
    let text = on(&relay, &["relay", "status"]).expect(0).stdout;
    let row = text.lines().find(|it| it.starts_with("localhost  partly "));
    assert!(row.is_some(), "{text}");
    assert!(text.contains("1 of 1 names online (1 partly), "), "{text}");
    let why = "localhost: home says: it works over IPv4, not over IPv6: localhost leads to ::1";
    assert!(text.contains(why), "{text}");
    let text = on(&home, &["home", "status"]).expect(0).stdout;
    let headline = "home is online for some phones and not for others\n";
    assert!(text.starts_with(headline), "{text}");
}

/// Starts home anew with these addresses for its name.
fn lead_name_to(pair: &mut Pair, addresses: &[SocketAddr]) {
    pair.kill_home();
    let config = pair.folder("home").join("home.toml");
    let text = fs::read_to_string(&config).unwrap();
    let (head, probe) = text.split_once("[probe]\n").unwrap();
    let before = format!("addresses = \"{}\"\n", pair.relay_address());
    let quoted = addresses.iter().map(|it| format!("\"{it}\""));
    let quoted: Vec<_> = quoted.collect();
    let after = format!("addresses = [{}]\n", quoted.join(", "));
    assert!(probe.contains(&before), "{text}");
    let probe = probe.replacen(&before, &after, 1);
    fs::write(&config, format!("{head}[probe]\n{probe}")).unwrap();
    pair.start_home();
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
    let Some(mut watch) = Watch::start("relay", &relay) else {
        return;
    };
    let first = watch.screen();
    let second = first
        .strip_prefix("\x1b[?1049h\x1b[?25l\x1b[H")
        .unwrap_or_else(|| panic!("{first:?}"));
    assert!(second.contains("not running"), "{second:?}");
    assert!(second.contains("\x1b[K"), "{second:?}");
    let left = watch.end();
    assert!(left.contains("not running"), "{left:?}");
}

#[test]
fn a_watch_on_a_terminal_shows_a_home_that_goes_and_comes_back() {
    let mut pair = Pair::start();
    let start = |role| Watch::start(role, &pair.folder(role));
    let (Some(mut relay), Some(mut home)) = (start("relay"), start("home")) else {
        return;
    };
    relay.until("1 of 1 names online");
    home.until("home is online");
    pair.kill_home();
    let gone = relay.until("0 of 1 names online");
    assert!(gone.contains(" offline "), "{gone:?}");
    let gone = home.until("home is not running");
    assert!(!gone.contains("connected"), "{gone:?}");
    pair.start_home();
    pair.await_tunnel();
    relay.until("1 of 1 names online");
    home.until("home is online");
    pair.kill_relay();
    relay.until("not running");
    home.until("connected to no relay");
    for (watch, words) in [
        (relay, "the relay is not running"),
        (home, "connected to no relay"),
    ] {
        let left = watch.end();
        assert!(left.contains(words), "{left:?}");
    }
}

/// `status --watch` on a terminal.
struct Watch {
    terminal: Child,
    output: ChildStdout,
}

impl Watch {
    /// None where no program gives it a terminal.
    fn start(role: &str, state: &Path) -> Option<Self> {
        let program = env!("CARGO_BIN_EXE_cloudless");
        let state = state.display();
        // A shell that stayed beside the program would die of the keys that are meant for the program.
        let line = format!("NO_COLOR=1 exec {program} {role} status --watch --state {state}");
        let mut terminal = binary::terminal(&line)?;
        let output = terminal.stdout.take().unwrap();
        Some(Self { terminal, output })
    }

    /// The next screen, drawn to its end.
    fn screen(&mut self) -> String {
        let mut shown = Vec::new();
        while !shown.ends_with(b"\x1b[J") {
            let mut byte = [0];
            self.output.read_exact(&mut byte).unwrap();
            shown.extend(byte);
        }
        String::from_utf8(shown).unwrap()
    }

    /// Waits for a screen with these words, which is drawn over the one before.
    #[track_caller]
    fn until(&mut self, words: &str) -> String {
        let begun = Instant::now();
        loop {
            let screen = self.screen();
            let screen = screen.trim_start_matches("\x1b[?1049h\x1b[?25l");
            assert!(screen.starts_with("\x1b[H"), "{screen:?}");
            if screen.contains(words) {
                return screen.to_owned();
            }
            assert!(begun.elapsed() < PATIENCE, "never {words:?}: {screen:?}");
        }
    }

    /// Ends it by Ctrl-C; returns what it leaves on the terminal.
    fn end(mut self) -> String {
        let mut keys = self.terminal.stdin.take().unwrap();
        keys.write_all(b"\x03").unwrap();
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert_eq!(self.terminal.wait().unwrap().code(), Some(0), "{rest:?}");
        let (_, left) = rest.split_once("\x1b[?25h\x1b[?1049l").unwrap();
        assert!(!left.contains('\x1b'), "{left:?}");
        left.to_owned()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It has ended, unless the test has failed.
        let _ = self.terminal.kill();
        let _ = self.terminal.wait();
    }
}
