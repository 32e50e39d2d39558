//! A status that is shown anew each second, until Ctrl-C: in place on a terminal, else as lines.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use anstream::ColorChoice;
use anstream::adapter::strip_str;
use anyhow::Context as _;
use serde::Serialize;
use unicode_width::UnicodeWidthChar as _;

use crate::signals::{self, Signals};
use crate::terminal::{self, StdoutError, visible};

const INTERVAL: Duration = Duration::from_secs(1);
/// The size of a terminal that does not say its own.
const USUAL: (usize, usize) = (80, 24);

/// How a status looks.
pub(crate) trait Show: Serialize {
    /// All of it, for a terminal.
    fn screen(&self, is_narrow: bool) -> Vec<String>;
    /// The most important of it, for a log.
    fn line(&self) -> String;
}

/// Shows what `ask` answers until a signal comes, which is no failure.
pub(crate) fn run<S: Show>(json: bool, ask: impl Fn() -> anyhow::Result<S>) -> anyhow::Result<()> {
    signals::block_on(async {
        let mut signals = Signals::listen().context("cannot listen for signals")?;
        let mut ticks = tokio::time::interval(INTERVAL);
        let mut screen = (!json && io::stdout().is_terminal()).then(Screen::open);
        let mut last = None;
        loop {
            tokio::select! {
                () = signals.next() => break,
                _ = ticks.tick() => {}
            }
            let status = ask()?;
            if let Some(screen) = &mut screen {
                screen.draw(&status.screen(true))?;
            } else if json {
                terminal::json(&status)?;
            } else {
                let line = status.line();
                if last.as_ref() != Some(&line) {
                    terminal::data(format_args!("{} {line}", crate::clock::utc_now()))?;
                }
                last = Some(line);
            }
        }
        // What was seen last stays on the terminal.
        if let Some(screen) = screen {
            let lines = screen.close();
            lines.iter().try_for_each(terminal::data)?;
        }
        Ok(())
    })
}

/// The terminal's second screen; the first one is as it was once this is dropped.
struct Screen {
    lines: Vec<String>,
}

impl Screen {
    fn open() -> Self {
        // A terminal that is gone is noticed when the first lines are written.
        let _ = terminal::steer(b"\x1b[?1049h\x1b[?25l");
        Self { lines: Vec::new() }
    }

    fn draw(&mut self, lines: &[String]) -> Result<(), StdoutError> {
        let (width, height) = size();
        let mut frame = String::from("\x1b[H");
        let lines: Vec<String> = lines.iter().flat_map(|line| wrap(line, width)).collect();
        let shown = if lines.len() < height {
            lines.len()
        } else {
            height.saturating_sub(2)
        };
        for line in &lines[..shown] {
            frame.push_str(&colored(line));
            frame.push_str("\x1b[K\r\n");
        }
        if shown < lines.len() {
            let more = format!("… {} more lines", lines.len() - shown);
            frame.push_str(&more);
            frame.push_str("\x1b[K\r\n");
        }
        frame.push_str("\x1b[J");
        self.lines = lines;
        terminal::steer(frame.as_bytes())
    }

    /// The lines that were drawn last, all of them.
    fn close(mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nobody is left to see it when the terminal is gone.
        let _ = terminal::steer(b"\x1b[?25h\x1b[?1049l");
        let _ = io::stdout().flush();
    }
}

/// Columns and rows.
fn size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
    size.map(|size| (usize::from(size.ws_col), usize::from(size.ws_row)))
        .filter(|(columns, rows)| *columns > 0 && *rows > 0)
        .unwrap_or(USUAL)
}

fn colored(line: &str) -> String {
    if anstream::AutoStream::choice(&io::stdout()) == ColorChoice::Never {
        strip_str(line).to_string()
    } else {
        line.to_owned()
    }
}

/// A line in as many as it needs, broken at spaces. A word that does not fit is cut.
fn wrap(line: &str, width: usize) -> Vec<String> {
    let parts = terminal::folded(line, width);
    parts.iter().map(|part| cut(part, width)).collect()
}

/// The beginning of a word that fits, with all its colors.
fn cut(word: &str, room: usize) -> String {
    if visible(word.trim_end()) <= room {
        return word.to_owned();
    }
    let (mut kept, mut used, mut is_escape) = (String::new(), 0, false);
    for character in word.trim_end().chars() {
        if is_escape || character == '\x1b' {
            is_escape = !character.is_ascii_alphabetic();
            kept.push(character);
            continue;
        }
        let before = used;
        used += character.width().unwrap_or(0);
        if used < room {
            kept.push(character);
        } else if before < room {
            // The first that does not fit beside the mark.
            kept.push('…');
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::BOLD;

    #[test]
    fn lines_go_on_below_their_text_and_no_line_is_too_wide() {
        let line = format!(
            "  last error             {BOLD}the{BOLD:#} relay said something that is long, with a-word-{}",
            "x".repeat(80)
        );
        for width in [20, 60, 80] {
            let lines = wrap(&line, width);
            assert!(lines.len() > 1, "{lines:?}");
            for line in &lines {
                assert!(visible(line) <= width, "{width}: {line:?}");
            }
        }
        let lines = wrap(&line, 60);
        // Where the text of a line stands that has a label.
        assert!(lines[1].starts_with(&" ".repeat(25)), "{lines:?}");
        assert!(
            lines.last().is_some_and(|line| line.ends_with('…')),
            "{lines:?}"
        );
        assert_eq!(wrap("home is running", 80), ["home is running"]);
    }

    #[test]
    fn a_cut_word_keeps_the_end_of_its_color_and_its_wide_characters_whole() {
        assert_eq!(cut("山田山田", 5), "山田…");
        let bold = format!("{BOLD}abcdef{BOLD:#}");
        assert_eq!(cut(&bold, 4), format!("{BOLD}abc…{BOLD:#}"));
        assert_eq!(cut(&bold, 6), bold);
    }
}
