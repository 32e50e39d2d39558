use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::directory::{private_file, sync_parent};

/// What follows the name of a database in those of its copies, before a version.
const BEFORE_VERSION: &str = ".before-version-";

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
    target.push(format!("{BEFORE_VERSION}{version}"));
    let target = PathBuf::from(target);
    to_file(connection, &target)?;
    Ok(target)
}

/// The copies that [`before_migration`] made of the database at this path and that are there still,
/// sorted.
pub(crate) fn all(path: &Path) -> Vec<PathBuf> {
    let (Some(directory), Some(database)) = (path.parent(), path.file_name()) else {
        return Vec::new();
    };
    let is_copy = |file: &PathBuf| {
        let name = file.file_name().map(|name| name.to_string_lossy());
        let name = name.unwrap_or_default();
        let version = name
            .strip_prefix(&*database.to_string_lossy())
            .and_then(|rest| rest.strip_prefix(BEFORE_VERSION));
        version.is_some_and(|version| version.parse::<u32>().is_ok())
    };
    let files = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut copies: Vec<_> = files.map(|file| file.path()).filter(is_copy).collect();
    copies.sort_unstable();
    copies
}

/// Copies the database as it is at this moment to a file for this user alone. A file that is there
/// is replaced, but only by a whole one. Others may write meanwhile if the connection is in a
/// transaction.
pub(crate) fn to_file(
    connection: &Connection,
    target: &Path,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut partial = target.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);

    let copied = copy(connection, &partial).and_then(|()| {
        fs::rename(&partial, target)?;
        // Whoever is told of a failure finds no file and can try again.
        Ok(sync_parent(target).inspect_err(|_| drop(fs::remove_file(target)))?)
    });
    if copied.is_err() {
        // A disk that is full gets its room back. The first failure is the one to tell.
        let _ = fs::remove_file(&partial);
    }
    copied
}

fn copy(
    connection: &Connection,
    partial: &Path,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let file = private_file(partial)?;
    file.set_len(0)?;
    let mut copy = Connection::open(partial)?;
    rusqlite::backup::Backup::new(connection, &mut copy)?.step(ALL_PAGES)?;
    copy.close().map_err(|(_, error)| error)?;
    Ok(file.sync_all()?)
}
