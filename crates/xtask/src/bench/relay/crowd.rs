//! Many homes on one relay: what each costs when idle, and how long all of them take to come back.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cloudless_proto::{Hostname, PublicKey};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::time::timeout;

use super::home::{Order, Tunnels};
use super::ours::{self, Role};
use super::site::{Place, Site};
use crate::bench::goals::Verdicts;
use crate::bench::memory::pss;
use crate::bench::plot::Series;
use crate::bench::statistics::Thousands;
use crate::bench::table::{figure, head};

/// A process may have 20,000 files open, and so has the relay: homes are in this many processes.
const N_FLEETS: usize = 2;
/// The homes come in so many steps.
const N_STEPS: usize = 4;
const ANSWER_MAX: Duration = Duration::from_secs(90);
const MEMORY_MAX_KB: f64 = 64.0;
const STORM_MAX: Duration = Duration::from_secs(30);
/// A relay of some size, and what is asked of it.
const N_SOME: usize = 1_000;
const SOME_MAX: Duration = Duration::from_secs(15);
/// Beyond so many dials of each of some homes it is a storm. All of them share two cores with the relay, and
/// dial again for want of these.
const DIALS_MAX: f64 = 3.0;

/// What was measured of one relay.
pub(crate) struct Crowd {
    /// Homes, and the relay's memory in KiB; without homes first.
    memory: Vec<(usize, u64)>,
    /// Homes that come at once, after the relay was killed and came back: some, and all.
    storms: Vec<(usize, Tunnels)>,
    memory_after: u64,
}

/// Homes of one process. Dropping it ends them.
struct Fleet {
    _child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

/// Lets so many homes come step by step, then all at once.
pub(crate) async fn measure(
    program: &Path,
    site: &Site,
    folder: &Path,
    n_homes: usize,
) -> Result<Crowd> {
    let place = &site.relay;
    let state = folder.join("crowd");
    let (relay, _) = ours::relay(program, place, &state, folder).await?;
    relay.process.kill().await?;
    let mut fleets = Vec::new();
    let mut homes = String::new();
    for fleet in 0..N_FLEETS {
        let (fleet, keys) = Fleet::start(&site.home, n_homes / N_FLEETS, fleet).await?;
        fleets.push(fleet);
        homes.push_str(&keys);
    }
    std::fs::write(state.join("homes.toml"), homes).context("write homes.toml")?;

    let (relay, address) = ours::start_relay(program, place, &state, folder).await?;
    let server_name = ours::server_name(&state)?;
    let mut memory = vec![(0, relay_memory(&relay)?)];
    for step in 1..=N_STEPS {
        let n_up = n_homes * step / N_STEPS;
        order_all(&mut fleets, address, &server_name, n_up).await?;
        memory.push((n_up, relay_memory(&relay)?));
    }
    let mut storms = Vec::new();
    let mut up = (relay, address);
    let mut sizes = vec![N_SOME.min(n_homes), n_homes];
    sizes.dedup();
    for n_back in sizes {
        order_all(&mut fleets, up.1, &server_name, 0).await?;
        up.0.process.kill().await?;
        up = ours::start_relay(program, place, &state, folder).await?;
        let storm = order_all(&mut fleets, up.1, &server_name, n_back).await?;
        storms.push((n_back, storm));
    }
    Ok(Crowd {
        memory,
        storms,
        memory_after: relay_memory(&up.0)?,
    })
}

impl Crowd {
    /// Memory of the relay for each home, in KB of 1,000 bytes.
    fn memory_each(&self) -> Option<f64> {
        let ((_, empty), (n_homes, full)) = (self.memory.first()?, self.memory.last()?);
        Some(each(*empty, *full, *n_homes))
    }

    /// The line of the plot, in MiB.
    pub(crate) fn series(&self) -> Series {
        let points = self.memory.iter().filter(|it| it.0 > 0);
        Series {
            name: "homes that are idle".to_owned(),
            points: points
                .map(|it| (it.0 as f64, it.1 as f64 / 1_024.0))
                .collect(),
        }
    }

    pub(crate) fn table(&self) -> String {
        let empty = self.memory.first().map_or(0, |it| it.1);
        let heads = ["memory of the relay, MiB", "of each home, KB"];
        let mut table = head("idle homes", &heads.map(str::to_owned));
        for (n_homes, memory) in &self.memory {
            let mib = *memory as f64 / 1_024.0;
            let _ = write!(table, "| {} | {mib:.1} |", Thousands(*n_homes));
            let each = (*n_homes > 0).then(|| each(empty, *memory, *n_homes));
            table.push_str(&figure(each.map(|it| format!("{it:.1}"))));
            table.push('\n');
        }
        table.push_str(&self.storms());
        let mib = self.memory_after as f64 / 1_024.0;
        let _ = writeln!(table, "\nThen the relay has {mib:.1} MiB.");
        table
    }

    /// A sentence for each time that homes came at once.
    pub(crate) fn storms(&self) -> String {
        let mut text = String::new();
        for (n_homes, storm) in &self.storms {
            let _ = writeln!(
                text,
                "\n{} at once, after a restart of the relay: the last one served after {:.1} s, half \
                 of them after {:.1} s, with {:.2} dials for each.",
                Thousands(*n_homes),
                storm.all.as_secs_f64(),
                storm.p50.as_secs_f64(),
                dials_each(*n_homes, storm),
            );
        }
        text
    }

    pub(crate) fn judge(&self, verdicts: &mut Verdicts) {
        let n_homes = Thousands(self.memory.last().map_or(0, |it| it.0));
        if let Some(kb) = self.memory_each() {
            verdicts.push(
                format!("memory of the relay for each of {n_homes} idle homes"),
                format!("at most {MEMORY_MAX_KB:.0} KB"),
                format!("{kb:.1} KB"),
                kb <= MEMORY_MAX_KB,
            );
        }
        self.judge_storms(verdicts);
    }

    pub(crate) fn judge_storms(&self, verdicts: &mut Verdicts) {
        for (n_homes, storm) in &self.storms {
            let dials = dials_each(*n_homes, storm);
            let (max, dials_max) = if *n_homes > N_SOME {
                (STORM_MAX, f64::INFINITY)
            } else {
                (SOME_MAX, DIALS_MAX)
            };
            let mut asked = format!("in {:.0} s", max.as_secs_f64());
            if dials_max.is_finite() {
                let _ = write!(asked, ", at most {dials_max:.0} dials each");
            }
            verdicts.push(
                format!("all of {} homes at once are served", Thousands(*n_homes)),
                asked,
                format!("{:.1} s, {dials:.2} dials", storm.all.as_secs_f64()),
                storm.all <= max && dials <= dials_max,
            );
        }
    }
}

fn dials_each(n_homes: usize, storm: &Tunnels) -> f64 {
    1.0 + storm.n_redials as f64 / n_homes.max(1) as f64
}

/// KB of 1,000 bytes for each, from KiB.
fn each(empty: u64, full: u64, n_homes: usize) -> f64 {
    (full as f64 - empty as f64) * 1.024 / n_homes as f64
}

impl Fleet {
    /// Starts the process and returns the lines of its homes for `homes.toml`.
    async fn start(place: &Place, n_homes: usize, number: usize) -> Result<(Self, String)> {
        let mut child = place
            .role("relay-homes", &n_homes)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start homes")?;
        let stdout = child.stdout.take().context("take standard output")?;
        let mut fleet = Self {
            stdin: child.stdin.take().context("take standard input")?,
            lines: BufReader::new(stdout).lines(),
            _child: child,
        };
        let keys: Vec<PublicKey> = fleet.answer().await?;
        let mut homes = String::new();
        for (home, key) in keys.iter().enumerate() {
            let _ = writeln!(
                homes,
                "[[home]]\nhostname = \"home-{number}-{home}.example.org\"\nkey = \"{key}\"\n\
                 joined = 2026-01-01T00:00:00Z\n"
            );
        }
        Ok((fleet, homes))
    }

    async fn order(&mut self, order: &Order) -> Result<()> {
        let mut line = serde_json::to_string(order).context("write JSON")?;
        line.push('\n');
        let sent = self.stdin.write_all(line.as_bytes()).await;
        sent.context("give an order to homes")
    }

    async fn answer<T: DeserializeOwned>(&mut self) -> Result<T> {
        let line = timeout(ANSWER_MAX, self.lines.next_line()).await;
        let line = line.context("homes did not answer in time")?;
        let line = line.context("read what homes print")?;
        let line = line.context("homes ended early")?;
        serde_json::from_str(&line).context("read what homes printed")
    }
}

/// Lets all processes together have so many tunnels up.
async fn order_all(
    fleets: &mut [Fleet],
    relay: SocketAddr,
    server_name: &Hostname,
    n_homes: usize,
) -> Result<Tunnels> {
    let order = Order {
        relay,
        server_name: server_name.clone(),
        n_homes: n_homes / fleets.len(),
    };
    for fleet in &mut *fleets {
        fleet.order(&order).await?;
    }
    let mut all = Tunnels::default();
    for fleet in fleets {
        let tunnels: Tunnels = fleet.answer().await?;
        all.all = all.all.max(tunnels.all);
        all.p50 = all.p50.max(tunnels.p50);
        all.n_redials += tunnels.n_redials;
    }
    Ok(all)
}

fn relay_memory(relay: &Role) -> Result<u64> {
    let pids = relay.process.pids()?;
    ensure!(!pids.is_empty(), "the relay is gone");
    pids.into_iter().map(pss).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_home_is_charged_for_what_it_added() {
        let crowd = Crowd {
            memory: vec![(0, 5_000), (5_000, 105_000), (10_000, 205_000)],
            storms: vec![(1_000, Tunnels::default())],
            memory_after: 0,
        };
        assert!(
            crowd.table().contains("| 10,000 | 200.2 | 20.5 |"),
            "{}",
            crowd.table()
        );
        let mut verdicts = Verdicts::default();
        crowd.judge(&mut verdicts);
        assert!(!verdicts.to_string().contains("missed"), "{verdicts}");
        // A plot with logarithmic axes has no place for nothing.
        assert_eq!(crowd.series().points.len(), 2);
    }
}
