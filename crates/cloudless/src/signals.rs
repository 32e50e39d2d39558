//! SIGTERM and SIGINT end a role in order; a second one ends it at once. SIGHUP reloads its files.

use std::future::Future;
use std::io;
use std::process;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{patience, systemd};

/// The exit code of a process that was told twice to stop.
const STOPPED_TWICE: i32 = 130;

/// SIGTERM and SIGINT, from the moment this value exists.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Starts listening. Call it inside the runtime and before the process says that it is ready.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Runs a role until it ends by itself or a signal cancels `shutdown` and it ends in order. SIGHUP
/// calls `reload`.
pub(crate) async fn run_until_signal<T>(
    role: impl Future<Output = T>,
    shutdown: CancellationToken,
    reload: impl AsyncFn(),
) -> anyhow::Result<T> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let mut hang_up = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let reloads = async {
        while hang_up.recv().await.is_some() {
            systemd::reloading();
            reload().await;
            systemd::reloaded();
        }
        std::future::pending::<()>().await;
    };
    let mut role = std::pin::pin!(role);
    tokio::select! {
        result = &mut role => return Ok(result),
        () = signals.next() => {}
        () = reloads => {}
    }
    tracing::info!("stopping; a second signal stops at once");
    systemd::stopping();
    shutdown.cancel();
    tokio::select! {
        result = &mut role => Ok(result),
        () = signals.next() => process::exit(STOPPED_TWICE),
    }
}

/// Builds the runtime of a role and runs `future` on it.
pub(crate) fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .on_thread_park(patience::give_way)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(future);
    // Blocking work, such as a write to the store, may need a moment to end.
    runtime.shutdown_timeout(Duration::from_secs(5));
    result
}
