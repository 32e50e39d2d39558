//! What the user sees: data on standard output, everything else on standard error.
//!
//! Colors appear only on a terminal, and never when `NO_COLOR` is set.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

/// Standard output could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub(crate) struct StdoutError(#[source] pub(crate) io::Error);

/// Bold text, for headings and names.
pub(crate) const BOLD: Style = Style::new().bold();
/// Text that may be skipped.
pub(crate) const DIM: Style = Style::new().dimmed();
/// Something that went well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// Writes one line of data to standard output.
pub(crate) fn data(line: impl Display) -> Result<(), StdoutError> {
    let mut stdout = anstream::stdout().lock();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .map_err(StdoutError)
}

/// Writes one value as one line of JSON to standard output.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(data(serde_json::to_string(value)?)?)
}

/// Writes bytes to standard output as they are.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), StdoutError> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(StdoutError)
}

/// Tells the user something on standard error: what happened, or what comes next.
pub(crate) fn note(line: impl Display) {
    write_stderr(format_args!("{line}"));
}

/// Tells the user on standard error that something deserves a second look.
pub(crate) fn warning(line: impl Display) {
    write_stderr(format_args!("{WARNING}warning:{WARNING:#} {line}"));
}

/// Tells the user on standard error why the command failed.
pub(crate) fn error(line: impl Display) {
    write_stderr(format_args!("{ERROR}error:{ERROR:#} {line}"));
}

/// Whether standard error is a terminal that somebody looks at.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Text of contacts as one line that cannot steer the terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Prints rows in columns, the headings first. `--json` is for programs, this is for people.
pub(crate) fn table<const N: usize>(
    headings: [&str; N],
    rows: &[[String; N]],
) -> Result<(), StdoutError> {
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .chain([headings[column].len()])
            .max()
            .unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let mut line = String::new();
        for (cell, width) in cells.into_iter().zip(widths) {
            let cell = clean(cell);
            line.push_str(&format!("{cell:<width$}  "));
        }
        line.trim_end().to_owned()
    };
    data(format_args!("{BOLD}{}{BOLD:#}", line(headings)))?;
    rows.iter()
        .try_for_each(|row| data(line(row.each_ref().map(String::as_str))))
}

fn write_stderr(line: std::fmt::Arguments<'_>) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}
