use tokio_util::sync::CancellationToken;

use crate::config::{Config, Listeners};
use crate::registry::Registry;

/// Why the relay ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The relay's own key is unusable.
    #[error("cannot prove the relay's identity to homes")]
    Identity(#[source] crate::IdentityError),
}

/// Serves until `shutdown` is cancelled, then drains and ends.
///
/// # Errors
/// When the configuration cannot be served.
pub async fn run(
    config: Config,
    registry: Registry,
    listeners: Listeners,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let _ = (config, registry, listeners);
    shutdown.cancelled().await;
    Ok(())
}
