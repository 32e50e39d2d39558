//! The 0600 Unix socket that carries [`Command`]s.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cloudless_proto::lines;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Command, Reply, execute};
use crate::listener::accept_backoff;
use crate::run::Relay;
use crate::ssh;

const LINE_MAX: usize = 64 * 1024;

/// Binds the command line's socket at `path` with mode 0600, in place of a socket that a process
/// now gone left there. Call it only while holding the state's [`Registry`](crate::Registry), or it
/// takes the socket from a living relay. Must be called inside a tokio runtime.
///
/// # Errors
/// When the socket cannot be made.
pub fn bind(path: &Path) -> Result<UnixListener, BindError> {
    let failed = |source| BindError {
        path: path.to_owned(),
        source,
    };
    // Under its final name the socket never exists with wider permissions.
    let new = path.with_extension("sock.new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&new).map_err(failed)?;
    fs::set_permissions(&new, Permissions::from_mode(0o600)).map_err(failed)?;
    fs::rename(&new, path).map_err(failed)?;
    Ok(listener)
}

/// Why the admin socket could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the socket {}", path.display())]
pub struct BindError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Answers commands until the relay stops.
pub(crate) async fn serve(relay: Arc<Relay>, listener: UnixListener) {
    let permits = Arc::new(Semaphore::new(relay.config().limits.admin_connections));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = relay.stopped.cancelled() => break,
            accepted = async {
                let permit = Arc::clone(&permits).acquire_owned().await;
                (permit, listener.accept().await)
            } => accepted,
        };
        match accepted {
            (Ok(permit), Ok((stream, _))) => {
                let relay = Arc::clone(&relay);
                connections.spawn(async move {
                    if let Err(error) = answer(&relay, stream).await {
                        tracing::debug!(%error, "Admin connection ended");
                    }
                    drop(permit);
                });
            }
            (_, Err(error)) => accept_backoff(&error).await,
            (Err(_), _) => break,
        }
    }
    connections.shutdown().await;
}

async fn answer(relay: &Arc<Relay>, mut stream: UnixStream) -> io::Result<()> {
    let mut decoder = lines::Decoder::new(LINE_MAX);
    let mut buffer = vec![0; 4096];
    loop {
        match decoder.next_line() {
            Ok(Some(line)) => {
                let reply = match serde_json::from_slice::<Command>(&line) {
                    Ok(command) => {
                        if matches!(command, Command::Status) {
                            ssh::refresh(relay).await;
                        }
                        let relay = Arc::clone(relay);
                        let execution = tokio::task::spawn_blocking(move || {
                            execute(
                                &relay.config(),
                                &relay.registry,
                                &relay.keys,
                                Some(&relay),
                                command,
                            )
                        });
                        execution.await.map_err(io::Error::other)?
                    }
                    Err(error) => Reply::Error {
                        message: format!("not a command: {error}"),
                    },
                };
                timeout(
                    relay.config().timings.drain,
                    stream.write_all(&lines::encode(&reply)),
                )
                .await??;
            }
            Ok(None) => {
                let n = tokio::select! {
                    () = relay.stopped.cancelled() => return Ok(()),
                    n = stream.read(&mut buffer) => n?,
                };
                if n == 0 {
                    return Ok(());
                }
                decoder.push(&buffer[..n]);
            }
            Err(_) => {
                let reply = Reply::Error {
                    message: "the command is too long".to_owned(),
                };
                return stream.write_all(&lines::encode(&reply)).await;
            }
        }
    }
}
