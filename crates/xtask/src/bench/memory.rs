//! Memory of the measured processes: proportional set size, sampled while they work.

use std::fmt;
use std::fs;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use super::table::{figure, head};

const INTERVAL: Duration = Duration::from_millis(100);

/// Watches processes from a thread of its own.
pub(crate) struct Sampler {
    /// Begins a phase; dropped, it ends the thread.
    phase: SyncSender<Start>,
    thread: JoinHandle<Vec<Phase>>,
}

/// A stretch of the benchmark that begins.
struct Start {
    name: String,
    pids: Vec<Option<u32>>,
}

/// A stretch of the benchmark, and the largest size of each process in it, in KiB; nothing where it
/// did not run.
struct Phase {
    name: String,
    peaks: Vec<Option<u64>>,
}

/// The outcome, as a Markdown table.
pub(crate) struct Report {
    names: Vec<&'static str>,
    phases: Vec<Phase>,
}

impl Sampler {
    /// Notes the size of idle processes, in the order of the columns, and starts to sample.
    pub(crate) fn start(pids: &[Option<u32>]) -> Result<Self> {
        let mut phases = vec![Phase {
            name: "idle".to_owned(),
            peaks: pids.iter().map(|pid| pss((*pid)?).ok()).collect(),
        }];
        let (phase, next_phase) = sync_channel::<Start>(1);
        let thread = thread::spawn(move || {
            let mut pids = Vec::new();
            loop {
                match next_phase.recv_timeout(INTERVAL) {
                    Ok(start) => {
                        phases.push(Phase {
                            name: start.name,
                            peaks: vec![None; start.pids.len()],
                        });
                        pids = start.pids;
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return phases,
                }
                // The first phase is one look at idle processes.
                if let [_, .., phase] = phases.as_mut_slice() {
                    for (peak, pid) in phase.peaks.iter_mut().zip(&pids) {
                        // A process that is gone keeps its size.
                        *peak = pid.and_then(|it| pss(it).ok()).max(*peak);
                    }
                }
            }
        });
        Ok(Self { phase, thread })
    }

    /// Keeps what comes next apart; the processes are in the order of the columns.
    pub(crate) fn phase(&self, name: String, pids: Vec<Option<u32>>) -> Result<()> {
        self.phase
            .send(Start { name, pids })
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
    /// The most megabytes (of a million bytes) of the process with this index, of all phases or of
    /// the one with this name.
    pub(crate) fn peak(&self, index: usize, phase: Option<&str>) -> Option<f64> {
        let phases = self.phases.iter();
        let phases = phases.filter(|it| phase.is_none_or(|name| it.name == name));
        let kib = phases.filter_map(|it| it.peaks[index]).max()?;
        Some(kib as f64 * 1_024.0 / 1e6)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.names.iter().map(|it| (*it).to_owned()).collect();
        let first = "memory (PSS), MiB: idle, then the peak of each phase";
        f.write_str(&head(first, &names))?;
        for phase in &self.phases {
            write!(f, "| {} |", phase.name)?;
            for peak in &phase.peaks {
                let mib = peak.map(|it| format!("{:.1}", it as f64 / 1_024.0));
                f.write_str(&figure(mib))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// The proportional set size of a process, in KiB.
pub(crate) fn pss(pid: u32) -> Result<u64> {
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

    #[test]
    fn the_peak_of_a_phase_and_of_all() {
        let phase = |name: &str, kib| Phase {
            name: name.to_owned(),
            peaks: vec![Some(kib), None],
        };
        let report = Report {
            names: vec!["home", "Radicale"],
            phases: vec![phase("idle", 1_000), phase("N = 10", 2_000)],
        };
        assert_eq!(report.peak(0, Some("idle")), Some(1.024));
        assert_eq!(report.peak(0, None), Some(2.048));
        assert_eq!(report.peak(1, None), None);
        assert!(report.to_string().ends_with("| N = 10 | 2.0 | – |\n"));
    }
}
