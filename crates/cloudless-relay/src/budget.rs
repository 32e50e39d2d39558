//! How many bytes one home's visitors may leave waiting in the relay.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
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

    fn evict_largest(&self) {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = |account: &Account| account.waiting.load(Ordering::Relaxed);
        let staying = || {
            let open = accounts.open.values();
            open.filter(|account| !account.evicted.is_cancelled())
        };
        if staying().map(|account| waiting(account)).sum::<usize>() <= self.max {
            return;
        }
        if let Some(largest) = staying().max_by_key(|account| waiting(account)) {
            largest.evicted.cancel();
        }
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
        let before = self.account.waiting.swap(n, Ordering::Relaxed);
        if n <= before {
            self.budget.waiting.fetch_sub(before - n, Ordering::Relaxed);
            return;
        }
        let more = n - before;
        let waiting = self.budget.waiting.fetch_add(more, Ordering::Relaxed) + more;
        if waiting > self.budget.max {
            self.budget.evict_largest();
        }
    }

    /// Notes that a chunk waits, and evicts the largest stream if that is too much for all.
    pub(crate) fn add(&self, chunk: usize) {
        let cost = chunk + CHUNK_OVERHEAD;
        self.account.waiting.fetch_add(cost, Ordering::Relaxed);
        let waiting = self.budget.waiting.fetch_add(cost, Ordering::Relaxed) + cost;
        if waiting > self.budget.max {
            self.budget.evict_largest();
        }
    }

    /// Notes that a chunk waits no longer.
    pub(crate) fn subtract(&self, chunk: usize) {
        let cost = chunk + CHUNK_OVERHEAD;
        self.account.waiting.fetch_sub(cost, Ordering::Relaxed);
        self.budget.waiting.fetch_sub(cost, Ordering::Relaxed);
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
