//! Logs on standard error.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

/// Starts logging to standard error. `CLOUDLESS_LOG`, or else `RUST_LOG`, chooses what is logged;
/// without either it is everything from INFO up for a role that runs, and warnings for the other
/// commands, whose output says what they do.
pub(crate) fn init(is_role: bool) {
    let filter = ["CLOUDLESS_LOG", "RUST_LOG"]
        .into_iter()
        .find_map(|variable| EnvFilter::try_from_env(variable).ok())
        .unwrap_or_else(|| EnvFilter::new(if is_role { "info" } else { "warn" }));
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && !no_color)
        .with_target(false)
        .init();
}
