//! Relay and home as processes of this same program.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// How long a role may take to say that it is ready.
const READY_DEADLINE: Duration = Duration::from_secs(20);
/// How long a role may take to end in order.
const STOP_DEADLINE: Duration = Duration::from_secs(12);
/// How much of a log is shown when something went wrong.
const LOG_LINES: usize = 15;

/// A running relay or home. It is killed when this value is dropped, and ends when this process
/// does.
pub(super) struct Role {
    name: &'static str,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
}

impl Role {
    /// Starts `cloudless NAME run` on a state directory; its log goes to a file beside that.
    pub(super) fn start(program: &Path, name: &'static str, state: &Path) -> anyhow::Result<Self> {
        let log = state.with_extension("log");
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut child = Command::new(program)
            .args([
                name,
                "run",
                "--ready-json",
                "--die-with",
                &process::id().to_string(),
            ])
            .arg("--state")
            .arg(state)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            // Ctrl-C in a terminal is for the demo, which stops its roles in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {} {name} run", program.display()))?;
        let stdout = child
            .stdout
            .take()
            .context("the process has no standard output")?;
        Ok(Self {
            name,
            child,
            lines: BufReader::new(stdout).lines(),
            log,
        })
    }

    /// The next line of JSON that the role says when it has come further.
    pub(super) async fn ready<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        match timeout(READY_DEADLINE, self.lines.next_line()).await {
            Ok(Ok(Some(line))) => serde_json::from_str(&line)
                .with_context(|| format!("{} said something else than expected", self.name)),
            Ok(_) => Err(self.failure("ended before it was ready")),
            Err(_) => Err(self.failure("was not ready in time")),
        }
    }

    /// Where it logs to.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// The process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Waits until the process ends, which it should not do by itself.
    pub(super) async fn ended(&mut self) -> anyhow::Error {
        let how = match self.child.wait().await {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("ended with exit status {code}"),
                (_, Some(signal)) => format!("was killed by signal {signal}"),
                _ => "ended".to_owned(),
            },
            Err(error) => format!("is lost: {error}"),
        };
        self.failure(&how)
    }

    /// Stops the process in order, or kills it when that takes too long.
    pub(super) async fn stop(mut self) {
        let pid = self
            .child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = pid {
            // It may have ended a moment ago.
            let _ = kill_process(pid, Signal::TERM);
            if timeout(STOP_DEADLINE, self.child.wait()).await.is_err() {
                let _ = self.child.kill().await;
            }
        }
    }

    fn failure(&self, what: &str) -> anyhow::Error {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n    ");
        anyhow!("{} {what}; the end of its log:\n    {last}", self.name)
    }
}

/// Runs `cloudless ARGUMENTS`, as a user would, and returns what it prints to standard output.
pub(super) async fn command(program: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        let shown = arguments.join(" ");
        bail!(
            "cloudless {shown}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).context("the command printed something else than text")
}

/// Like [`command`], with the progress and the warnings on this process's standard error. What it
/// printed is returned even when it failed in part.
pub(super) async fn watched_command(program: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?
        .wait_with_output()
        .await
        .with_context(|| format!("lost {}", program.display()))?;
    String::from_utf8(output.stdout).context("the command printed something else than text")
}
