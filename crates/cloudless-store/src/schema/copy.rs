use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::directory::{private_file, sync_parent};

/// All pages in one step: nobody else writes while the store is opened.
const ALL_PAGES: i32 = -1;

/// Copies the database to `<path>.before-version-<version>`, so that a migration can be undone by
/// hand. An earlier copy of that name is replaced, but only by a whole one.
pub(super) fn before_migration(
    connection: &Connection,
    path: &Path,
    version: i64,
) -> Result<PathBuf, Box<dyn std::error::Error + Send + Sync>> {
    let mut target = path.as_os_str().to_owned();
    target.push(format!(".before-version-{version}"));
    let target = PathBuf::from(target);
    let mut partial = target.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);

    let file = private_file(&partial)?;
    file.set_len(0)?;
    let mut copy = Connection::open(&partial)?;
    rusqlite::backup::Backup::new(connection, &mut copy)?.step(ALL_PAGES)?;
    copy.close().map_err(|(_, error)| error)?;
    file.sync_all()?;
    fs::rename(&partial, &target)?;
    sync_parent(&target)?;
    Ok(target)
}
