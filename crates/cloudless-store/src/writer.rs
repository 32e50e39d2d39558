//! The one place that writes, and who waits for it.
//!
//! There is one connection that writes. Whoever finds it free writes on the spot: to wake up a thread
//! and to be woken up by it takes about as long as the write itself. Whoever does not queues, and a
//! thread writes what waits, all of it in one transaction and so with one fsync.

mod database;
mod job;

use std::collections::VecDeque;
#[cfg(test)]
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fmt, io};

use rusqlite::Connection;

use self::database::{Database, LaterWork};
use self::job::{Job, Operation};
use crate::StoreError;
use crate::checkpoint::Checkpoints;

/// Callers beyond this many wait until there is room.
const QUEUE: usize = 256;

/// Without a job for this long, the writer is idle. What a write left for later waits no longer than
/// that, unless it is such that only idle moments are good enough.
const IDLE: Duration = Duration::from_millis(500);
/// Left between two pieces of such work for whoever comes meanwhile.
const PAUSE: Duration = Duration::from_millis(10);

/// Jobs that wait at the same moment share one transaction. Each but the first runs in a savepoint of
/// its own, so that a failing job takes no other with it, and is answered only after the commit.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    /// There is something to do for the thread.
    called: Condvar,
    /// There is room in the queue again, or the writer has stopped.
    has_room: Condvar,
}

struct State {
    jobs: VecDeque<Box<dyn Job>>,
    /// `None` while somebody writes.
    free: Option<Database>,
    /// When to do what had waited; `None` when there is nothing.
    work_from: Option<Instant>,
    /// From when on nobody has written for a while.
    idle_from: Instant,
    /// The thread ends when nothing waits any more.
    is_ending: bool,
    /// A job panicked: nobody knows what its transaction holds.
    has_stopped: bool,
}

impl Writer {
    /// `committed` is called after each commit, before anybody is answered.
    pub(crate) fn start(
        connection: Connection,
        checkpoints: Checkpoints,
        later_work: LaterWork,
        committed: impl FnMut(&Connection) + Send + 'static,
    ) -> io::Result<Self> {
        let database = Database {
            connection,
            checkpoints,
            later_work,
            committed: Box::new(committed),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                free: Some(database),
                work_from: Some(Instant::now() + IDLE),
                idle_from: Instant::now() + IDLE,
                is_ending: false,
                has_stopped: false,
            }),
            called: Condvar::new(),
            has_room: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || while of_thread.work_when_called() {})?;
        Ok(Self {
            shared,
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
        let (job, answer) = Operation::new(alone, operation);
        let job = Box::new(job);
        match self.shared.turn_on_the_spot() {
            Some(turn) => turn.write(job),
            None => self.shared.enqueue(job)?,
        }
        answer.recv().unwrap_or(Err(StoreError::WriterStopped))
    }

    /// Leaves a job to the thread, waits for room in the queue and returns where the answer will come.
    #[cfg(test)]
    fn enqueue<T: Send + 'static>(
        &self,
        alone: bool,
        operation: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<Receiver<Result<T, StoreError>>, StoreError> {
        let (job, answer) = Operation::new(alone, operation);
        self.shared.enqueue(Box::new(job))?;
        Ok(answer)
    }

    /// Queues `operation` and returns at once; it is skipped when the queue is full.
    pub(crate) fn write_later(
        &self,
        operation: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
    ) {
        let (job, _) = Operation::new(false, operation);
        let state = self.shared.lock();
        if state.jobs.len() < QUEUE {
            self.shared.push(state, Box::new(job));
        } else {
            tracing::debug!("The writer is busy, a minor write was skipped");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.lock().is_ending = true;
        self.shared.called.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("The writer thread panicked");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to write, if nobody writes or waits for that.
    fn turn_on_the_spot(&self) -> Option<Turn<'_>> {
        let mut state = self.lock();
        if !state.jobs.is_empty() {
            return None;
        }
        // The thread would wait for its turn as long as others are faster.
        let database = state.free.take_if(|it| !it.needs_checkpoint())?;
        Some(Turn::new(self, database, Use::Write))
    }

    /// Waits for room in the queue.
    fn enqueue(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        let is_full = |state: &mut State| !state.has_stopped && state.jobs.len() >= QUEUE;
        let state = self.has_room.wait_while(self.lock(), is_full);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        if state.has_stopped {
            return Err(StoreError::WriterStopped);
        }
        self.push(state, job);
        Ok(())
    }

    fn push(&self, mut state: MutexGuard<'_, State>, job: Box<dyn Job>) {
        state.jobs.push_back(job);
        // Who writes at this moment calls the thread in the end.
        if state.free.is_some() {
            self.called.notify_one();
        }
    }

    /// The next job, unless it is to run alone.
    fn next_of_group(&self) -> Option<Box<dyn Job>> {
        let job = self.lock().jobs.pop_front_if(|job| !job.is_alone())?;
        self.has_room.notify_one();
        Some(job)
    }

    /// What the thread does: waits until there is something to do, and does it. Returns whether there
    /// may be more.
    fn work_when_called(&self) -> bool {
        let mut state = self.lock();
        loop {
            if state.has_stopped {
                return false;
            }
            let now = Instant::now();
            let Some(database) = state.free.take() else {
                // Who writes at this moment calls when it is over.
                state.work_from = None;
                state = self
                    .called
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if database.needs_checkpoint() {
                drop(state);
                Turn::new(self, database, Use::Checkpoint).checkpoint();
                return true;
            }
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                self.has_room.notify_one();
                Turn::new(self, database, Use::Write).write(job);
                return true;
            }
            let work_in = state
                .work_from
                .map(|from| from.saturating_duration_since(now));
            if work_in == Some(Duration::ZERO) && !state.is_ending {
                let is_idle = state.idle_from <= now;
                drop(state);
                let used_for = Use::Work {
                    is_idle,
                    has_more: false,
                };
                Turn::new(self, database, used_for).work(is_idle);
                return true;
            }
            state.free = Some(database);
            if state.is_ending {
                return false;
            }
            state = match work_in {
                None => self
                    .called
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(work_in) => {
                    let waited = self.called.wait_timeout(state, work_in);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared(..)")
    }
}

/// The right to write, given back when dropped.
struct Turn<'a> {
    shared: &'a Shared,
    database: Option<Database>,
    used_for: Use,
}

/// What a turn is used for.
enum Use {
    Checkpoint,
    Write,
    /// What had waited; `has_more` says that some of it waits still.
    Work {
        is_idle: bool,
        has_more: bool,
    },
}

impl<'a> Turn<'a> {
    fn new(shared: &'a Shared, database: Database, used_for: Use) -> Self {
        Self {
            shared,
            database: Some(database),
            used_for,
        }
    }

    fn write(mut self, first: Box<dyn Job>) {
        if let Some(database) = &mut self.database {
            database.write(first, || self.shared.next_of_group());
        }
    }

    fn work(mut self, is_idle: bool) {
        let database = self.database.as_ref();
        let has_more = database.is_some_and(|database| database.work(is_idle));
        self.used_for = Use::Work { is_idle, has_more };
    }

    fn checkpoint(mut self) {
        if let Some(database) = &mut self.database {
            database.checkpoint();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if thread::panicking() {
            state.has_stopped = true;
            // Who waits for them is told so.
            state.jobs.clear();
            self.shared.has_room.notify_all();
            self.shared.called.notify_one();
            return;
        }
        let has_work = !state.jobs.is_empty()
            || self
                .database
                .as_ref()
                .is_some_and(Database::needs_checkpoint);
        state.free = self.database.take();
        let now = Instant::now();
        let waits_without_end = state.work_from.is_none();
        match self.used_for {
            Use::Checkpoint => {}
            Use::Write => {
                state.idle_from = now + IDLE;
                state.work_from.get_or_insert(now + IDLE);
            }
            Use::Work { has_more: true, .. } => state.work_from = Some(now + PAUSE),
            Use::Work { is_idle, .. } => state.work_from = (!is_idle).then_some(state.idle_from),
        }
        let has_moment = waits_without_end && state.work_from.is_some();
        if has_work || has_moment || state.is_ending {
            self.shared.called.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
