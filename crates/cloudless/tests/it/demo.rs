//! The first thing that anybody runs.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

use crate::binary::{cloudless, command};
use crate::cards;
use crate::vdirsyncer;

/// A demo that stays up, and its line of JSON.
struct Demo {
    child: Child,
    output: Value,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let arguments = [&["demo", "--json"], arguments].concat();
        let mut child = command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let output = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Self { child, output }
    }

    fn text(&self, field: &str) -> &str {
        self.output[field]
            .as_str()
            .unwrap_or_else(|| panic!("{field}: {}", self.output))
    }

    fn process(&self, field: &str) -> Pid {
        let id = self.output[field]
            .as_i64()
            .and_then(|id| i32::try_from(id).ok());
        id.and_then(Pid::from_raw)
            .unwrap_or_else(|| panic!("{field}: {}", self.output))
    }

    fn port(&self, url: &str) -> u16 {
        self.text(url)
            .trim_end_matches('/')
            .rsplit(':')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    }

    /// Ends it as Ctrl-C does and returns its exit code.
    fn interrupt(&mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It has usually ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn once_checks_everything_and_leaves_nothing() {
    let run = cloudless(&["demo", "--once"]).expect(0);
    for step in [
        "first sync: 30 cards",
        "byte for byte",
        "exactly this card",
        "the server name   localhost",
        "ciphertext",
    ] {
        assert!(run.stdout.contains(step), "{step}: {run:?}");
    }
    for line in run.stdout.lines().filter(|line| line.contains('\u{2713}')) {
        assert!(line.contains(" ms "), "a step without its time: {line}");
    }
    let directory = run
        .stdout
        .split("data in ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    assert!(directory.contains("cloudless-demo-"), "{directory}");
    assert!(!Path::new(directory).exists(), "{directory} is left");
}

#[test]
fn json_is_one_line_with_all_that_a_program_needs() {
    let mut demo = Demo::start(&[]);
    let port = demo.port("public_url");
    assert_eq!(
        demo.text("public_url"),
        format!("https://localhost:{port}/")
    );
    assert_eq!(demo.text("relay_addr"), format!("127.0.0.1:{port}"));
    assert!(
        demo.text("local_url").starts_with("http://127.0.0.1:"),
        "{}",
        demo.output
    );
    assert!(!demo.text("user").is_empty() && demo.text("password").len() == 26);
    let ca_file = PathBuf::from(demo.text("ca_file"));
    assert!(
        std::fs::read_to_string(&ca_file)
            .unwrap()
            .contains("BEGIN CERTIFICATE")
    );
    let (relay, home) = (demo.process("relay_pid"), demo.process("home_pid"));
    assert!(relay != home && test_kill_process(relay).is_ok() && test_kill_process(home).is_ok());
    let fields: Vec<_> = demo.output.as_object().unwrap().keys().collect();
    assert_eq!(fields.len(), 8, "{fields:?}");

    assert_eq!(demo.interrupt(), Some(0));
    assert!(test_kill_process(relay).is_err(), "the relay runs on");
    assert!(test_kill_process(home).is_err(), "home runs on");
    assert!(!ca_file.exists());
}

/// What the demo says last, pasted into a shell as a newcomer does.
#[test]
fn what_it_prints_can_be_pasted() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("a demo");
    let mut child = command(&["demo", "--state", state.to_str().unwrap()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let _demo = Demo {
        child,
        output: Value::Null,
    };
    let mut lines = Vec::new();
    while !lines
        .last()
        .is_some_and(|it: &String| it.contains("Ctrl-C"))
    {
        let mut line = String::new();
        assert!(output.read_line(&mut line).unwrap() > 0, "{lines:#?}");
        lines.push(line.trim().to_owned());
    }

    let at = |start: &str| {
        let at = lines.iter().position(|line| line.starts_with(start));
        at.unwrap_or_else(|| panic!("{start}: {lines:#?}"))
    };
    let shell = |line: &str| {
        let output = Command::new("sh").args(["-c", line]).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let curl = at("curl ");
    let card = shell(&lines[curl..curl + 2].join("\n"));
    assert!(card.starts_with("BEGIN:VCARD"), "{card}");
    assert!(card.contains("NOTE:Changed at home on "), "{card}");

    let config = std::fs::read_to_string(state.join("vdirsyncer.conf")).unwrap();
    for (line, printed) in config.lines().zip(&lines[at("[general]")..]) {
        assert_eq!(line, printed);
    }
    if let Some(program) = vdirsyncer::program() {
        let program = format!("'{}' -c", program.display());
        let line = lines[at("vdirsyncer ")].replace("vdirsyncer -c", &program);
        shell(&format!("yes | {{ {line}; }}"));
        let synced = state.join("synced").join("contacts");
        assert_eq!(std::fs::read_dir(synced).unwrap().count(), 30);
    }
}

#[test]
fn a_second_start_goes_on_with_the_data() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("demo");
    let file = directory.path().join("mine.vcf");
    std::fs::write(&file, [cards::small("one"), cards::small("two")].concat()).unwrap();
    let state_flag = ["--state", state.to_str().unwrap()];

    let import = [&state_flag[..], &["--import", file.to_str().unwrap()]].concat();
    let mut first = Demo::start(&import);
    assert_eq!(first.interrupt(), Some(0));
    let mut second = Demo::start(&state_flag);
    for field in ["public_url", "local_url", "user", "password", "ca_file"] {
        assert_eq!(first.output[field], second.output[field], "{field}");
    }
    assert_eq!(second.interrupt(), Some(0));

    let run = cloudless(&[&["demo", "--once"], &state_flag[..]].concat()).expect(0);
    assert!(run.stdout.contains("first sync: 32 cards"), "{run:?}");
    assert!(
        !run.stdout.contains("relay invite"),
        "it has joined already: {run:?}"
    );
}

/// A store that takes no more changes lets the set-up pass and the check fail.
#[test]
fn a_check_that_fails_is_told_and_ends_with_one() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("demo");
    let once = ["demo", "--once", "--state", state.to_str().unwrap()];
    cloudless(&once).expect(0);
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON versions \
                  BEGIN SELECT RAISE(ABORT, 'refused'); END";
    let script = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute(sys.argv[2])";
    let store = state.join("home").join("store.sqlite");
    let mut python = Command::new("python3");
    let changed = python.args(["-c", script]).arg(store).arg(refuse).status();
    assert!(changed.unwrap().success(), "python3 changes the store");

    let run = cloudless(&once).expect(1);
    assert!(run.stdout.contains("byte for byte"), "{run:?}");
    assert!(
        run.stderr.contains("PUT ") && run.stderr.contains("500"),
        "{run:?}"
    );
    assert!(!run.stdout.contains("all of it worked"), "{run:?}");
}

/// The kernel ends relay and home when the demo is killed and cannot do it itself.
#[test]
fn a_killed_demo_takes_its_processes_along() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("demo");
    let mut demo = Demo::start(&["--state", state.to_str().unwrap()]);
    demo.child.kill().unwrap();
    demo.child.wait().unwrap();
    // The locks of both are free once they have ended, and a new start waits for no one else.
    let relay = state.join("relay");
    let command = [
        "relay",
        "homes",
        "--json",
        "--state",
        relay.to_str().unwrap(),
    ];
    assert_eq!(
        cloudless(&command).expect(0).json()[0]["hostname"],
        "localhost"
    );
    let status = ["home", "status", "--json", "--state"];
    let home = state.join("home");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let status = cloudless(&[&status[..], &[home.to_str().unwrap()]].concat())
            .expect(0)
            .json();
        if status["running"] == false {
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "home runs on: {status}"
        );
    }
}

#[test]
fn a_demo_that_cannot_start_says_why() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let run = cloudless(&["demo", "--once", "--port", &port]).expect(1);
    assert!(
        run.stderr.contains("cannot listen on 127.0.0.1:"),
        "{run:?}"
    );
}
