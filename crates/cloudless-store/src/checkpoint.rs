//! Folding the write-ahead log into the database file.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ffi};

/// The log is folded in when it has so many pages: those that change often are then written back
/// less often.
const PAGES: i32 = 4_000;

/// Decides when the writer folds the log in, in place of SQLite, which tells nobody of a failure.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    /// How many pages the log had after the last commit.
    pages: Arc<AtomicI32>,
    /// How many it must have for the next checkpoint. `None`: there is none until the store is
    /// opened again.
    next: Option<i32>,
}

impl Checkpoints {
    /// Ends SQLite's own checkpoints on the connection of the writer.
    pub(crate) fn take_over(connection: &mut Connection) -> rusqlite::Result<Self> {
        let pages = Arc::new(AtomicI32::new(0));
        let seen = Arc::clone(&pages);
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            seen.store(pages, Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Self {
            pages,
            next: Some(PAGES),
        })
    }

    /// Whether the last commit has made the log so long that it is to be folded in.
    pub(crate) fn are_due(&self) -> bool {
        let pages = self.pages.load(Ordering::Relaxed);
        self.next.is_some_and(|next| pages >= next)
    }

    /// Folds the log in. Call it when nobody waits for an answer.
    pub(crate) fn fold_in(&mut self, connection: &Connection) {
        // The next commit tells how long it is then.
        let pages = self.pages.swap(0, Ordering::Relaxed);
        let folded = connection
            .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")
            .and_then(|mut statement| statement.query_row([], |_| Ok(())));
        self.next = match folded {
            Ok(()) => Some(PAGES),
            Err(error) if is_sync_failure(&error) => {
                tracing::warn!(
                    %error,
                    "The disk failed to keep the database file: all changes are safe in the log \
                     beside it, which grows until home is restarted; check the disk"
                );
                // After a failed fsync the system may have forgotten pages that it counts as
                // written, and the next fsync succeeds. So the log is kept whole: whoever opens
                // the store next folds all of it in anew.
                let kept =
                    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
                if let Err(error) = kept {
                    tracing::error!(%error, "The log will be folded in at the end");
                }
                None
            }
            Err(error) => {
                tracing::warn!(%error, "The log cannot be folded into the database yet: check the disk");
                Some(pages.saturating_add(PAGES))
            }
        };
    }
}

fn is_sync_failure(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    code == Some(ffi::SQLITE_IOERR_FSYNC)
}
