//! Processes that are measured, with all that they start themselves.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::iter;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, ChildStdout, Command};

/// Lines of a log that are shown when something went wrong.
const LOG_LINES: usize = 15;

/// A running process. Dropping it kills it and all that it has started.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
    /// The words of its command.
    words: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
}

impl Process {
    /// Starts it; what it says on standard error goes to a file named after it.
    pub(crate) fn start(name: &'static str, command: &mut Command, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let command = command.as_std();
        let words = iter::once(command.get_program()).chain(command.get_args());
        let environment = command.get_envs();
        Ok(Self {
            name,
            child,
            log,
            words: words.map(OsStr::to_owned).collect(),
            environment: environment
                .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
                .collect(),
        })
    }

    /// Kills it and all that descends from it, as a failure of power would; it may be started again.
    pub(crate) async fn kill_now(&mut self) -> Result<()> {
        for pid in self.pids()? {
            if let Ok(pid) = i32::try_from(pid) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        let ended = self.child.wait().await;
        ended.with_context(|| format!("kill {}", self.name))?;
        Ok(())
    }

    /// Starts it again by the same command. What it says on standard output is not heard any more.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        let log = File::options().append(true).open(&self.log);
        let (program, arguments) = self.words.split_first().context("no command")?;
        let child = Command::new(program)
            .args(arguments)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.with_context(|| format!("open {}", self.log.display()))?)
            .kill_on_drop(true)
            .spawn();
        self.child = child.with_context(|| format!("start {} again", self.name))?;
        Ok(())
    }

    /// Its standard output, if that was piped, once.
    pub(crate) fn output(&mut self) -> Result<ChildStdout> {
        let output = self.child.stdout.take();
        output.with_context(|| format!("take the standard output of {}", self.name))
    }

    /// It and all that descends from it, as of now.
    pub(crate) fn pids(&self) -> Result<Vec<u32>> {
        let root = self.child.id();
        descendants(root.with_context(|| self.failure("ended early"))?)
    }

    /// Kills it, as a failure of power would, and waits until it is gone.
    pub(crate) async fn kill(mut self) -> Result<()> {
        let killed = self.child.kill().await;
        killed.with_context(|| format!("kill {}", self.name))
    }

    /// What went wrong with it, with the end of its log.
    pub(crate) fn failure(&self, what: &str) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n    ");
        format!("{} {what}; the end of its log:\n    {last}", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The child itself is killed and reaped by the runtime.
        for pid in self.pids().unwrap_or_default() {
            if let Ok(pid) = i32::try_from(pid) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

/// A process and its children, their children and so on.
fn descendants(root: u32) -> Result<Vec<u32>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("list the processes")? {
        let name = entry.context("list the processes")?.file_name();
        let Some(pid) = name.to_str().and_then(|it| it.parse().ok()) else {
            continue;
        };
        // One that has ended meanwhile is nobody's child.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if let Some(parent) = parse_parent(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut at = 0;
    while let Some(pid) = found.get(at) {
        found.extend(children.remove(pid).unwrap_or_default());
        at += 1;
    }
    Ok(found)
}

/// The parent in `/proc/PID/stat`: the second field after the name, which may hold anything.
fn parse_parent(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_hides_no_parent() {
        assert_eq!(parse_parent("7 (a) b) S 5 7 7 0"), Some(5));
        assert_eq!(parse_parent(""), None);
    }

    #[test]
    fn this_process_descends_from_its_parent() {
        let parent = std::os::unix::process::parent_id();
        let found = descendants(parent).expect("processes can be listed");
        assert!(found.contains(&std::process::id()));
    }
}
