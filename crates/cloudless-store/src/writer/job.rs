use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rusqlite::{Connection, ffi};

use super::database::execute;
use crate::{StoreError, error};

/// A write that somebody waits for.
pub(super) trait Job: Send {
    /// Whether it shares its transaction with no other job.
    fn is_alone(&self) -> bool;

    /// Runs the job. One that fails takes its own writes back and returns `Ok`; an error means that
    /// the whole transaction is lost.
    ///
    /// The first of a transaction needs no savepoint for that. In one, each page that the job
    /// changes is kept twice in memory, and many statements take longer the more of them there are:
    /// to delete an address book of 10,000 cards took half a minute.
    fn run(&mut self, connection: &Connection, is_first: bool) -> rusqlite::Result<()>;

    /// Tells the caller, once it is known whether the transaction was committed.
    fn answer(self: Box<Self>, commit: Result<(), Arc<rusqlite::Error>>);
}

pub(super) struct Operation<F, T> {
    is_alone: bool,
    operation: Option<F>,
    result: Option<rusqlite::Result<T>>,
    answer: SyncSender<Result<T, StoreError>>,
}

impl<F, T> Operation<F, T> {
    pub(super) fn new(is_alone: bool, operation: F) -> (Self, Receiver<Result<T, StoreError>>) {
        let (answer, receiver) = sync_channel(1);
        let job = Self {
            is_alone,
            operation: Some(operation),
            result: None,
            answer,
        };
        (job, receiver)
    }
}

impl<F, T> Job for Operation<F, T>
where
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn is_alone(&self) -> bool {
        self.is_alone
    }

    fn run(&mut self, connection: &Connection, is_first: bool) -> rusqlite::Result<()> {
        let Some(operation) = self.operation.take() else {
            return Ok(());
        };
        if !is_first {
            execute(connection, "SAVEPOINT job")?;
        }
        let result = operation(connection).map_err(error::named);
        let failed = result.is_err();
        self.result = Some(result);
        if connection.is_autocommit() {
            // Some errors, such as a full disk, roll the whole transaction back at once.
            let code = ffi::Error::new(ffi::SQLITE_ABORT_ROLLBACK);
            return Err(rusqlite::Error::SqliteFailure(code, None));
        }
        match (is_first, failed) {
            (true, false) => Ok(()),
            (true, true) => {
                execute(connection, "ROLLBACK")?;
                execute(connection, "BEGIN IMMEDIATE")
            }
            (false, false) => execute(connection, "RELEASE job"),
            (false, true) => {
                execute(connection, "ROLLBACK TO job")?;
                execute(connection, "RELEASE job")
            }
        }
    }

    fn answer(self: Box<Self>, commit: Result<(), Arc<rusqlite::Error>>) {
        let answer = match (self.result, commit) {
            (Some(Err(source)), _) => Err(StoreError::Write(source)),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (_, Err(source)) => Err(StoreError::Commit(source)),
            (None, Ok(())) => Err(StoreError::WriterStopped),
        };
        // Nobody waits for the answer of `write_later`.
        let _ = self.answer.send(answer);
    }
}
