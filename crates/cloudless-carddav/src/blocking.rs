//! Work on the store and on long bodies, away from the threads that serve connections.

use crate::refusal::Refusal;

/// Runs `work` where it may block, and waits for it.
///
/// # Errors
/// What `work` says, or 500 when it panicked.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Refusal::internal(&error)),
    }
}
