//! Memory of the measured processes: proportional set size, sampled while they work.

use std::fmt;
use std::fs;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

const INTERVAL: Duration = Duration::from_millis(100);

/// Watches processes from a thread of its own.
pub(crate) struct Sampler {
    stop: SyncSender<()>,
    thread: JoinHandle<Vec<Watched>>,
}

/// A process, with sizes in KiB.
struct Watched {
    name: &'static str,
    pid: u32,
    idle: u64,
    peak: u64,
    last: u64,
}

/// The outcome, as a Markdown table.
pub(crate) struct Report(Vec<Watched>);

impl Sampler {
    /// Notes the idle size of the processes and starts to sample.
    pub(crate) fn start(processes: &[(&'static str, u32)]) -> Result<Self> {
        let mut watched = Vec::new();
        for &(name, pid) in processes {
            let idle = pss(pid).with_context(|| format!("read the memory of {name}, {pid}"))?;
            watched.push(Watched {
                name,
                pid,
                idle,
                peak: idle,
                last: idle,
            });
        }
        let (stop, stopped) = sync_channel(1);
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                for process in &mut watched {
                    // A process that is gone keeps its last size.
                    process.last = pss(process.pid).unwrap_or(process.last);
                    process.peak = process.peak.max(process.last);
                }
            }
            watched
        });
        Ok(Self { stop, thread })
    }

    /// Stops sampling.
    pub(crate) fn finish(self) -> Result<Report> {
        drop(self.stop);
        let watched = self
            .thread
            .join()
            .ok()
            .context("the memory sampler panicked")?;
        Ok(Report(watched))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n| memory (PSS), MiB | idle | peak | after |\n|---|--:|--:|--:|"
        )?;
        for process in &self.0 {
            let [idle, peak, last] =
                [process.idle, process.peak, process.last].map(|it| it as f64 / 1024.0);
            writeln!(
                f,
                "| {} | {idle:.1} | {peak:.1} | {last:.1} |",
                process.name
            )?;
        }
        Ok(())
    }
}

fn pss(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    parse_pss(&text).with_context(|| format!("no line `Pss:` in {path}"))
}

fn parse_pss(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|it| it.strip_prefix("Pss:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pss_is_read_from_its_own_line() {
        let text = "00400000 ---p [rollup]\nRss:    9000 kB\nPss:     8123 kB\nPss_Anon: 1 kB\n";
        assert_eq!(parse_pss(text), Some(8123));
        assert_eq!(parse_pss("Rss: 1 kB\n"), None);
    }
}
