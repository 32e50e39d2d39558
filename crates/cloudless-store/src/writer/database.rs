use std::sync::Arc;

use rusqlite::Connection;

use super::job::Job;
use crate::checkpoint::Checkpoints;
use crate::error;

/// The most jobs that share one commit, so that the first of them is answered soon.
const GROUP: usize = 256;

/// What writes left for later: one short transaction at a time. It is told whether nobody has written
/// for a while, and returns whether there is more that it would do at such a moment.
pub(crate) type LaterWork = fn(&Connection, bool) -> rusqlite::Result<bool>;

/// The connection that writes, and what follows a write.
pub(super) struct Database {
    pub(super) connection: Connection,
    pub(super) checkpoints: Checkpoints,
    pub(super) later_work: LaterWork,
    /// Called after each commit, before anybody is answered.
    pub(super) committed: Box<dyn FnMut(&Connection) + Send>,
}

impl Database {
    /// Runs a job, and those that come meanwhile, in one transaction, and answers them.
    pub(super) fn write(
        &mut self,
        first: Box<dyn Job>,
        next: impl FnMut() -> Option<Box<dyn Job>>,
    ) {
        let mut group = vec![first];
        let commit = self.run_group(&mut group, next).map_err(|source| {
            tracing::warn!(error = %source, jobs = group.len(), "A commit failed");
            roll_back(&self.connection);
            Arc::new(source)
        });
        if commit.is_ok() {
            (self.committed)(&self.connection);
        }
        for job in group {
            job.answer(commit.clone());
        }
    }

    fn run_group(
        &self,
        group: &mut Vec<Box<dyn Job>>,
        mut next: impl FnMut() -> Option<Box<dyn Job>>,
    ) -> rusqlite::Result<()> {
        execute(&self.connection, "BEGIN IMMEDIATE")?;
        group[0].run(&self.connection, true)?;
        while group.len() < GROUP
            && !group[0].is_alone()
            && let Some(mut job) = next()
        {
            let result = job.run(&self.connection, false);
            group.push(job);
            result?;
        }
        execute(&self.connection, "COMMIT")
    }

    /// Returns whether there is more to do.
    pub(super) fn work(&self, is_idle: bool) -> bool {
        let more = execute(&self.connection, "BEGIN IMMEDIATE").and_then(|()| {
            let more = (self.later_work)(&self.connection, is_idle)?;
            execute(&self.connection, "COMMIT")?;
            Ok(more)
        });
        more.unwrap_or_else(|error| {
            tracing::warn!(%error, "Work that had waited failed");
            roll_back(&self.connection);
            false
        })
    }

    pub(super) fn needs_checkpoint(&self) -> bool {
        self.checkpoints.are_due()
    }

    pub(super) fn checkpoint(&mut self) {
        self.checkpoints.fold_in(&self.connection);
    }
}

fn roll_back(connection: &Connection) {
    if !connection.is_autocommit()
        && let Err(error) = execute(connection, "ROLLBACK")
    {
        tracing::error!(%error, "Rolling back failed");
    }
}

pub(super) fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(sql)?;
    statement.execute([]).map(drop).map_err(error::named)
}
