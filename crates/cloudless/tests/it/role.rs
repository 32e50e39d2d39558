//! `relay run` or `home run` as a process.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

/// Long enough for a loaded machine; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a process said, in its state directory.
pub(crate) const LOG: &str = "stderr.log";

/// A running process of the binary.
pub(crate) struct Role {
    child: Child,
    /// Whether it has started others, which end with it.
    has_group: bool,
    lines: Receiver<String>,
}

impl Role {
    /// Starts `cloudless ROLE run` and returns it with its first line of JSON.
    pub(crate) fn start(state: &Path, name: &str) -> (Self, Value) {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_cloudless")), state, name)
    }

    /// The same by another command that ends in the binary.
    pub(crate) fn start_by(mut command: Command, state: &Path, name: &str) -> (Self, Value) {
        command.args([name, "run", "--die-with", &std::process::id().to_string()]);
        Self::start_whole(command, state, name, false)
    }

    /// The same by a command that starts the binary as a child of its own, again and again.
    pub(crate) fn start_under(mut command: Command, state: &Path, name: &str) -> (Self, Value) {
        command.args([name, "run"]).process_group(0);
        Self::start_whole(command, state, name, true)
    }

    fn start_whole(
        mut command: Command,
        state: &Path,
        name: &str,
        has_group: bool,
    ) -> (Self, Value) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(state.join(LOG))
            .unwrap();
        let mut child = command
            .args(["--ready-json", "--state"])
            .arg(state)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = sync_channel(16);
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut role = Self {
            child,
            has_group,
            lines,
        };
        let ready = role.line();
        assert_eq!(ready["role"], name, "{ready}");
        (role, ready)
    }

    /// The next line of JSON.
    pub(crate) fn line(&mut self) -> Value {
        let line = self
            .lines
            .recv_timeout(PATIENCE)
            .expect("the process says that it is ready");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Returns after so long, in which the process must have said nothing.
    pub(crate) fn is_quiet_for(&self, duration: Duration) {
        let said = self.lines.recv_timeout(duration);
        assert_eq!(said, Err(RecvTimeoutError::Timeout));
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: no drain, no flush.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // It may have been killed by the test.
        if self.has_group
            && let Some(group) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
