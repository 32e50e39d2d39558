//! The processes that are measured: relay and home of one running demo.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::client::Target;

const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(15);

/// A running demo. Dropping it kills it.
pub(crate) struct Demo {
    child: Child,
    program: PathBuf,
    state: PathBuf,
    user: String,
    /// Straight to home, plain HTTP.
    pub(crate) local: Target,
    /// Through the relay, TLS.
    pub(crate) public: Target,
    pub(crate) relay_pid: u32,
    pub(crate) home_pid: u32,
}

/// The one line that the demo prints when everything is up.
#[derive(Deserialize)]
struct Ready {
    public_url: String,
    local_url: String,
    user: String,
    password: String,
    ca_file: PathBuf,
    relay_pid: u32,
    home_pid: u32,
}

impl Demo {
    /// Starts the demo and waits until it is up.
    pub(crate) async fn start(program: &Path, state: &Path) -> Result<Self> {
        // What it tells people would stand between the tables.
        let log = state.join("demo.log");
        let stderr = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let mut child = Command::new(program)
            .args(["demo", "--json", "--state"])
            .arg(state)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let stdout = child
            .stdout
            .take()
            .context("take the demo's standard output")?;
        let mut line = String::new();
        timeout(START_MAX, BufReader::new(stdout).read_line(&mut line))
            .await
            .with_context(|| format!("the demo was not up after {START_MAX:?}"))?
            .context("read the demo's standard output")?;
        let ready: Ready = serde_json::from_str(&line).with_context(|| {
            let log = fs::read_to_string(&log).unwrap_or_default();
            format!("read what the demo printed: {line:?}; it also said:\n{log}")
        })?;
        let book = format!("/dav/addressbooks/{}/contacts/", ready.user);
        let (relay_pid, home_pid) = (ready.relay_pid, ready.home_pid);
        let target = |url: &str, pids| {
            let (user, password) = (&ready.user, &ready.password);
            let ca_file = Some(ready.ca_file.as_path());
            Target::new(url, user, password, book.clone(), ca_file, pids)
        };
        Ok(Self {
            child,
            program: program.to_owned(),
            state: state.to_owned(),
            user: ready.user.clone(),
            local: target(&ready.local_url, vec![home_pid])?,
            public: target(&ready.public_url, vec![relay_pid, home_pid])?,
            relay_pid,
            home_pid,
        })
    }

    /// Runs `cloudless contacts` beside the running home and tells how long it took. What it
    /// prints goes nowhere.
    pub(crate) async fn contacts(&self, arguments: &[&str]) -> Result<Duration> {
        let started = Instant::now();
        let outcome = Command::new(&self.program)
            .arg("contacts")
            .args(arguments)
            .args(["--user", &self.user])
            .arg("--state")
            .arg(self.state.join("home"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", self.program.display()))?
            .wait_with_output()
            .await
            .context("wait for cloudless contacts")?;
        let time = started.elapsed();
        ensure!(
            outcome.status.success(),
            "contacts {}: {}: {}",
            arguments.join(" "),
            outcome.status,
            String::from_utf8_lossy(&outcome.stderr)
        );
        Ok(time)
    }

    /// Asks the demo to end, and waits for it.
    pub(crate) async fn stop(mut self) -> Result<()> {
        if let Some(pid) = self.child.id() {
            let terminate = Command::new("sh")
                .args(["-c", &format!("kill -TERM {pid}")])
                .status();
            terminate.await.context("send SIGTERM to the demo")?;
        }
        timeout(STOP_MAX, self.child.wait())
            .await
            .with_context(|| format!("the demo did not end within {STOP_MAX:?} of SIGTERM"))?
            .context("wait for the demo")?;
        Ok(())
    }
}
