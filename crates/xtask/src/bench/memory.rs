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
    /// Begins a phase; dropped, it ends the thread.
    phase: SyncSender<String>,
    thread: JoinHandle<Vec<Phase>>,
}

/// A stretch of the benchmark, and the largest size of each process in it, in KiB.
struct Phase {
    name: String,
    peaks: Vec<u64>,
}

/// The outcome, as a Markdown table.
pub(crate) struct Report {
    names: Vec<&'static str>,
    phases: Vec<Phase>,
}

impl Sampler {
    /// Notes the idle size of the processes and starts to sample.
    pub(crate) fn start(processes: &[(&'static str, u32)]) -> Result<Self> {
        let mut peaks = Vec::new();
        for &(name, pid) in processes {
            peaks.push(pss(pid).with_context(|| format!("read the memory of {name}, {pid}"))?);
        }
        let mut phases = vec![Phase {
            name: "idle".to_owned(),
            peaks,
        }];
        let pids: Vec<u32> = processes.iter().map(|(_, pid)| *pid).collect();
        let (phase, next_phase) = sync_channel(1);
        let thread = thread::spawn(move || {
            loop {
                match next_phase.recv_timeout(INTERVAL) {
                    Ok(name) => phases.push(Phase {
                        name,
                        peaks: vec![0; pids.len()],
                    }),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return phases,
                }
                // The first phase is one look at idle processes.
                if let [_, .., phase] = phases.as_mut_slice() {
                    for (peak, pid) in phase.peaks.iter_mut().zip(&pids) {
                        // A process that is gone keeps its size.
                        *peak = pss(*pid).unwrap_or_default().max(*peak);
                    }
                }
            }
        });
        Ok(Self { phase, thread })
    }

    /// Keeps what comes next apart.
    pub(crate) fn phase(&self, name: String) -> Result<()> {
        self.phase
            .send(name)
            .context("the memory sampler ended early")
    }

    /// Stops sampling.
    pub(crate) fn finish(self, names: Vec<&'static str>) -> Result<Report> {
        drop(self.phase);
        let phases = self
            .thread
            .join()
            .ok()
            .context("the memory sampler panicked")?;
        Ok(Report { names, phases })
    }
}

impl Report {
    /// MiB of the process with this index: idle, and the most of all phases.
    pub(crate) fn idle_and_peak(&self, index: usize) -> (f64, f64) {
        let sizes = self.phases.iter().map(|it| it.peaks[index]);
        let peak = sizes.max().unwrap_or_default();
        (mib(self.phases[0].peaks[index]), mib(peak))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n| memory (PSS), MiB | {} |", self.names.join(" | "))?;
        writeln!(f, "|---|{}", "--:|".repeat(self.names.len()))?;
        for phase in &self.phases {
            write!(f, "| {} |", phase.name)?;
            for peak in &phase.peaks {
                write!(f, " {:.1} |", mib(*peak))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
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
