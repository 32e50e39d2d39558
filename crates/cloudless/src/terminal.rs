//! What the user sees: data on standard output, everything else on standard error.
//!
//! Colors appear only on a terminal, and never when `NO_COLOR` is set.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use anstyle::{AnsiColor, Style};
use rustix::termios::tcgetwinsize;
use serde::Serialize;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Standard output could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub(crate) struct StdoutError(#[source] pub(crate) io::Error);

/// Bold text, for headings and names.
pub(crate) const BOLD: Style = Style::new().bold();
/// Text that may be skipped.
pub(crate) const DIM: Style = Style::new().dimmed();
/// Something that is wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Something that went well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();

/// What is narrower is not written for.
const WIDTH_MIN: usize = 50;
/// Text that begins further in begins no column.
const INDENT_MAX: usize = 30;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// Writes one line of data to standard output.
pub(crate) fn data(line: impl Display) -> Result<(), StdoutError> {
    let mut stdout = anstream::stdout().lock();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .map_err(StdoutError)
}

/// Writes lines of data to standard output. On a terminal what is longer than that goes on below, as far
/// in as its text began.
pub(crate) fn prose(lines: &[String]) -> Result<(), StdoutError> {
    let stdout = io::stdout();
    let size = stdout.is_terminal().then(|| tcgetwinsize(&stdout).ok());
    let width = size.flatten().map_or(0, |size| usize::from(size.ws_col));
    let fold = |line: &String| match width < WIDTH_MIN {
        true => vec![line.clone()],
        false => folded(line, width),
    };
    lines.iter().flat_map(fold).try_for_each(data)
}

/// A line in as many as it needs, broken at spaces, which go on below where its text began. A word that
/// does not fit is longer than `width` columns.
pub(crate) fn folded(line: &str, width: usize) -> Vec<String> {
    if visible(line) <= width {
        return vec![line.to_owned()];
    }
    let (mut indent, mut gap) = (0, 2);
    for (column, c) in plain(line).chars().take(INDENT_MAX).enumerate() {
        match c {
            ' ' => gap += 1,
            _ if gap >= 2 => (indent, gap) = (column, 0),
            _ => gap = 0,
        }
    }
    if indent == 0 || 2 * indent >= width {
        indent = 4.min(width / 2);
    }
    let (mut parts, mut part, mut column) = (Vec::new(), String::new(), 0);
    for (index, word) in line.split(' ').enumerate() {
        let length = visible(word);
        if column > indent && column + 1 + length > width {
            parts.push(std::mem::replace(&mut part, " ".repeat(indent)));
            column = indent;
        } else if index > 0 {
            part.push(' ');
            column += 1;
        }
        part.push_str(word);
        column += length;
    }
    parts.push(part);
    parts
}

/// How many columns a text takes.
pub(crate) fn visible(text: &str) -> usize {
    plain(text).chars().filter_map(|it| it.width()).sum()
}

/// Writes one value as one line of JSON to standard output.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(data(serde_json::to_string(value)?)?)
}

/// Writes bytes of cards to standard output as they are; to a terminal without what would steer it,
/// as somebody else may have written them.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), StdoutError> {
    let mut stdout = io::stdout().lock();
    let bytes = match stdout.is_terminal() {
        true => Cow::Owned(harmless(bytes)),
        false => Cow::Borrowed(bytes),
    };
    write(&mut stdout, &bytes)
}

/// Writes bytes of our own to the terminal that steer it.
pub(crate) fn steer(bytes: &[u8]) -> Result<(), StdoutError> {
    write(&mut io::stdout().lock(), bytes)
}

fn write(stdout: &mut io::StdoutLock<'_>, bytes: &[u8]) -> Result<(), StdoutError> {
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(StdoutError)
}

/// Tells the user something on standard error: what happened, or what comes next.
pub(crate) fn note(line: impl Display) {
    if is_in_logs() {
        // It names hosts and addresses.
        return tracing::debug!("{}", plain(line));
    }
    write_stderr(format_args!("{line}"));
}

/// Tells the user on standard error that something deserves a second look.
pub(crate) fn warning(line: impl Display) {
    if is_in_logs() {
        return tracing::warn!("{}", plain(line));
    }
    write_stderr(format_args!("{WARNING}warning:{WARNING:#} {line}"));
}

/// Tells the user on standard error why the command failed.
pub(crate) fn error(line: impl Display) {
    if is_in_logs() {
        return tracing::error!("{}", plain(line));
    }
    write_stderr(format_args!("{ERROR}error:{ERROR:#} {line}"));
}

/// From here on what is told on standard error is logged: a program reads it, line by line.
pub(crate) fn speak_in_logs() {
    IN_LOGS.store(true, Ordering::Relaxed);
}

static IN_LOGS: AtomicBool = AtomicBool::new(false);

fn is_in_logs() -> bool {
    IN_LOGS.load(Ordering::Relaxed)
}

/// Without colors.
fn plain(line: impl Display) -> String {
    anstream::adapter::strip_str(&line.to_string()).to_string()
}

/// Whether standard error is a terminal that somebody looks at.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Text of contacts as one line that cannot steer the terminal, nor turn around what follows it.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if steers(c) { ' ' } else { c })
        .collect()
}

/// Many lines of text that cannot steer the terminal.
fn harmless(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.replace("\r\n", "\n");
    let shown = text.chars().map(|c| match c {
        '\n' | '\t' => c,
        c if steers(c) => ' ',
        c => c,
    });
    shown.collect::<String>().into_bytes()
}

fn steers(c: char) -> bool {
    let is_direction = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || is_direction || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Prints rows in columns, the headings first; a column with nothing in it is left out. `--json` is
/// for programs, this is for people.
pub(crate) fn table<const N: usize>(
    headings: [&str; N],
    rows: &[[String; N]],
) -> Result<(), StdoutError> {
    columns(headings, rows).iter().try_for_each(data)
}

/// The lines of [`table`].
pub(crate) fn columns<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    let rows: Vec<[String; N]> = rows
        .iter()
        .map(|row| row.each_ref().map(|cell| clean(cell)))
        .collect();
    let is_shown =
        |column: usize| rows.is_empty() || rows.iter().any(|row| !row[column].is_empty());
    let shown: Vec<usize> = (0..N).filter(|column| is_shown(*column)).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].width());
        cells.fold(headings[column].width(), usize::max)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let mut line = String::new();
        for &column in &shown {
            let cell = cells[column];
            let gap = widths[column] - cell.width() + 2;
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', gap));
        }
        line.trim_end().to_owned()
    };
    let mut lines = vec![format!("{BOLD}{}{BOLD:#}", line(headings))];
    lines.extend(
        rows.iter()
            .map(|row| line(row.each_ref().map(String::as_str))),
    );
    lines
}

fn write_stderr(line: std::fmt::Arguments<'_>) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<const N: usize>(cells: [&str; N]) -> [String; N] {
        cells.map(str::to_owned)
    }

    #[test]
    fn what_is_longer_than_the_terminal_goes_on_where_its_text_began() {
        let bad =
            format!("  {BAD}BAD{BAD:#}      one two three four five six seven eight nine ten");
        assert_eq!(
            folded(&bad, 50),
            [
                format!("  {BAD}BAD{BAD:#}      one two three four five six seven eight"),
                "           nine ten".to_owned(),
            ]
        );
        assert_eq!(folded(&bad, 120), [bad]);
        let long = "x".repeat(60);
        assert_eq!(
            folded(&format!("name: {long} y"), 50),
            [
                "name:".to_owned(),
                format!("    {long}"),
                "    y".to_owned()
            ]
        );
        assert_eq!(
            folded(&format!("    a label    {long}"), 50),
            [format!("    a label    {long}")]
        );
    }

    #[test]
    fn columns_stand_below_each_other_whatever_is_in_them() {
        let rows = [
            row(["Ann", "", "1"]),
            row(["山田", "", "2"]),
            row(["🦊 Fox", "", "3"]),
            row(["E\x1b[2J\u{202e}\n\u{2028}vil", "", "4"]),
        ];
        let lines = columns(["NAME", "REASON", "CARD"], &rows);
        assert_eq!(lines[0], format!("{BOLD}NAME         CARD{BOLD:#}"));
        assert_eq!(
            lines[1..],
            [
                "Ann          1",
                "山田         2",
                "🦊 Fox       3",
                "E [2J   vil  4",
            ]
        );
        let card = "FN:\tE\x1b]0;x\x07\r\nNOTE:\rb\u{9b}2J\u{202e}\r\n".as_bytes();
        assert_eq!(
            harmless(&[card, b"\xff"].concat()),
            "FN:\tE ]0;x \nNOTE: b 2J \n\u{fffd}".as_bytes()
        );
        let empty = columns(["NAME", "CARD"], &[]);
        assert_eq!(empty, [format!("{BOLD}NAME  CARD{BOLD:#}")]);
    }
}
