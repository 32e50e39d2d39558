use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::checkpoint::Checkpoints;
use crate::commits::Commits;
use crate::directory::Directory;
use crate::generation::Generation;
use crate::login::Logins;
use crate::readers::Readers;
use crate::writer::Writer;
use crate::{Actor, BookId, OpenError, StoreError, Untold, device, index, push, schema, sharing};

/// The schema version of the first program that kept a generation beside the database.
const GENERATION_SINCE: i64 = 2;

/// Users, devices, address books and cards in one directory.
///
/// A clone is another handle on the same store. When the last handle is dropped, waiting writes
/// are finished, the writer thread is joined and the directory's lock is released.
#[derive(Clone, Debug)]
pub struct Store {
    sqlite: Arc<Sqlite>,
    /// Who is not told of what is written through this handle.
    pub(crate) untold: Option<Arc<Untold>>,
    /// Whether its writes share no transaction with others.
    writes_alone: bool,
}

/// Fields are dropped in this order: the writer closes the database after the readers, which lets
/// it fold the write-ahead log in, and the lock goes last.
#[derive(Debug)]
struct Sqlite {
    readers: Readers,
    writer: Writer,
    commits: Arc<Commits>,
    logins: Logins,
    migration_copy: Option<PathBuf>,
    directory: Directory,
}

impl Store {
    /// Opens the store in `directory`, or makes an empty one there.
    ///
    /// The files are `store.sqlite`, its write-ahead log, and `store.lock`, which keeps every other
    /// process out; only this user can read them. A directory that is missing is made for this
    /// user alone; one that exists keeps its permissions. An older
    /// database is migrated, after it was copied to `store.sqlite.before-version-N`.
    ///
    /// # Errors
    ///
    /// [`OpenError::InUse`] when another process has it open, [`OpenError::TooNew`] when a newer
    /// program wrote it.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        Self::open_within(directory, Duration::ZERO)
    }

    /// The same for a home that starts: a command that looks at its contacts at that moment must not
    /// keep it from that. Blocks for as long as `wait` while another process has the store open.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub fn open_within(directory: &Path, wait: Duration) -> Result<Self, OpenError> {
        let directory = Directory::open(directory, wait)?;
        let path = directory.database();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open_error = OpenError::of_database(path);
        let mut connection = Connection::open_with_flags(path, flags).map_err(open_error)?;
        // SQLite opens a file to read when it fails to open it to write.
        if connection.is_readonly("main").map_err(open_error)? {
            return Err(OpenError::ReadOnly {
                path: path.to_owned(),
            });
        }
        let found = schema::prepare_writer(&connection, path)?;
        let is_new = found.version < GENERATION_SINCE;
        let mut generation = Generation::open(&connection, path, is_new)?;
        let commits = Arc::new(Commits::default());
        let told = commits.clone();
        let committed = move |connection: &Connection| {
            generation.follow(connection);
            told.tell();
        };
        let checkpoints = Checkpoints::take_over(&mut connection).map_err(open_error)?;
        let writer = Writer::start(connection, checkpoints, index::derived::catch_up, committed)
            .map_err(|source| OpenError::StartWriter {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            sqlite: Arc::new(Sqlite {
                readers: Readers::new(path.to_owned()),
                writer,
                commits,
                logins: Logins::default(),
                migration_copy: found.copy,
                directory,
            }),
            untold: None,
            writes_alone: false,
        })
    }

    /// Where the database was copied to before it was migrated, if that was done when this store was
    /// opened. Tell it: the copy is the way back to the older program, and takes room.
    pub fn migration_copy(&self) -> Option<&Path> {
        self.sqlite.migration_copy.as_deref()
    }

    /// All copies of before a migration that are there still.
    pub fn migration_copies(&self) -> Vec<PathBuf> {
        schema::copy::all(self.sqlite.directory.database())
    }

    /// Reads what may be a whole address book.
    pub(crate) fn read_long<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.sqlite.readers.read_long(read)
    }

    pub(crate) fn logins(&self) -> &Logins {
        &self.sqlite.logins
    }

    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.sqlite.readers.read(read)
    }

    /// The same store, whose writes share no transaction with others: for what changes a whole
    /// address book.
    pub(crate) fn alone(&self) -> Self {
        Self {
            writes_alone: true,
            ..self.clone()
        }
    }

    pub(crate) fn write<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        match self.untold.clone() {
            None => self.sqlite.writer.write(self.writes_alone, operation),
            Some(untold) => self
                .sqlite
                .writer
                .write(self.writes_alone, move |connection| {
                    push::untold(connection, &untold, operation)
                }),
        }
    }

    /// Writes for a device: what is revoked meanwhile writes nothing more.
    pub(crate) fn write_as<T: Send + 'static>(
        &self,
        actor: Actor,
        operation: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let written = self.write(move |connection| {
            let may_write = match actor.device {
                Some(device) => device::is_in_use(connection, device)?,
                None => true,
            };
            may_write.then(|| operation(connection)).transpose()
        })?;
        written.ok_or(StoreError::DeviceRevoked)
    }

    /// Writes into address books for a device: a share that is withdrawn meanwhile gives no more right
    /// to it.
    pub(crate) fn write_in_as<T: Send + 'static>(
        &self,
        books: impl IntoIterator<Item = BookId> + Send + 'static,
        actor: Actor,
        operation: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let written = self.write_as(actor, move |connection| {
            for book in books {
                if sharing::is_withheld(connection, book, actor)? {
                    return Ok(None);
                }
            }
            operation(connection).map(Some)
        })?;
        written.ok_or(StoreError::ShareWithdrawn)
    }

    pub(crate) fn commits(&self) -> &Commits {
        &self.sqlite.commits
    }

    pub(crate) fn write_later(
        &self,
        operation: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
    ) {
        self.sqlite.writer.write_later(operation);
    }
}

#[cfg(test)]
mod plans;
#[cfg(test)]
mod tests;
