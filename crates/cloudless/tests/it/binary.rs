//! The binary, run to its end.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Long enough for a loaded machine; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

use crate::corpus;

/// What a run printed, and its exit status.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `cloudless` with these arguments and nothing on standard input.
pub(crate) fn cloudless(arguments: &[&str]) -> Run {
    let output = command(arguments).output().expect("the binary starts");
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("text on standard output"),
        stderr: String::from_utf8(output.stderr).expect("text on standard error"),
    }
}

/// Runs `cloudless` on a state directory.
pub(crate) fn on(state: &Path, arguments: &[&str]) -> Run {
    let state = state.to_str().expect("a path that is text");
    cloudless(&[arguments, &["--state", state]].concat())
}

/// Asks for the status of a role until it is as wanted.
#[track_caller]
pub(crate) fn until(state: &Path, role: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let status = on(state, &[role, "status", "--json"]).expect(0).json();
        if wanted(&status) {
            return status;
        }
        assert!(begun.elapsed() < PATIENCE, "never as wanted: {status}");
    }
}

/// The command, to be changed before it is run.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloudless"));
    command.args(arguments).stdin(Stdio::null());
    for variable in [
        "CLOUDLESS_LOG",
        "CLOUDLESS_LOG_FORMAT",
        "RUST_LOG",
        "RUST_BACKTRACE",
    ] {
        command.env_remove(variable);
    }
    command
}

/// What a terminal shows of a shell's line that succeeds; None where no program gives it one.
pub(crate) fn on_a_terminal(line: &str) -> Option<String> {
    let output = terminal(line)?.wait_with_output().expect("its output");
    let screen = String::from_utf8(output.stdout).expect("text on the terminal");
    assert!(output.status.success(), "{screen:?}");
    Some(screen)
}

/// Starts a shell's line on a terminal that shows its standard output and takes keys on its standard
/// input; None where no program gives it one.
pub(crate) fn terminal(line: &str) -> Option<Child> {
    let child = Command::new("script")
        .args(["--quiet", "--return", "--flush"])
        .args(["--command", line, "/dev/null"])
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    if child.is_err() {
        corpus::missing("the program script, which gives commands a terminal");
    }
    child.ok()
}

impl Run {
    /// Fails the test unless the exit status is this one.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// The only line of standard output, as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.stdout).expect("JSON on standard output")
    }
}
