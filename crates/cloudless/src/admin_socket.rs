//! The 0600 Unix socket between the command line and a running role: one JSON line each way.

use std::fs::{self, File, Permissions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;
use cloudless_proto::lines;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixListener;

use crate::state;

/// The relay's socket in its state directory.
pub(crate) const RELAY: &str = "relay.sock";
/// Home's socket in its state directory.
pub(crate) const HOME: &str = "home.sock";

/// How long a running process may give no sign of life. It gives one every few seconds while a
/// command takes long.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long a lock may be held without the holder answering on the socket.
const LOCK_DEADLINE: Duration = Duration::from_secs(10);
const LOCK_INTERVAL: Duration = Duration::from_millis(25);
const REPLY_MAX: u64 = 32 * 1024 * 1024 + 1024;

/// Why a running role could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    /// The socket is there and cannot be used.
    #[error("cannot talk to the running process through {path}; is it run by another user?",
        path = path.display())]
    Connect { path: PathBuf, source: io::Error },
    /// The process did not answer.
    #[error("the running process gave no answer through {path}", path = path.display())]
    Exchange { path: PathBuf, source: io::Error },
    /// The process answered something else.
    #[error(
        "the running process answered something unknown; restart it, it may be of another version"
    )]
    Reply { source: serde_json::Error },
}

/// Sends a command to the process that runs on the state directory and returns its reply. `None`
/// when none is running.
pub(crate) fn ask<C: Serialize, R: DeserializeOwned>(
    state: &Path,
    name: &str,
    command: &C,
) -> Result<Option<R>, SocketError> {
    let path = state.join(name);
    let stream = Place::of(state, name).and_then(|place| UnixStream::connect(place.path()));
    let mut stream = match stream {
        Ok(stream) => stream,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(source) => return Err(SocketError::Connect { path, source }),
    };
    let mut exchange = || {
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        stream.write_all(&lines::encode(command))?;
        let mut reader = BufReader::new(&stream).take(REPLY_MAX);
        let mut line = Vec::new();
        // A blank line is a sign of life.
        while line.trim_ascii().is_empty() {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                break;
            }
        }
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line)
    };
    let line = exchange().map_err(|source| SocketError::Exchange { path, source })?;
    serde_json::from_slice(&line)
        .map(Some)
        .map_err(|source| SocketError::Reply { source })
}

/// Lets the running process execute a command, or does `offline` what the command asks when none is
/// running. `offline` gives `None` while somebody else has the state's lock: a process that is
/// just starting or ending, or another command.
pub(crate) fn ask_or_do<C: Serialize, R: DeserializeOwned>(
    state: &Path,
    name: &str,
    command: &C,
    mut offline: impl FnMut() -> anyhow::Result<Option<R>>,
) -> anyhow::Result<R> {
    let started = Instant::now();
    loop {
        match ask(state, name, command) {
            Ok(Some(reply)) => return Ok(reply),
            Ok(None) => {}
            // It stops at this very moment, and its lock will be free.
            Err(SocketError::Exchange { source, .. }) if is_hung_up(&source) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(reply) = state::as_owner(state, &mut offline)? {
            return Ok(reply);
        }
        if started.elapsed() > LOCK_DEADLINE {
            bail!(
                "another process has {} locked and answers no commands; wait for it or stop it",
                state.display()
            );
        }
        thread::sleep(LOCK_INTERVAL);
    }
}

/// Binds the socket in a state directory, in place of one that a process now gone left there. Only
/// for who holds the lock of that state, and inside the runtime.
pub(crate) fn bind(state: &Path, name: &str) -> io::Result<UnixListener> {
    // Under its final name the socket never exists with wider permissions.
    let place = Place::of(state, name)?;
    let new = place.path().with_extension("sock.new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, Permissions::from_mode(0o600))?;
    fs::rename(&new, place.path())?;
    Ok(listener)
}

/// A socket's path for the kernel, which takes no more than 107 bytes: deep directories are
/// reached through an open file descriptor.
struct Place {
    path: PathBuf,
    /// Keeps the descriptor in `path` alive.
    _directory: File,
}

impl Place {
    fn of(state: &Path, name: &str) -> io::Result<Self> {
        let directory = File::open(state)?;
        let path = state.join(name);
        // Room for the suffix of the temporary name.
        let fits = path.as_os_str().len() < 100;
        let through = || PathBuf::from(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()));
        Ok(Self {
            path: if fits { path } else { through() },
            _directory: directory,
        })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

/// Nobody listens: no socket, or one that a killed process left.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

/// The process ended without an answer.
fn is_hung_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// What home sends while a command takes long.
    #[test]
    fn blank_lines_are_no_answer() {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join(HOME)).unwrap();
        let home = thread::spawn(move || {
            for answer in ["\n\n\n{\"a\":1}\n", "\n\n", ""] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut command = String::new();
                BufReader::new(&stream).read_line(&mut command).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let ask = || ask::<_, serde_json::Value>(directory.path(), HOME, &"command");
        assert_eq!(ask().unwrap(), Some(serde_json::json!({"a": 1})));
        for _ in 0..2 {
            let error = ask().unwrap_err();
            let hung_up =
                matches!(&error, SocketError::Exchange { source, .. } if is_hung_up(source));
            assert!(hung_up, "{error:?}");
        }
        home.join().unwrap();
    }
}
