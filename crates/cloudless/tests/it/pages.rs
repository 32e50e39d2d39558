//! Man pages and shell completions, read by the programs that they are for.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::binary::cloudless;
use crate::corpus::missing;
use crate::help::COMMANDS;

/// Runs a program, or says which Debian package has it.
fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .env("MANWIDTH", "100")
        .output();
    if output.is_err() {
        missing(program);
    }
    output.ok()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_command_has_a_man_page() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("man");
    cloudless(&["man-pages", pages.to_str().unwrap()]).expect(0);
    for command in COMMANDS.into_iter().chain([""]) {
        let name = format!("cloudless {command}").trim_end().replace(' ', "-");
        let page = pages.join(format!("{name}.1"));
        assert!(page.exists(), "there is no {}", page.display());
        let Some(read) = run(
            "man",
            &["--warnings", "--local-file", page.to_str().unwrap()],
        ) else {
            return;
        };
        assert!(
            read.status.success() && read.stderr.is_empty(),
            "{name}: {}",
            text(&read.stderr)
        );
        let read = text(&read.stdout);
        for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS"] {
            assert!(
                read.lines().any(|line| line == heading),
                "{name} has no {heading}: {read}"
            );
        }
    }
    let init = pages.join("cloudless-relay-init.1");
    let read = text(
        &run("man", &["--local-file", init.to_str().unwrap()])
            .unwrap()
            .stdout,
    );
    let has_line = |wanted: &str| read.lines().any(|line| line.trim() == wanted);
    assert!(has_line("EXAMPLES"), "{read}");
    assert!(
        has_line("cloudless relay init --address relay.example.org"),
        "{read}"
    );
    // What is hidden is for tests.
    let run_page = fs::read_to_string(pages.join("cloudless-relay-run.1")).unwrap();
    assert!(!run_page.contains("ready"), "{run_page}");
}

/// A file with the completions for a shell.
fn completions(shell: &str, directory: &Path) -> String {
    let path = directory.join(shell);
    fs::write(&path, cloudless(&["completions", shell]).expect(0).stdout).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn shells_complete_commands() {
    let directory = tempfile::tempdir().unwrap();
    let bash = completions("bash", directory.path());
    let line = format!(
        "source {bash}; COMP_WORDS=(cloudless relay in); COMP_CWORD=2; _cloudless cloudless in relay; \
         echo \"${{COMPREPLY[*]}}\""
    );
    if let Some(completed) = run("bash", &["--norc", "-c", &line]) {
        assert_eq!(
            text(&completed.stdout),
            "init invite\n",
            "{}",
            text(&completed.stderr)
        );
    }
    let fish = completions("fish", directory.path());
    let line = format!("source {fish}; complete --do-complete 'cloudless relay in'");
    if let Some(completed) = run("fish", &["--no-config", "--command", &line]) {
        let words = text(&completed.stdout);
        let words: Vec<_> = words
            .lines()
            .filter_map(|line| line.split('\t').next())
            .collect();
        assert_eq!(words, ["init", "invite"], "{}", text(&completed.stderr));
    }
    let zsh = completions("zsh", directory.path());
    if let Some(read) = run("zsh", &["--no-rcs", "--no-exec", &zsh]) {
        assert!(
            read.status.success() && read.stderr.is_empty(),
            "{}",
            text(&read.stderr)
        );
    }
}
