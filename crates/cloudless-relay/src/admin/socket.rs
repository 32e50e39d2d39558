//! The 0600 Unix socket that carries [`Command`]s.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

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
