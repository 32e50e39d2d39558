//! The commands of a running home, over its unix socket.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use cloudless_proto::lines::{self, Decoder};
use cloudless_store::{Store, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Command, Facts, MAX_LINE, Renewal, Reply, execute};
use crate::config::{Clock, unix_ms};
use crate::probe::Prober;
use crate::reload::Reload;
use crate::trust::Trust;

/// Connections at one time; further ones wait.
const CONNECTIONS_MAX: usize = 16;
/// How long a connection may take for one write, or stay silent.
const SILENCE: Duration = Duration::from_secs(10 * 60);
/// Between two blank lines while a command is under way.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// The pause after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the socket's connections share.
pub(crate) struct Admin {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    /// The facts of this moment.
    pub(crate) facts: Box<dyn Fn() -> Facts + Send + Sync>,
    /// Told when cards came back that are not indexed.
    pub(crate) restored: Arc<Notify>,
    /// Who tries whether phones reach home, if anybody does.
    pub(crate) prober: Option<Arc<Prober>>,
    /// Who makes certificates.
    pub(crate) renewal: Renewal,
    /// Who reads home's file again.
    pub(crate) reload: Arc<Reload>,
    /// Who watches over the names, if anybody does.
    pub(crate) trust: Option<Arc<Trust>>,
}

/// Answers commands until `shutdown`; a command under way is finished.
pub(crate) async fn serve(listener: UnixListener, admin: Admin, shutdown: CancellationToken) {
    let admin = Arc::new(admin);
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            permit = permits.clone().acquire_owned() => {
                // The semaphore is never closed.
                let Ok(permit) = permit else { break };
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    accepted = listener.accept() => accepted.map(|(stream, _)| (stream, permit)),
                }
            }
        };
        match accepted {
            Ok((stream, permit)) => {
                let (admin, shutdown) = (admin.clone(), shutdown.clone());
                connections.spawn(async move {
                    converse(stream, admin, shutdown).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "Cannot accept on the admin socket");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn converse(mut stream: UnixStream, admin: Arc<Admin>, shutdown: CancellationToken) {
    let mut decoder = Decoder::new(MAX_LINE);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        loop {
            let reply = match decoder.next_line() {
                Ok(Some(line)) => while_working(&mut stream, answer(&admin, line)).await,
                Ok(None) => break,
                Err(error) => {
                    let reply = Reply::Error {
                        message: error.to_string(),
                    };
                    let _ = write(&mut stream, &reply).await;
                    return;
                }
            };
            if write(&mut stream, &reply).await.is_none() {
                return;
            }
        }
        let read = tokio::select! {
            () = shutdown.cancelled() => return,
            read = timeout(SILENCE, stream.read(&mut buffer)) => read,
        };
        match read {
            Ok(Ok(length)) if length > 0 => decoder.push(&buffer[..length]),
            _ => return,
        }
    }
}

/// Waits for an answer. A blank line now and then says that the command is under way; when nobody
/// is there to read it, the command is finished all the same.
async fn while_working(
    stream: &mut (impl AsyncWrite + Unpin),
    answer: impl Future<Output = Reply>,
) -> Reply {
    let mut answer = pin!(answer);
    let mut is_read = true;
    loop {
        match timeout(SIGN_OF_LIFE, answer.as_mut()).await {
            Ok(reply) => return reply,
            Err(_) if is_read => {
                let written = timeout(SILENCE, stream.write_all(b"\n")).await;
                is_read = matches!(written, Ok(Ok(())));
            }
            Err(_) => {}
        }
    }
}

async fn answer(admin: &Arc<Admin>, line: Vec<u8>) -> Reply {
    let admin = admin.clone();
    let runtime = Handle::current();
    let answered = tokio::task::spawn_blocking(move || {
        let command = match serde_json::from_slice::<Command>(&line) {
            Ok(command) => command,
            Err(error) => {
                let message = format!("cannot read the command: {error}; is the home older?");
                return Reply::Error { message };
            }
        };
        // Half of what a large import needs is free again before the work begins.
        drop(line);
        let mut random = [0; 16];
        if let Err(error) = getrandom::fill(&mut random) {
            return Reply::Error {
                message: format!("the system gives no random bytes: {error}"),
            };
        }
        let now = Timestamp(unix_ms((admin.clock)()));
        match (&command, &admin.prober) {
            (Command::Check, Some(prober)) => runtime.block_on(prober.check()),
            (Command::Status, Some(prober)) => runtime.block_on(prober.refresh()),
            _ => {}
        }
        if let Command::CertificateRenew { hostname } = command {
            let certificates = runtime.block_on(admin.renewal.renew(hostname));
            return Reply::CertificatesRenewed { certificates };
        }
        if command == Command::Reload {
            return match admin.reload.reload() {
                Ok(waiting) => Reply::Reloaded { waiting },
                Err(message) => Reply::Error { message },
            };
        }
        match (&command, &admin.trust) {
            (Command::Doctor, Some(trust)) => runtime.block_on(trust.look_at_all()),
            (Command::TrustAccept { key }, Some(trust)) => {
                if let Err(error) = trust.accept(key) {
                    let message = crate::status::chain(&error);
                    return Reply::Error { message };
                }
            }
            _ => {}
        }
        let restores = command.restores();
        let reply = execute(&admin.store, &(admin.facts)(), command, now, random);
        if restores {
            admin.restored.notify_one();
        }
        reply
    });
    answered.await.unwrap_or_else(|error| {
        tracing::error!(%error, "An admin command failed");
        Reply::Error {
            message: "the command failed inside home; see its log".to_owned(),
        }
    })
}

/// `None` when the other side is gone or does not read.
async fn write(stream: &mut UnixStream, reply: &Reply) -> Option<()> {
    let line = lines::encode(reply);
    timeout(SILENCE, stream.write_all(&line)).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const LONG: Duration = Duration::from_secs(23);

    async fn done() -> Reply {
        sleep(LONG).await;
        Reply::BackedUp { bytes: 1 }
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_command_gives_signs_of_life() {
        let (mut home, mut command_line) = tokio::io::duplex(64);
        let reply = while_working(&mut home, done()).await;
        assert_eq!(reply, Reply::BackedUp { bytes: 1 });
        drop(home);
        let mut read = Vec::new();
        command_line.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"\n\n\n\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_is_finished_though_nobody_waits() {
        let (mut home, command_line) = tokio::io::duplex(64);
        drop(command_line);
        let reply = while_working(&mut home, done()).await;
        assert_eq!(reply, Reply::BackedUp { bytes: 1 });
    }
}
