//! The programs that set up the scene.

use std::process::Command;

/// Runs `ip` to its success.
pub(crate) fn ip(arguments: &[&str]) {
    run(Command::new("ip").args(arguments));
}

/// Runs a command to its success.
pub(crate) fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

pub(crate) fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}
