//! How far long work has come: a bar on a terminal, plain lines when piped.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::terminal;

/// Time between two plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// What ends sooner shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(100);

/// Does work of which nobody knows how far it has come. On a terminal it is seen that it goes on.
pub(crate) fn while_waiting<T>(work: impl FnOnce() -> T) -> T {
    if !terminal::is_watched() {
        return work();
    }
    let (end, ended) = mpsc::sync_channel(0);
    thread::scope(|scope| {
        scope.spawn(move || spin(&ended));
        let done = work();
        drop::<mpsc::SyncSender<()>>(end);
        done
    })
}

fn spin(ended: &Receiver<()>) {
    let goes_on = |wait| ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout);
    let started = Instant::now();
    if !goes_on(PATIENCE) {
        return;
    }
    let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    spinner.set_style(ProgressStyle::default_spinner());
    while goes_on(TICK) {
        spinner.set_message(format!("working, {} s", started.elapsed().as_secs()));
        spinner.tick();
    }
    spinner.finish_and_clear();
}

/// The progress of one piece of work, shown on standard error.
pub(crate) struct Progress {
    /// What is done, such as "importing".
    verb: &'static str,
    total: Option<usize>,
    done: usize,
    bar: Option<ProgressBar>,
    line_at: Instant,
}

impl Progress {
    /// Starts with nothing done of `total`, which may be unknown.
    pub(crate) fn start(verb: &'static str, total: Option<usize>) -> Self {
        let bar = terminal::is_watched().then(|| bar(verb, total));
        let progress = Self {
            verb,
            total,
            done: 0,
            bar,
            line_at: Instant::now(),
        };
        if total.is_some() {
            progress.line();
        }
        progress
    }

    /// Some more is done.
    pub(crate) fn advance(&mut self, count: usize) {
        self.done += count;
        if let Some(bar) = &self.bar {
            bar.set_position(self.done as u64);
        } else if self.line_at.elapsed() >= LINE_INTERVAL {
            self.line_at = Instant::now();
            self.line();
        }
    }

    /// Ends: a bar goes away, a last plain line stays.
    pub(crate) fn finish(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.line();
    }

    fn line(&self) {
        let Self { verb, done, .. } = self;
        match (&self.bar, self.total) {
            (Some(_), _) => {}
            (None, Some(total)) => terminal::note(format_args!("{verb}: {done} of {total} cards")),
            (None, None) => terminal::note(format_args!("{verb}: {done} cards")),
        }
    }
}

fn bar(verb: &'static str, total: Option<usize>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(
        total.map(|total| total as u64),
        ProgressDrawTarget::stderr(),
    );
    let template = match total {
        Some(_) => "{msg} [{wide_bar}] {pos} of {len} cards, {eta} left",
        None => "{msg} {spinner} {pos} cards",
    };
    let style = ProgressStyle::with_template(template);
    bar.set_style(
        style
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> "),
    );
    bar.set_message(verb);
    bar
}
