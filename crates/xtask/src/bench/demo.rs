//! The processes that are measured: relay and home of one running demo.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

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
        let target = |url: &str| {
            Target::new(
                url,
                &ready.user,
                &ready.password,
                book.clone(),
                Some(&ready.ca_file),
            )
        };
        Ok(Self {
            child,
            program: program.to_owned(),
            state: state.to_owned(),
            user: ready.user.clone(),
            local: target(&ready.local_url)?,
            public: target(&ready.public_url)?,
            relay_pid: ready.relay_pid,
            home_pid: ready.home_pid,
        })
    }

    /// Imports a file of cards into the running home.
    pub(crate) async fn import(&self, file: &Path) -> Result<()> {
        let outcome = Command::new(&self.program)
            .args(["contacts", "import", "--json", "--user", &self.user])
            .arg("--state")
            .arg(self.state.join("home"))
            .arg(file)
            .output()
            .await
            .with_context(|| format!("start {}", self.program.display()))?;
        ensure!(
            outcome.status.success(),
            "import of {}: {}: {}",
            file.display(),
            outcome.status,
            String::from_utf8_lossy(&outcome.stderr)
        );
        Ok(())
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
