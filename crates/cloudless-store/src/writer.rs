use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use rusqlite::{Connection, ffi};

use crate::StoreError;
use crate::checkpoint::Checkpoints;
use crate::error;

/// Callers beyond this many wait until the writer takes the next job.
const QUEUE: usize = 256;
/// The most jobs that share one commit, so that the first of them is answered soon.
const GROUP: usize = 256;

/// Without a job for this long, the writer is idle.
const IDLE: Duration = Duration::from_millis(500);
/// Left between two pieces of idle work for whoever comes meanwhile.
const PAUSE: Duration = Duration::from_millis(10);

/// What the writer does when it is idle: one short transaction at a time. Returns whether there is
/// more to do.
type IdleWork = fn(&Connection) -> rusqlite::Result<bool>;

/// The one thread that writes, and its queue.
///
/// Jobs that wait at the same moment share one transaction and so one fsync. Each but the first runs
/// in a savepoint of its own, so that a failing job takes no other with it, and is answered only after
/// the commit.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Option<SyncSender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// `committed` is called after each commit, before anybody is answered.
    pub(crate) fn start(
        connection: Connection,
        mut checkpoints: Checkpoints,
        idle_work: IdleWork,
        mut committed: impl FnMut(&Connection) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, jobs) = sync_channel(QUEUE);
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                let mut idle_after = Some(IDLE);
                let mut left_over = None;
                while let Some(first) = match left_over.take() {
                    Some(job) => Some(Some(job)),
                    None => next_job(&jobs, idle_after),
                } {
                    idle_after = match first {
                        Some(job) => {
                            left_over = write_group(&connection, job, &jobs, &mut committed);
                            Some(IDLE)
                        }
                        None => work_idly(&connection, idle_work).then_some(PAUSE),
                    };
                    checkpoints.follow(&connection);
                }
            })?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Runs `operation` in a transaction and returns its result once that is on disk. What changes
    /// very much runs `alone`, not in a savepoint after others.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        alone: bool,
        operation: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.enqueue(alone, operation)?
            .recv()
            .unwrap_or(Err(StoreError::WriterStopped))
    }

    /// Waits for room in the queue and returns where the answer will come.
    fn enqueue<T: Send + 'static>(
        &self,
        alone: bool,
        operation: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<Receiver<Result<T, StoreError>>, StoreError> {
        let (job, answer) = Operation::new(alone, operation);
        let queue = self.queue.as_ref().ok_or(StoreError::WriterStopped)?;
        queue
            .send(Box::new(job))
            .map_err(|_| StoreError::WriterStopped)?;
        Ok(answer)
    }

    /// Queues `operation` and returns at once; it is skipped when the queue is full.
    pub(crate) fn write_later(
        &self,
        operation: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
    ) {
        if let Some(queue) = &self.queue {
            let (job, _) = Operation::new(false, operation);
            if queue.try_send(Box::new(job)).is_err() {
                tracing::debug!("The writer is busy, a minor write was skipped");
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // The thread ends when its queue is empty and nobody can send to it.
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("The writer thread panicked");
        }
    }
}

trait Job: Send {
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

struct Operation<F, T> {
    is_alone: bool,
    operation: Option<F>,
    result: Option<rusqlite::Result<T>>,
    answer: SyncSender<Result<T, StoreError>>,
}

impl<F, T> Operation<F, T> {
    fn new(is_alone: bool, operation: F) -> (Self, Receiver<Result<T, StoreError>>) {
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

/// Waits for a job, at most until idle work may begin: `Some(None)`. `None` when no job will ever
/// come.
fn next_job(
    jobs: &Receiver<Box<dyn Job>>,
    idle_after: Option<Duration>,
) -> Option<Option<Box<dyn Job>>> {
    let Some(idle_after) = idle_after else {
        return jobs.recv().ok().map(Some);
    };
    match jobs.recv_timeout(idle_after) {
        Ok(job) => Some(Some(job)),
        Err(RecvTimeoutError::Timeout) => Some(None),
        Err(RecvTimeoutError::Disconnected) => None,
    }
}

fn work_idly(connection: &Connection, idle_work: IdleWork) -> bool {
    let more = execute(connection, "BEGIN IMMEDIATE").and_then(|()| {
        let more = idle_work(connection)?;
        execute(connection, "COMMIT")?;
        Ok(more)
    });
    more.unwrap_or_else(|error| {
        tracing::warn!(%error, "Work that had waited for an idle moment failed");
        roll_back(connection);
        false
    })
}

fn roll_back(connection: &Connection) {
    if !connection.is_autocommit()
        && let Err(error) = execute(connection, "ROLLBACK")
    {
        tracing::error!(%error, "Rolling back failed");
    }
}

/// Returns a job that came meanwhile and is to begin the next group.
fn write_group(
    connection: &Connection,
    first: Box<dyn Job>,
    jobs: &Receiver<Box<dyn Job>>,
    committed: &mut impl FnMut(&Connection),
) -> Option<Box<dyn Job>> {
    let mut group = vec![first];
    let mut left_over = None;
    let commit = run_group(connection, &mut group, jobs, &mut left_over).map_err(|source| {
        tracing::warn!(error = %source, jobs = group.len(), "A commit failed");
        roll_back(connection);
        Arc::new(source)
    });
    if commit.is_ok() {
        committed(connection);
    }
    for job in group {
        job.answer(commit.clone());
    }
    left_over
}

fn run_group(
    connection: &Connection,
    group: &mut Vec<Box<dyn Job>>,
    jobs: &Receiver<Box<dyn Job>>,
    left_over: &mut Option<Box<dyn Job>>,
) -> rusqlite::Result<()> {
    execute(connection, "BEGIN IMMEDIATE")?;
    group[0].run(connection, true)?;
    while group.len() < GROUP
        && !group[0].is_alone()
        && let Ok(mut job) = jobs.try_recv()
    {
        if job.is_alone() {
            *left_over = Some(job);
            break;
        }
        let result = job.run(connection, false);
        group.push(job);
        result?;
    }
    execute(connection, "COMMIT")
}

fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(sql)?;
    statement.execute([]).map(drop).map_err(error::named)
}

#[cfg(test)]
mod tests;
