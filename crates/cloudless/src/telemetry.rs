//! Logs on standard error.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::terminal;

/// Starts logging to standard error. `CLOUDLESS_LOG`, or else `RUST_LOG`, chooses what is logged;
/// without either it is everything from INFO up for a role that runs, and warnings for the other
/// commands, whose output says what they do.
pub(crate) fn init(is_role: bool) {
    let default = if is_role { "info" } else { "warn" };
    let filter = ["CLOUDLESS_LOG", "RUST_LOG"].into_iter().find_map(filter);
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|| EnvFilter::new(default)))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && !no_color)
        .with_target(false)
        .init();
}

/// What an environment variable asks for, if it asks for something that makes sense.
fn filter(variable: &str) -> Option<EnvFilter> {
    let text = std::env::var(variable)
        .ok()
        .filter(|text| !text.is_empty())?;
    EnvFilter::try_new(&text)
        .inspect_err(|error| {
            terminal::warning(format_args!(
                "{variable}={text} is ignored: {error}; expected a level such as debug, or \
                 cloudless_relay=debug,info"
            ));
        })
        .ok()
}
