//! CPU time: less disturbed by whatever else the machine does than time by the clock.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

/// CPU time of a server and of the client that asked it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cpu {
    pub(crate) server: Duration,
    pub(crate) client: Duration,
}

/// Counts the CPU time of a server's processes and of this thread, which is the client.
pub(crate) struct Stopwatch {
    clocks: Vec<ClockId>,
    started: Cpu,
}

impl Stopwatch {
    /// Starts to count.
    ///
    /// # Errors
    /// A process that is gone.
    pub(crate) fn start(pids: &[u32]) -> Result<Self> {
        let mut clocks = Vec::new();
        for pid in pids {
            let pid = Pid::from_raw(i32::try_from(*pid).context("read a process id")?);
            clocks.push(clock_getcpuclockid(pid).with_context(|| format!("process {pid}"))?);
        }
        let started = read(&clocks)?;
        Ok(Self { clocks, started })
    }

    /// What was used since the start.
    pub(crate) fn stop(self) -> Result<Cpu> {
        let now = read(&self.clocks)?;
        Ok(Cpu {
            server: now.server.saturating_sub(self.started.server),
            client: now.client.saturating_sub(self.started.client),
        })
    }
}

/// CPU time of many operations, added up.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sum {
    total: Cpu,
    n_operations: usize,
}

impl Sum {
    pub(crate) fn add(&mut self, cpu: Cpu, n_operations: usize) {
        self.total.server += cpu.server;
        self.total.client += cpu.client;
        self.n_operations += n_operations;
    }

    /// Of one operation; nothing if there was none.
    pub(crate) fn mean(self) -> Option<Cpu> {
        let n_operations = u32::try_from(self.n_operations).ok()?;
        Some(Cpu {
            server: self.total.server.checked_div(n_operations)?,
            client: self.total.client.checked_div(n_operations)?,
        })
    }
}

fn read(clocks: &[ClockId]) -> Result<Cpu> {
    let mut cpu = Cpu::default();
    for clock in clocks {
        let time = clock.now().context("read the CPU time of a server")?;
        cpu.server += Duration::from(time);
    }
    let time = ClockId::CLOCK_THREAD_CPUTIME_ID.now();
    cpu.client = Duration::from(time.context("read the CPU time of the client")?);
    Ok(cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_counted() {
        let stopwatch = Stopwatch::start(&[std::process::id()]).expect("this process is there");
        let mut sum = 0_u64;
        for number in 0..5_000_000_u64 {
            sum = std::hint::black_box(sum ^ number);
        }
        let cpu = stopwatch.stop().expect("this process is still there");
        // The clocks are read one after the other, so neither is an upper bound of the other.
        assert!(cpu.client > Duration::ZERO, "{sum}");
        assert!(cpu.server > Duration::ZERO, "{sum}");
    }

    #[test]
    fn a_mean_is_of_one_operation() {
        let mut sum = Sum::default();
        assert!(sum.mean().is_none());
        let cpu = Cpu {
            server: Duration::from_millis(9),
            client: Duration::from_millis(3),
        };
        sum.add(cpu, 2);
        sum.add(cpu, 1);
        let mean = sum.mean().expect("there were operations");
        assert_eq!(mean.server, Duration::from_millis(6));
        assert_eq!(mean.client, Duration::from_millis(2));
    }
}
