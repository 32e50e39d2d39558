//! Where the two ends are: the visitors with the relay, and home.

use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::load::{Job, Outcome, Try, WAITING};

/// A load may take so long, the slowest way over the worst path included.
const LOAD_MAX: Duration = Duration::from_secs(120);

/// One end: this machine, or a network namespace.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) ip: IpAddr,
    pub(crate) namespace: Option<String>,
    /// The only one that programs here may use.
    pub(crate) core: Option<usize>,
    /// Where the relay listens; 0 is any.
    pub(crate) port: u16,
}

/// All of them.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) visitors: Place,
    pub(crate) relay: Place,
    pub(crate) home: Place,
}

/// Visitors that wait. Dropping it ends them.
pub(crate) struct Waiting {
    child: Child,
}

/// A visitor that tries again and again. Dropping it ends it.
pub(crate) struct Probing {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Probing {
    /// The next try that has ended.
    pub(crate) async fn next(&mut self) -> Result<Try> {
        let line = self.lines.next_line().await.context("read a try")?;
        let line = line.context("the visitor ended early")?;
        serde_json::from_str(&line).context("read a try")
    }
}

impl Site {
    /// Both on this machine.
    pub(crate) fn loopback() -> Self {
        let place = Place {
            ip: Ipv4Addr::LOCALHOST.into(),
            namespace: None,
            core: None,
            port: 0,
        };
        Self {
            visitors: place.clone(),
            relay: place.clone(),
            home: place,
        }
    }
}

impl Place {
    /// A program that runs here.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut words = Vec::new();
        if let Some(namespace) = &self.namespace {
            words.extend(["ip", "netns", "exec", namespace].map(OsString::from));
        }
        if let Some(core) = self.core {
            words.extend(["taskset", "--cpu-list"].map(OsString::from));
            words.push(core.to_string().into());
        }
        words.push(program.as_ref().to_owned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    }

    /// The same place, where programs use one core alone.
    pub(crate) fn pinned(mut self, core: usize) -> Self {
        self.core = Some(core);
        self
    }

    /// This program, run here as something that takes one argument in JSON.
    pub(crate) fn role(&self, name: &str, argument: &impl serde::Serialize) -> Result<Command> {
        let program = std::env::current_exe().context("find this program")?;
        let mut command = self.command(program);
        command.args(["bench", name]);
        command.arg(serde_json::to_string(argument).context("write JSON")?);
        Ok(command)
    }

    /// A port here.
    pub(crate) fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip, port)
    }

    /// Runs a load here to its end.
    pub(crate) async fn load(&self, job: &Job) -> Result<Outcome> {
        let child = self.start_load(job)?;
        let output = timeout(LOAD_MAX, child.wait_with_output()).await;
        let output = output.context("the visitors did not come to an end")?;
        let output = output.context("wait for the visitors")?;
        ensure!(
            output.status.success(),
            "the visitors failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        serde_json::from_slice(&output.stdout).context("read what the visitors printed")
    }

    /// Lets visitors in that wait here.
    pub(crate) async fn wait(&self, job: &Job) -> Result<Waiting> {
        let mut child = self.start_load(job)?;
        let stdout = child.stdout.take().context("take standard output")?;
        let mut line = String::new();
        let mut stdout = BufReader::new(stdout);
        let read = timeout(LOAD_MAX, stdout.read_line(&mut line)).await;
        read.context("the visitors were not let in in time")?
            .context("read what the visitors printed")?;
        if line.trim() != WAITING {
            let output = child.wait_with_output().await.context("end the visitors")?;
            anyhow::bail!(
                "not all visitors were let in: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(Waiting { child })
    }

    /// Lets a visitor in that tries again and again.
    pub(crate) fn probe(&self, job: &Job) -> Result<Probing> {
        let mut child = self.start_load(job)?;
        let stdout = child.stdout.take().context("take standard output")?;
        Ok(Probing {
            lines: BufReader::new(stdout).lines(),
            _child: child,
        })
    }

    fn start_load(&self, job: &Job) -> Result<Child> {
        self.role("relay-load", job)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start the visitors")
    }
}

impl Waiting {
    /// Lets them go.
    pub(crate) async fn end(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        self.child.wait().await.context("end the visitors")?;
        Ok(())
    }
}
