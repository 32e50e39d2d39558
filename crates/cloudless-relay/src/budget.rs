//! How many bytes one home's visitors may leave waiting in the relay.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// What one waiting chunk costs beside its bytes, so that a home cannot fill the memory with
/// chunks of one byte.
const CHUNK_OVERHEAD: usize = 64;

/// The bytes that wait for the visitors of one session, at most `max`.
///
/// Each stream may have a whole window waiting, and a visitor that stops reading
/// leaves it so. When all together wait for more, the stream with most waiting is evicted: one visitor
/// that does not read costs itself, not the others. Towards the home nothing is read that there is no
/// room for in the tunnel.
#[derive(Debug)]
pub(crate) struct Budget {
    max: usize,
    accounts: Mutex<Accounts>,
}

#[derive(Debug, Default)]
struct Accounts {
    /// What waits in all of those that are open.
    waiting: usize,
    next: u64,
    /// Without those that were evicted: they are as good as gone, and cost nobody else anything.
    open: HashMap<u64, Account>,
}

#[derive(Debug)]
struct Account {
    waiting: usize,
    evicted: CancellationToken,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            accounts: Mutex::default(),
        })
    }

    /// Opens the account of one stream, until the share is dropped.
    pub(crate) fn open(self: &Arc<Self>) -> Share {
        let evicted = CancellationToken::new();
        let mut accounts = self.lock();
        let number = accounts.next;
        accounts.next += 1;
        let account = Account {
            waiting: 0,
            evicted: evicted.clone(),
        };
        accounts.open.insert(number, account);
        Share {
            budget: Arc::clone(self),
            number,
            evicted,
            set_to: AtomicUsize::new(0),
        }
    }

    /// Sets what waits in one account to what `change` makes of it, and evicts the streams with most
    /// waiting until there is room for the others.
    fn change(&self, number: u64, change: impl FnOnce(usize) -> usize) {
        let mut accounts = self.lock();
        let Some(account) = accounts.open.get_mut(&number) else {
            return;
        };
        let before = account.waiting;
        let after = change(before);
        account.waiting = after;
        accounts.waiting = accounts.waiting - before + after;
        while accounts.waiting > self.max {
            let largest = accounts.open.iter().max_by_key(|(_, it)| it.waiting);
            let Some(number) = largest.map(|(number, _)| *number) else {
                return;
            };
            if let Some(account) = accounts.close(number) {
                account.evicted.cancel();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accounts {
    fn close(&mut self, number: u64) -> Option<Account> {
        let account = self.open.remove(&number)?;
        self.waiting -= account.waiting;
        Some(account)
    }
}

/// One stream's part of a [`Budget`].
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    number: u64,
    evicted: CancellationToken,
    /// What was [`set`](Self::set) last. Mostly nothing waits, neither before nor after.
    set_to: AtomicUsize,
}

impl Share {
    /// So many bytes wait now, and the largest stream is evicted if that is too much for all.
    pub(crate) fn set(&self, n: usize) {
        if self.set_to.swap(n, Ordering::Relaxed) != n {
            self.budget.change(self.number, |_| n);
        }
    }

    /// Notes that a chunk waits, and evicts the largest stream if that is too much for all.
    pub(crate) fn add(&self, chunk: usize) {
        let cost = chunk + CHUNK_OVERHEAD;
        self.budget.change(self.number, |waiting| waiting + cost);
    }

    /// Notes that a chunk waits no longer.
    pub(crate) fn subtract(&self, chunk: usize) {
        let cost = chunk + CHUNK_OVERHEAD;
        let less = |waiting: usize| waiting.saturating_sub(cost);
        self.budget.change(self.number, less);
    }

    /// Returns when this stream has to go.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.lock().close(self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn only_the_stream_with_most_waiting_goes() {
        let budget = Budget::new(1000);
        let [small, large, middle] = [(); 3].map(|()| budget.open());
        small.add(100);
        large.add(500);
        middle.add(300);
        let evicted = |share: &Share| share.evicted.is_cancelled();
        assert!(evicted(&large));
        // What is left fits, so nobody else goes while the large one is still there.
        small.add(10);
        assert!(!evicted(&small) && !evicted(&middle));
        drop(large);
        middle.add(400);
        assert!(evicted(&middle) && !evicted(&small));
    }

    #[test]
    fn what_is_written_or_dropped_is_given_back() {
        let budget = Budget::new(1000);
        let share = budget.open();
        for n in 0..100 {
            share.add(900);
            share.subtract(900);
            share.set(900 - n);
            share.set(0);
        }
        assert!(!share.evicted.is_cancelled());
        share.set(900);
        drop(share);
        assert_eq!(budget.lock().waiting, 0);
        assert!(budget.lock().open.is_empty());
    }

    /// Counted off twice, it would leave room for too much, or for nothing at all for ever.
    #[test]
    fn whoever_goes_while_it_is_evicted_is_counted_off_once() {
        let budget = Budget::new(1000);
        let idle = budget.open();
        thread::scope(|scope| {
            for n in [900, 900, 200, 200] {
                let budget = &budget;
                scope.spawn(move || {
                    for _ in 0..400_000 {
                        budget.open().set(n);
                    }
                });
            }
        });
        assert_eq!(budget.lock().waiting, 0);
        assert!(!idle.evicted.is_cancelled());
    }
}
