//! Named steps, timed, with their outcome told as they end.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// The steps of one run. A step that fails does not keep the next ones from running, so that one
/// run tells everything that is wrong.
#[derive(Default)]
pub(crate) struct Steps {
    failed: Vec<String>,
}

impl Steps {
    /// Runs one step and prints how long it took.
    pub(crate) fn run(&mut self, name: &str, action: impl FnOnce() -> Result<()>) {
        println!("\n==> {name}");
        let started = Instant::now();
        let outcome = action();
        let seconds = started.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => println!("<== {name}: ok, {seconds:.1} s"),
            Err(error) => {
                println!("<== {name}: FAILED, {seconds:.1} s: {error:#}");
                self.failed.push(name.to_owned());
            }
        }
    }

    /// Fails if a step failed.
    pub(crate) fn finish(self) -> Result<()> {
        if !self.failed.is_empty() {
            bail!("failed: {}", self.failed.join(", "));
        }
        Ok(())
    }
}

/// Runs a command to its end, its output going where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = command_line(command);
    let status = command
        .status()
        .with_context(|| format!("start `{line}`"))?;
    if !status.success() {
        bail!("`{line}`: {status}");
    }
    Ok(())
}

/// Runs a command and tells whether it succeeded; its output is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|it| it.status.success())
}

/// True where a missing thing is a failure.
pub(crate) fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|it| !it.is_empty() && it != "false" && it != "0")
}

/// A thing that cannot be had: a failure in CI, elsewhere one loud line.
pub(crate) fn missing(message: &str) -> Result<()> {
    if is_ci() {
        bail!("{message}");
    }
    eprintln!("MISSING: {message}");
    Ok(())
}

fn command_line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}
