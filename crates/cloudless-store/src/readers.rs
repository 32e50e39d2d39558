use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::{StoreError, schema};

/// Enough to keep every core of a small machine busy; more would only cost page cache.
const CONNECTIONS: usize = 8;
/// Each connection's page cache; the operating system keeps the file in memory too.
const CACHE_KIB: i64 = 1024;
const WAIT: Duration = Duration::from_secs(10);

/// A bounded pool of read-only connections, opened when first needed.
#[derive(Debug)]
pub(crate) struct Readers {
    database: PathBuf,
    /// `None` stands for a connection that may still be opened. The last one used is taken first,
    /// because its cache is warm.
    free: Mutex<Vec<Option<Connection>>>,
    freed: Condvar,
}

impl Readers {
    pub(crate) fn new(database: PathBuf) -> Self {
        Self {
            database,
            free: Mutex::new((0..CONNECTIONS).map(|_| None).collect()),
            freed: Condvar::new(),
        }
    }

    /// Runs `read` on one snapshot of the database.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut lease = self.lease()?;
        let connection = match &mut lease.slot {
            Some(connection) => connection,
            empty => empty.insert(self.connect().map_err(StoreError::Read)?),
        };
        snapshot(connection, read).map_err(StoreError::Read)
    }

    fn lease(&self) -> Result<Lease<'_>, StoreError> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut free, _) = self
            .freed
            .wait_timeout_while(free, WAIT, |free| free.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        let slot = free.pop().ok_or(StoreError::Busy)?;
        Ok(Lease {
            readers: self,
            slot,
        })
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.database, flags)?;
        schema::configure(&connection)?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        Ok(connection)
    }
}

/// Runs `read` between a BEGIN and a COMMIT that are prepared once.
fn snapshot<T>(
    connection: &Connection,
    read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.prepare_cached("BEGIN")?.execute([])?;
    let _end = End(connection);
    read(connection)
}

/// Ends the snapshot, also when reading panics: the next one must not begin inside it.
struct End<'a>(&'a Connection);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let end = self.0.prepare_cached("COMMIT");
        if let Err(error) = end.and_then(|mut statement| statement.execute([])) {
            tracing::error!(%error, "A snapshot could not be ended");
        }
    }
}

/// The right to one connection, given back when dropped.
struct Lease<'a> {
    readers: &'a Readers,
    slot: Option<Connection>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.readers
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(self.slot.take());
        self.readers.freed.notify_one();
    }
}
