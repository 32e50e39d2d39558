//! Logs on standard error.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::terminal;

const FORMAT: &str = "CLOUDLESS_LOG_FORMAT";
/// The library that asks the DNS warns of what home judges itself, with the names in it.
const SILENT: [&str; 3] = [
    "hickory_net=off",
    "hickory_proto=off",
    "hickory_resolver=off",
];

/// Starts logging to standard error. `CLOUDLESS_LOG`, or else `RUST_LOG`, chooses what is logged;
/// without either it is everything from INFO up for a role that runs, and warnings for the other
/// commands, whose output says what they do. What [`SILENT`] names is logged only when it is asked for.
///
/// With `CLOUDLESS_LOG_FORMAT=json` a role says everything there as one JSON object a line, also what
/// it would tell a person at a terminal.
pub(crate) fn init(is_role: bool) {
    let default = if is_role { "info" } else { "warn" };
    let asked = ["CLOUDLESS_LOG", "RUST_LOG"].into_iter().find_map(filter);
    let filter = asked.unwrap_or_else(|| EnvFilter::new(default));
    let is_asked_for = filter.to_string().contains("hickory");
    let silent = SILENT.iter().filter(|_| !is_asked_for);
    let filter = silent
        .filter_map(|directive| directive.parse().ok())
        .fold(filter, EnvFilter::add_directive);
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false);
    if is_role && is_json() {
        logs.json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .init();
        terminal::speak_in_logs();
    } else {
        logs.with_ansi(io::stderr().is_terminal() && !no_color)
            .init();
    }
}

/// Whether logs are for programs to read.
fn is_json() -> bool {
    match std::env::var(FORMAT).as_deref() {
        Ok("json") => true,
        Ok("" | "text") | Err(_) => false,
        Ok(other) => {
            terminal::warning(format_args!(
                "{FORMAT}={other} is ignored: expected text or json"
            ));
            false
        }
    }
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
