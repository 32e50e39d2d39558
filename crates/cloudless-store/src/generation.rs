use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::UNIX_EPOCH;

use rusqlite::Connection;

use crate::directory::private_file;
use crate::{OpenError, Store, StoreError};

impl Store {
    /// Gives every address book a new incarnation, so that no sync token of before is taken for one
    /// of a state that it never meant: every device syncs anew, and loses nothing. Call it after a
    /// backup was restored; [`Store::open`] does it by itself when it notices that.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn renew_incarnations(&self) -> Result<(), StoreError> {
        self.write(renew_incarnations)
    }
}

/// What the directory knows of its database beside the database itself, to notice that an older
/// one was put in its place: its sync tokens would then lie.
#[derive(Debug)]
pub(crate) struct Generation {
    file: File,
    known: Mark,
}

/// Which file the database is, and how far its history has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    newest_version: u64,
    inode: u64,
    /// Inodes are used again. Nanoseconds; 0 if the file system does not tell.
    created_at: u64,
}

impl Generation {
    /// Renews all incarnations if the database is not the one of the last time, or behind it.
    /// `is_new` tells that it had no such file yet.
    pub(crate) fn open(
        connection: &Connection,
        database: &Path,
        is_new: bool,
    ) -> Result<Self, OpenError> {
        let path = database.with_extension("generation");
        let prepare = |source| OpenError::PrepareFile {
            path: path.clone(),
            source,
        };
        let sqlite = OpenError::of_database(database);
        let mut file = private_file(&path).map_err(prepare)?;
        let mut text = String::new();
        // A damaged file is like a missing one.
        let known = match file.read_to_string(&mut text) {
            Ok(_) => Mark::parse(&text),
            Err(_) => None,
        };
        let mark = Mark {
            newest_version: newest_version(connection).map_err(sqlite)?,
            ..Mark::of(database).map_err(prepare)?
        };
        if !is_new && !known.is_some_and(|known| known.leads_to(mark)) {
            renew_incarnations(connection).map_err(sqlite)?;
            tracing::info!(
                "The database was replaced, perhaps by a backup: every device syncs anew"
            );
        }
        let generation = Self { file, known: mark };
        generation.write().map_err(prepare)?;
        generation.file.sync_all().map_err(prepare)?;
        Ok(generation)
    }

    /// Follows the database after a commit. The file is not synced: after a power cut it may be
    /// behind the database, and is never before it.
    pub(crate) fn follow(&mut self, connection: &Connection) {
        let newest = newest_version(connection).unwrap_or(self.known.newest_version);
        if newest != self.known.newest_version {
            self.known.newest_version = newest;
            if let Err(error) = self.write() {
                tracing::debug!(%error, "The generation of the database cannot be written");
            }
        }
    }

    fn write(&self) -> io::Result<()> {
        self.file.write_all_at(self.known.to_text().as_bytes(), 0)
    }
}

impl Mark {
    fn of(database: &Path) -> io::Result<Self> {
        let metadata = database.metadata()?;
        let created = metadata.created().ok();
        let since_epoch = created.and_then(|created| created.duration_since(UNIX_EPOCH).ok());
        let nanoseconds = since_epoch.and_then(|since| u64::try_from(since.as_nanos()).ok());
        Ok(Self {
            newest_version: 0,
            inode: metadata.ino(),
            created_at: nanoseconds.unwrap_or(0),
        })
    }

    /// Whether the database may have come from this mark to `later` by itself.
    fn leads_to(self, later: Self) -> bool {
        self.newest_version <= later.newest_version
            && (self.inode, self.created_at) == (later.inode, later.created_at)
    }

    /// Always of the same length, so that it is written over.
    fn to_text(self) -> String {
        let Self {
            newest_version,
            inode,
            created_at,
        } = self;
        format!("{newest_version:016x} {inode:016x} {created_at:016x}\n")
    }

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text
            .split_whitespace()
            .map(|number| u64::from_str_radix(number, 16).ok());
        let mark = Self {
            newest_version: numbers.next()??,
            inode: numbers.next()??,
            created_at: numbers.next()??,
        };
        numbers.next().is_none().then_some(mark)
    }
}

/// Grows with each change of a card, and never goes back.
fn newest_version(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT coalesce(max(id), 0) FROM versions")?
        .query_row([], |row| row.get(0))
}

fn renew_incarnations(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE address_books SET incarnation = lower(hex(randomblob(16)))")?
        .execute([])
        .map(drop)
}
