//! Exit codes, and how a failure is told.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use cloudless_relay::RegistryError;

use crate::config::ConfigError;
use crate::terminal;

/// The command line or a config file is wrong: nothing was done and no port was bound
/// (`EX_USAGE` of sysexits.h).
const USAGE: u8 = 64;

/// Something that was tried failed.
const FAILURE: u8 = 1;

/// What was asked for cannot be done as it was asked: the caller has to ask differently.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Prints the result of a command, the error with all its causes, and gives the exit code.
pub(crate) fn report(result: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match result {
        Ok(code) => return code,
        Err(error) => error,
    };
    // A reader that has seen enough (`| head`) is no failure.
    if error.chain().any(is_broken_stdout) {
        return ExitCode::SUCCESS;
    }
    terminal::error(chain(&error));
    let asked_wrongly = error
        .chain()
        .any(|cause| cause.is::<Usage>() || cause.is::<ConfigError>() || is_bad_registry(cause));
    ExitCode::from(if asked_wrongly { USAGE } else { FAILURE })
}

/// Prints what clap has to say. Help and version are answers, everything else is wrong usage.
pub(crate) fn refused_arguments(refused: &clap::Error) -> ExitCode {
    // Nothing is left to tell when the terminal is gone.
    let _ = refused.print();
    if refused.use_stderr() {
        ExitCode::from(USAGE)
    } else {
        ExitCode::SUCCESS
    }
}

/// The error with every cause on its own line.
fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        // Writing to a string does not fail.
        let _ = write!(text, "\n  because: {cause}");
    }
    text
}

/// Whether a file of the relay's registry has to be corrected by hand.
fn is_bad_registry(cause: &(dyn std::error::Error + 'static)) -> bool {
    matches!(
        cause.downcast_ref(),
        Some(RegistryError::Parse { .. } | RegistryError::Duplicate { .. })
    )
}

fn is_broken_stdout(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause
        .downcast_ref::<terminal::StdoutError>()
        .is_some_and(|error| error.0.kind() == io::ErrorKind::BrokenPipe)
}
