//! Work that takes the processor for long, a little of it at a time.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;

/// Lets few of many tasks do such work before all other tasks have had their turn.
///
/// The runtime goes through ready tasks one after the other. Thousands of strangers who begin a TLS
/// handshake at once would be answered in one go, and every visitor would wait for all of that. Clones
/// are the same.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    /// Those that wait to begin stand in line here first.
    beginning: Arc<Semaphore>,
}

impl Turns {
    /// For one such task each time that all others had their turn, on each processor.
    pub(crate) fn new() -> Self {
        Self::of(std::thread::available_parallelism().map_or(1, usize::from))
    }

    fn of(n_tasks: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(n_tasks)),
            beginning: Arc::new(Semaphore::new(n_tasks)),
        }
    }

    /// Waits until it is this task's turn, in the order in which tasks asked.
    pub(crate) async fn wait(&self) -> Turn {
        // The semaphore is never closed; were it, work would go on without turns.
        let permit = Arc::clone(&self.all).acquire_owned().await.ok();
        // Held while the others have their turn.
        yield_now().await;
        Turn {
            turns: self.clone(),
            _permit: permit,
        }
    }

    /// The same for work that begins: little of it does each time that all that has begun had its turn.
    /// Were they all equal, a thousand that come at once would all be through at the same late moment, and
    /// those that do not wait so long would begin anew for ever.
    pub(crate) async fn begin(&self) -> Turn {
        let _permit = self.beginning.acquire().await.ok();
        self.wait().await
    }
}

/// One turn.
pub(crate) struct Turn {
    turns: Turns,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Turn {
    /// Does `work` now, and in further turns each time that it can go on.
    pub(crate) async fn take<T>(self, work: impl Future<Output = T>) -> T {
        let turns = self.turns.clone();
        let mut turn = self;
        let mut work = pin!(work);
        loop {
            let polled = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
            drop(turn);
            match polled {
                Poll::Ready(done) => return done,
                Poll::Pending => woken().await,
            }
            turn = turns.wait().await;
        }
    }
}

/// Waits until something wakes this task, which may have happened since the work was looked at.
async fn woken() {
    let mut is_second = false;
    poll_fn(|_| {
        if is_second {
            return Poll::Ready(());
        }
        is_second = true;
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::oneshot;
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn others_have_their_turn_between_any_two_of_many() {
        let turns = Turns::of(2);
        let n_done = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..100 {
            let (turns, n_done) = (turns.clone(), Arc::clone(&n_done));
            tasks.spawn(async move {
                let work = async { n_done.fetch_add(1, Ordering::Relaxed) };
                turns.wait().await.take(work).await;
            });
        }
        let mut before = 0;
        while before < 100 {
            yield_now().await;
            let now = n_done.load(Ordering::Relaxed);
            assert!(now - before <= 2, "{} in one turn", now - before);
            before = now;
        }
        tasks.join_all().await;
    }

    #[tokio::test]
    async fn what_has_begun_is_through_before_much_else_begins() {
        let turns = Turns::of(1);
        let n_begun = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..100 {
            let (turns, n_begun) = (turns.clone(), Arc::clone(&n_begun));
            tasks.spawn(async move {
                turns.begin().await;
                let now = n_begun.fetch_add(1, Ordering::Relaxed) + 1;
                assert!(now <= 10, "{now} are under way");
                for _ in 0..5 {
                    turns.wait().await;
                }
                n_begun.fetch_sub(1, Ordering::Relaxed);
            });
        }
        tasks.join_all().await;
    }

    #[tokio::test]
    async fn who_waits_for_something_holds_nobody_up() {
        let turns = Turns::of(1);
        let (sender, receiver) = oneshot::channel();
        let waiting = tokio::spawn({
            let turns = turns.clone();
            async move { turns.wait().await.take(receiver).await }
        });
        yield_now().await;
        assert_eq!(turns.wait().await.take(async { 1 }).await, 1);
        sender.send(2).unwrap();
        assert_eq!(waiting.await.unwrap(), Ok(2));
    }
}
