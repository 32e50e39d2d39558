pub(crate) mod copy;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ffi};

use crate::OpenError;

/// The step at index `n` leads from schema version `n` to `n + 1`. A released step never changes.
const MIGRATIONS: &[&str] = &[
    include_str!("schema/version_1.sql"),
    include_str!("schema/version_2.sql"),
    include_str!("schema/version_3.sql"),
];

/// Another program, such as a backup, may hold the database for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The value of `synchronous` with which each commit is followed by an fsync.
const FULL: i64 = 2;

/// Sets what every connection needs.
pub(crate) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Else a statement is prepared again whenever a value that is bound to it changes.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Contacts never go to temporary files outside of the state directory.
    connection.pragma_update(None, "temp_store", "MEMORY")
}

/// What a database was before it was made ready.
pub(crate) struct Found {
    /// Its schema version; 0 if it is new.
    pub(crate) version: i64,
    /// Where it was copied to before it was migrated.
    pub(crate) copy: Option<PathBuf>,
}

/// Makes `connection` the writer: durable commits, foreign keys, the newest schema.
pub(crate) fn prepare_writer(connection: &Connection, path: &Path) -> Result<Found, OpenError> {
    let database = OpenError::of_database(path);
    configure(connection).map_err(database)?;
    let found = version(connection, path, MIGRATIONS)?;
    let journal_mode = use_write_ahead_log(connection).map_err(database)?;
    if journal_mode != "wal" {
        return Err(OpenError::NoWriteAheadLog {
            path: path.to_owned(),
            journal_mode,
        });
    }
    let set = |name, value: i64| {
        connection
            .pragma_update(None, name, value)
            .map_err(database)
    };
    set("synchronous", FULL)?;
    set("journal_size_limit", 64 << 20)?;
    set("cache_size", -8 << 10)?;
    let known = newest(MIGRATIONS);
    let mut copy = None;
    if (1..known).contains(&found) {
        let copied = copy::before_migration(connection, path, known);
        let copied = copied.map_err(|source| OpenError::CopyBeforeMigration {
            path: path.to_owned(),
            source,
        })?;
        tracing::info!(copy = %copied.display(), "Copied the database before migrating it");
        copy = Some(copied);
    }
    migrate(connection, path, found, MIGRATIONS)?;
    set("foreign_keys", 1)?;
    Ok(Found {
        version: found,
        copy,
    })
}

/// Returns the journal mode that the database then has.
fn use_write_ahead_log(connection: &Connection) -> rusqlite::Result<String> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // What the change itself returns is what was asked for, even when the disk refused it: the mode
    // of the file is known after a read.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    connection.pragma_query_value(None, "journal_mode", |row| row.get(0))
}

/// The schema version of the file, if this program knows it.
fn version(connection: &Connection, path: &Path, migrations: &[&str]) -> Result<i64, OpenError> {
    let known = newest(migrations);
    let found = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(OpenError::of_database(path))?;
    if found > known {
        return Err(OpenError::TooNew {
            path: path.to_owned(),
            found,
            known,
        });
    }
    Ok(found)
}

fn newest(migrations: &[&str]) -> i64 {
    i64::try_from(migrations.len()).unwrap_or(i64::MAX)
}

/// Takes all missing steps in one transaction, so that a database that a killed program left is
/// either as it was copied or in the newest version.
///
/// Foreign keys are off meanwhile, because rebuilding a table needs that; they are checked before
/// the commit.
fn migrate(
    connection: &Connection,
    path: &Path,
    found: i64,
    migrations: &[&str],
) -> Result<(), OpenError> {
    let newest = newest(migrations);
    if found == newest {
        return Ok(());
    }
    let mut version = found;
    let migrated = (|| {
        connection.pragma_update(None, "foreign_keys", false)?;
        let transaction = connection.unchecked_transaction()?;
        for (step, sql) in (1..).zip(migrations).filter(|(step, _)| *step > found) {
            version = step;
            transaction.execute_batch(sql)?;
        }
        let broken = transaction
            .prepare("SELECT 1 FROM pragma_foreign_key_check")?
            .exists([])?;
        if broken {
            let code = ffi::Error::new(ffi::SQLITE_CONSTRAINT_FOREIGNKEY);
            return Err(rusqlite::Error::SqliteFailure(code, None));
        }
        transaction.pragma_update(None, "user_version", newest)?;
        transaction.commit()
    })();
    migrated.map_err(|source| OpenError::Migrate {
        path: path.to_owned(),
        version,
        source,
    })?;
    if found > 0 {
        tracing::info!(from = found, to = newest, "Migrated the database");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
