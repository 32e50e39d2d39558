//! Work on the store and on long bodies, which may block.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::{block_in_place, spawn_blocking};

use crate::refusal::Refusal;

/// Runs `work`, which may block, and waits for it. Other tasks go on meanwhile.
///
/// Where there are several threads, it runs on this one, and another one takes over the tasks: to
/// change to another thread and back would take about as long as most requests do.
///
/// # Errors
/// What `work` says, or 500 when it panicked.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
        // The hook of the program has told of the panic, and nothing that it left is used again.
        let done = catch_unwind(AssertUnwindSafe(|| block_in_place(work)));
        return done.unwrap_or_else(|_| Err(Refusal::failed()));
    }
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Refusal::internal(&error)),
    }
}
