//! A way from a visitor to the server at home, with the processes that make it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::{Instant, sleep, timeout};

use super::backend::Certificate;
use super::load::{Job, Load, Outcome};
use super::process::Process;
use super::site::{Place, Probing, Site};
use super::{haproxy, multiplexer, ours, rathole, recipe, ssh_home, sshd};
use crate::bench::cpu::Stopwatch;
use crate::bench::memory::pss;
use crate::workspace::Workspace;

const START_MAX: Duration = Duration::from_secs(20);
const START_INTERVAL: Duration = Duration::from_millis(100);

/// The ways that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// Visitors connect to the server at home
    NoRelay,
    /// cloudless as it comes
    Legs,
    /// cloudless with `legs = false`: all of it in HTTP/2 streams
    Streams,
    /// rathole over TCP
    Rathole,
    /// HAProxy in front of the server at home, no tunnel: the server name and one hop
    Haproxy,
    /// sniproxy, and `ssh -R` kept by autossh
    Recipe,
    /// A floor for one connection: a multiplexer that does nothing else
    Multiplexer,
    /// The same, which encrypts as a tunnel has to: a floor for one that nobody can read
    SealedMultiplexer,
    /// `ssh -R` kept by autossh as home, to cloudless' relay
    SshHome,
    /// cloudless at home, with a plain sshd as the relay
    Sshd,
}

/// What every way needs to be built.
pub(crate) struct Ground<'a> {
    pub(crate) workspace: &'a Workspace,
    pub(crate) certificate: &'a Certificate,
    /// For config, keys and logs of this way alone.
    pub(crate) folder: PathBuf,
    pub(crate) site: &'a Site,
    /// The server at home.
    pub(crate) backend: SocketAddr,
}

/// A way that is open. Dropping it ends its processes.
pub(crate) struct Way {
    pub(crate) kind: Kind,
    /// Where visitors connect.
    address: SocketAddr,
    /// What the relay's machine has to do for it.
    relay: Vec<Process>,
    /// What runs at home for it; never read, but kept.
    _home: Vec<Process>,
    certificate: PathBuf,
    visitors: Place,
}

/// The parts of a way.
pub(crate) struct Parts {
    pub(crate) address: SocketAddr,
    pub(crate) relay: Vec<Process>,
    pub(crate) home: Vec<Process>,
}

/// The server at home. Dropping it ends it.
pub(crate) struct Backend {
    _process: Process,
    pub(crate) address: SocketAddr,
}

impl Kind {
    /// The head of its column.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NoRelay => "no relay",
            Self::Legs => "cloudless",
            Self::Streams => "cloudless, `legs = false`",
            Self::Rathole => "rathole",
            Self::Haproxy => "HAProxy, the hop alone",
            Self::Recipe => "sniproxy + autossh",
            Self::Multiplexer => "a bare multiplexer",
            Self::SealedMultiplexer => "the same, encrypted",
            Self::SshHome => "cloudless, autossh as home",
            Self::Sshd => "sshd as the relay",
        }
    }

    /// Whether it takes programs that Debian has.
    pub(crate) fn is_program(self) -> bool {
        matches!(
            self,
            Self::Haproxy | Self::Recipe | Self::SshHome | Self::Sshd
        )
    }

    /// The name of a folder.
    fn folder(self) -> &'static str {
        match self {
            Self::NoRelay => "none",
            Self::Legs => "legs",
            Self::Streams => "streams",
            Self::Rathole => "rathole",
            Self::Haproxy => "haproxy",
            Self::Recipe => "recipe",
            Self::Multiplexer => "multiplexer",
            Self::SealedMultiplexer => "sealed-multiplexer",
            Self::SshHome => "ssh-home",
            Self::Sshd => "sshd",
        }
    }
}

impl Backend {
    /// Starts it at home.
    pub(crate) async fn start(
        home: &Place,
        certificate: &Certificate,
        folder: &Path,
    ) -> Result<Self> {
        let mut command = home.role("relay-backend", &(certificate, home.ip))?;
        let mut process = Process::start("backend", command.stdout(Stdio::piped()), folder)?;
        let mut line = String::new();
        let mut output = BufReader::new(process.output()?);
        let read = timeout(START_MAX, output.read_line(&mut line)).await;
        read.context("the server at home was not up in time")?
            .context("read the address of the server at home")?;
        let address = line.trim().parse();
        Ok(Self {
            address: address.with_context(|| process.failure("did not start"))?,
            _process: process,
        })
    }
}

impl Way {
    /// Opens it and waits until a visitor gets through.
    pub(crate) async fn open(kind: Kind, ground: &Ground<'_>) -> Result<Self> {
        let mut own = ground.folder.join(kind.folder());
        for number in 2.. {
            if !own.exists() {
                break;
            }
            own = ground.folder.join(format!("{}-{number}", kind.folder()));
        }
        std::fs::create_dir_all(&own).with_context(|| format!("make {}", own.display()))?;
        let parts = match kind {
            Kind::NoRelay => Parts {
                address: ground.backend,
                relay: Vec::new(),
                home: Vec::new(),
            },
            Kind::Legs => ours::open(ground, &own, true).await?,
            Kind::Streams => ours::open(ground, &own, false).await?,
            Kind::Rathole => rathole::open(ground, &own)?,
            Kind::Haproxy => haproxy::open(ground, &own)?,
            Kind::Recipe => recipe::open(ground, &own).await?,
            Kind::Multiplexer => multiplexer::open(ground, &own, false)?,
            Kind::SealedMultiplexer => multiplexer::open(ground, &own, true)?,
            Kind::SshHome => ssh_home::open(ground, &own).await?,
            Kind::Sshd => sshd::open(ground, &own).await?,
        };
        let way = Self {
            kind,
            ..Self::of(parts, ground)
        };
        let deadline = Instant::now() + START_MAX;
        loop {
            let Err(error) = way.load(Load::FirstByte { n_visitors: 1 }).await else {
                return Ok(way);
            };
            if Instant::now() > deadline {
                let processes = way.relay.iter().chain(&way._home);
                let logs: Vec<_> = processes.map(|it| it.failure("leads nowhere")).collect();
                bail!("{}: {error:#}\n{}", kind.name(), logs.join("\n"));
            }
            sleep(START_INTERVAL).await;
        }
    }

    /// The way that these parts make, which are up.
    pub(crate) fn of(parts: Parts, ground: &Ground<'_>) -> Self {
        Self {
            kind: Kind::Legs,
            address: parts.address,
            relay: parts.relay,
            _home: parts.home,
            certificate: ground.certificate.certificate.clone(),
            visitors: ground.site.visitors.clone(),
        }
    }

    /// Lets visitors do something.
    pub(crate) async fn load(&self, load: Load) -> Result<Outcome> {
        let outcome = self.visitors.load(&self.job(load)).await;
        outcome.with_context(|| self.kind.name().to_owned())
    }

    /// The same, and the CPU time of the relay's processes meanwhile.
    pub(crate) async fn load_with_cpu(&self, load: Load) -> Result<(Outcome, Duration)> {
        let stopwatch = Stopwatch::start(&self.relay_pids()?)?;
        let outcome = self.load(load).await?;
        Ok((outcome, stopwatch.stop()?.server))
    }

    /// The memory of the relay's processes while visitors wait, in KiB: for none of them, and after
    /// each step in which so many more come.
    pub(crate) async fn memory(&self, steps: &[usize]) -> Result<Vec<(usize, u64)>> {
        let mut waiting = Vec::new();
        let mut n_all = 0;
        let mut memory = vec![(0, self.relay_memory()?)];
        for n_visitors in steps {
            let job = self.job(Load::Wait {
                n_visitors: *n_visitors,
            });
            let entered = self.visitors.wait(&job).await;
            waiting.push(entered.with_context(|| self.kind.name().to_owned())?);
            n_all += n_visitors;
            memory.push((n_all, self.relay_memory()?));
        }
        for visitors in waiting {
            visitors.end().await?;
        }
        Ok(memory)
    }

    /// Lets a visitor in that tries every 100 ms.
    pub(crate) fn probe(&self) -> Result<Probing> {
        self.visitors.probe(&self.job(Load::Probe))
    }

    /// Kills all that the relay's machine has of it.
    pub(crate) async fn kill_relay(&mut self) -> Result<()> {
        for process in &mut self.relay {
            process.kill_now().await?;
        }
        Ok(())
    }

    /// Starts it again, as it was.
    pub(crate) fn start_relay(&mut self) -> Result<()> {
        self.relay.iter_mut().try_for_each(Process::start_again)
    }

    fn job(&self, load: Load) -> Job {
        Job {
            address: self.address,
            certificate: self.certificate.clone(),
            load,
        }
    }

    fn relay_pids(&self) -> Result<Vec<u32>> {
        let mut pids = Vec::new();
        for process in &self.relay {
            pids.extend(process.pids()?);
        }
        Ok(pids)
    }

    /// In KiB.
    fn relay_memory(&self) -> Result<u64> {
        self.relay_pids()?.into_iter().map(pss).sum()
    }
}
