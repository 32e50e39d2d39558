//! Where the two ends are: the visitors with the relay, and home.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::load::{Job, Outcome, WAITING};

/// A load may take so long, the slowest way over the worst path included.
const LOAD_MAX: Duration = Duration::from_secs(120);

/// One end: this machine, or a network namespace.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) ip: IpAddr,
    pub(crate) namespace: Option<String>,
}

/// Both ends.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) relay: Place,
    pub(crate) home: Place,
}

/// Visitors that wait. Dropping it ends them.
pub(crate) struct Waiting {
    child: Child,
}

impl Site {
    /// Both on this machine.
    pub(crate) fn loopback() -> Self {
        let place = Place {
            ip: Ipv4Addr::LOCALHOST.into(),
            namespace: None,
        };
        Self {
            relay: place.clone(),
            home: place,
        }
    }
}

impl Place {
    /// A program that runs here.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        match &self.namespace {
            None => Command::new(program),
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(program);
                command
            }
        }
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
