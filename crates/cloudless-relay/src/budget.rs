//! How many bytes one home's visitors may leave waiting in the relay.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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
    waiting: AtomicUsize,
    accounts: Mutex<Accounts>,
}

#[derive(Debug, Default)]
struct Accounts {
    next: u64,
    open: HashMap<u64, Arc<Account>>,
}

#[derive(Debug, Default)]
struct Account {
    waiting: AtomicUsize,
    is_evicted: AtomicBool,
    evicted: CancellationToken,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            waiting: AtomicUsize::new(0),
            accounts: Mutex::default(),
        })
    }

    /// Opens the account of one stream, until the share is dropped.
    pub(crate) fn open(self: &Arc<Self>) -> Share {
        let account = Arc::new(Account::default());
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let number = accounts.next;
        accounts.next += 1;
        accounts.open.insert(number, Arc::clone(&account));
        Share {
            budget: Arc::clone(self),
            account,
            number,
        }
    }

    /// Evicts the streams with most waiting, until the others have no more than there is room for.
    fn evict_largest(&self) {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        while self.waiting.load(Ordering::Relaxed) > self.max {
            let staying = accounts
                .open
                .values()
                .filter(|account| !account.is_evicted());
            let Some(largest) = staying.max_by_key(|it| it.waiting.load(Ordering::Relaxed)) else {
                return;
            };
            largest.is_evicted.store(true, Ordering::Relaxed);
            largest.evicted.cancel();
            // It is as good as gone, and costs nobody else anything from here on.
            let waiting = largest.waiting.swap(0, Ordering::Relaxed);
            self.waiting.fetch_sub(waiting, Ordering::Relaxed);
        }
    }
}

impl Account {
    fn is_evicted(&self) -> bool {
        self.is_evicted.load(Ordering::Relaxed)
    }
}

/// One stream's part of a [`Budget`].
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    account: Arc<Account>,
    number: u64,
}

impl Share {
    /// So many bytes wait now, and the largest stream is evicted if that is too much for all.
    pub(crate) fn set(&self, n: usize) {
        if self.account.is_evicted() {
            return;
        }
        let before = self.account.waiting.swap(n, Ordering::Relaxed);
        if n <= before {
            self.budget.waiting.fetch_sub(before - n, Ordering::Relaxed);
        } else {
            self.more(n - before);
        }
    }

    /// Notes that a chunk waits, and evicts the largest stream if that is too much for all.
    pub(crate) fn add(&self, chunk: usize) {
        if self.account.is_evicted() {
            return;
        }
        let cost = chunk + CHUNK_OVERHEAD;
        self.account.waiting.fetch_add(cost, Ordering::Relaxed);
        self.more(cost);
    }

    fn more(&self, n: usize) {
        let waiting = self.budget.waiting.fetch_add(n, Ordering::Relaxed) + n;
        if waiting > self.budget.max {
            self.budget.evict_largest();
        }
    }

    /// Notes that a chunk waits no longer.
    pub(crate) fn subtract(&self, chunk: usize) {
        let cost = chunk + CHUNK_OVERHEAD;
        let less = |waiting: usize| Some(waiting.saturating_sub(cost));
        let (ordering, account) = (Ordering::Relaxed, &self.account.waiting);
        // Of one that was evicted nothing is counted any more.
        if let Ok(before) = account.fetch_update(ordering, ordering, less) {
            self.budget.waiting.fetch_sub(before.min(cost), ordering);
        }
    }

    /// Returns when this stream has to go.
    pub(crate) async fn evicted(&self) {
        self.account.evicted.cancelled().await;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let waiting = self.account.waiting.load(Ordering::Relaxed);
        self.budget.waiting.fetch_sub(waiting, Ordering::Relaxed);
        let mut accounts = self
            .budget
            .accounts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        accounts.open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stream_with_most_waiting_goes() {
        let budget = Budget::new(1000);
        let [small, large, middle] = [(); 3].map(|()| budget.open());
        small.add(100);
        large.add(500);
        middle.add(300);
        let evicted = |share: &Share| share.account.evicted.is_cancelled();
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
        assert!(!share.account.evicted.is_cancelled());
        share.set(900);
        drop(share);
        assert_eq!(budget.waiting.load(Ordering::Relaxed), 0);
        assert!(budget.accounts.lock().unwrap().open.is_empty());
    }
}
