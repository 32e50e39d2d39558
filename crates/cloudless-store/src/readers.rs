use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::{StoreError, error, schema};

/// Enough to keep every core of a small machine busy; more would only cost page cache.
const CONNECTIONS: usize = 8;
/// Connections that are kept for reads that take no time: what goes through a whole address book
/// waits for another one.
const FOR_BRIEF: usize = 4;
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
        self.read_with(self.lease(0)?, read)
    }

    /// Like [`Readers::read`], for what may go through a whole address book: however many of these
    /// there are, others need not wait for them.
    pub(crate) fn read_long<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.read_with(self.lease(FOR_BRIEF)?, read)
    }

    fn read_with<T>(
        &self,
        mut lease: Lease<'_>,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let connection = match &mut lease.slot {
            Some(connection) => connection,
            empty => empty.insert(self.connect().map_err(failed)?),
        };
        snapshot(connection, read).map_err(failed)
    }

    /// Waits for a connection besides so many that are to stay free.
    fn lease(&self, kept_free: usize) -> Result<Lease<'_>, StoreError> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut free, _) = self
            .freed
            .wait_timeout_while(free, WAIT, |free| free.len() <= kept_free)
            .unwrap_or_else(PoisonError::into_inner);
        if free.len() <= kept_free {
            return Err(StoreError::Busy);
        }
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

fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::Read(error::named(error))
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
        // One that waits may not take the last ones, another may.
        self.readers.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    #[test]
    fn however_many_read_at_length_the_others_need_not_wait() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test.sqlite");
        drop(Connection::open(&path).unwrap());
        let readers = Readers::new(path);
        let number =
            |connection: &Connection| connection.query_row("SELECT 7", [], |row| row.get(0));
        thread::scope(|scope| {
            let (started, starts) = channel();
            let gates: Vec<_> = (0..CONNECTIONS)
                .map(|_| {
                    let (open, gate) = channel::<()>();
                    let (readers, started) = (&readers, started.clone());
                    scope.spawn(move || {
                        readers.read_long(|_| {
                            started.send(()).unwrap();
                            // An error is a gate that was dropped, which opens it too.
                            let _ = gate.recv();
                            Ok(())
                        })
                    });
                    open
                })
                .collect();
            for _ in FOR_BRIEF..CONNECTIONS {
                starts.recv().unwrap();
            }
            let brief: i64 = readers.read(number).unwrap();
            assert_eq!(brief, 7);
            assert!(starts.try_recv().is_err(), "the others wait");
            drop(gates);
            for _ in 0..FOR_BRIEF {
                starts.recv().unwrap();
            }
        });
    }
}
