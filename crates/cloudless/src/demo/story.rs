//! What the demo tells while it works: one line for each step, with the time that it took.

use std::fmt::Display;
use std::future::Future;
use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::terminal::{BOLD, DIM, GOOD};

/// The teller.
pub(super) struct Story {
    /// Standard output then carries data only.
    on_stderr: bool,
}

impl Story {
    pub(super) fn new(on_stderr: bool) -> Self {
        Self { on_stderr }
    }

    /// The first line and the last.
    pub(super) fn title(&self, text: impl Display) {
        self.line(format_args!("\n{BOLD}{text}{BOLD:#}"));
    }

    /// What the next steps are about.
    pub(super) fn heading(&self, text: impl Display) {
        self.line(format_args!("\n  {BOLD}{text}{BOLD:#}"));
    }

    /// Text by itself.
    pub(super) fn say(&self, text: impl Display) {
        self.line(format_args!("    {text}"));
    }

    /// Waits for a step and tells how long it took; `describe` makes the text from its result.
    pub(super) async fn step<T, D: Display>(
        &self,
        work: impl Future<Output = anyhow::Result<T>>,
        describe: impl FnOnce(&T) -> D,
    ) -> anyhow::Result<T> {
        let started = Instant::now();
        let result = work.await?;
        let took = milliseconds(started.elapsed());
        let text = describe(&result);
        self.line(format_args!(
            "    {GOOD}✓{GOOD:#} {DIM}{took:>10}{DIM:#}  {text}"
        ));
        Ok(result)
    }

    fn line(&self, line: std::fmt::Arguments<'_>) {
        // The demo goes on when nobody reads its story.
        let _ = if self.on_stderr {
            writeln!(anstream::stderr().lock(), "{line}")
        } else {
            writeln!(anstream::stdout().lock(), "{line}")
        };
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
