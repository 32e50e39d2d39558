//! litmus, the test suite of WebDAV, on a plain collection (RFC 4918 classes 1 and 3).

use std::process::{Command, Stdio};

use crate::corpus;
use crate::pair::Pair;

/// Those for what is promised: `locks` is class 2.
const SUITES: &str = "basic copymove props http";

/// What litmus warns of and what stays as it is: locks are not promised, and a fragment, which no
/// request may have, is dropped where HTTP is read.
const KNOWN: &[&str] = &[
    "WARNING: server does not claim Class 2 compliance",
    "WARNING: DELETE removed collection resource with Request-URI including fragment; unsafe",
];

#[test]
fn every_test_of_litmus_passes_without_a_new_warning() {
    if !is_installed() {
        corpus::missing("litmus: run `cargo xtask test`, which installs it");
        return;
    }
    let pair = Pair::start();
    let url = pair.local_url("/dav/files/me/");
    let output = Command::new("litmus")
        .args(["--keep-going", &url, "me", pair.password()])
        .env("TESTS", SUITES)
        // It leaves a log where it runs.
        .current_dir(pair.folder("litmus"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let said = said.replace('\r', "\n");
    print!("{said}");
    assert!(output.status.success(), "{}", output.status);
    for suite in SUITES.split(' ') {
        let passed = format!("<- summary for `{suite}': of ");
        let summary = said.lines().find(|line| line.starts_with(&passed));
        let summary = summary.unwrap_or_else(|| panic!("no summary of {suite}"));
        assert!(summary.contains(" 0 failed. 100.0%"), "{summary}");
    }
    let warnings: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("WARNING") || line.contains("FAIL"))
        .filter(|line| !KNOWN.iter().any(|known| line.ends_with(known)))
        .collect();
    assert!(warnings.is_empty(), "{warnings:#?}");
}

fn is_installed() -> bool {
    Command::new("litmus")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
