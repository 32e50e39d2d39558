//! How many bytes one home's visitors may leave waiting in the relay.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cloudless_proto::control::FRAME_LEN;
use cloudless_splice::Chunk;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// What is read of a visitor at a time: two frames of the tunnel.
const READ_LEN: usize = 2 * FRAME_LEN;
/// How many visitors of a home have room of their own for what they send: more than there are.
const SENDERS_MAX: usize = 1024;
const OWN_LEN_MIN: usize = 4 * 1024;

/// What one waiting chunk costs beside its bytes, so that a home cannot fill the memory with
/// chunks of one byte.
const CHUNK_OVERHEAD: usize = 64;

/// The bytes that wait in all streams of one session, at most `max` each way.
///
/// Towards visitors each stream may have a whole window waiting, and a visitor that stops reading
/// leaves it so. When all together wait for more, the stream with most waiting is evicted: one visitor
/// that does not read costs itself, not the others.
///
/// Towards the home nothing is read that there is no room for. Half of the room is for whoever comes
/// first; the other half is divided among all visitors, so that those who send little never wait for
/// those who send much.
#[derive(Debug)]
pub(crate) struct Budget {
    max: usize,
    /// What is left of the half for all, in bytes.
    common: Arc<Semaphore>,
    own_len: usize,
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
            common: Arc::new(Semaphore::new((max / 2).max(READ_LEN))),
            own_len: (max / 2 / SENDERS_MAX).clamp(OWN_LEN_MIN, READ_LEN),
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
            own: Arc::new(Semaphore::new(self.own_len)),
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
    /// What is left of the visitor's own room towards the home, in bytes.
    own: Arc<Semaphore>,
}

impl Share {
    /// Waits until there is room for bytes that the visitor sends. May be dropped at any time.
    pub(crate) async fn room(&self) -> Room {
        let (common, own) = (&self.budget.common, &self.own);
        let own_len = self.budget.own_len;
        // Neither is ever closed.
        let permit = tokio::select! {
            biased;
            permit = Arc::clone(common).acquire_many_owned(READ_LEN as u32) => permit,
            permit = Arc::clone(own).acquire_many_owned(own_len as u32) => permit,
        };
        Room(permit.ok())
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

/// Room for bytes that a visitor sends, until they are sent on to its home.
#[derive(Debug)]
pub(crate) struct Room(Option<OwnedSemaphorePermit>);

impl Room {
    /// So much may be read.
    pub(crate) fn len(&self) -> usize {
        self.0
            .as_ref()
            .map_or(READ_LEN, |permit| permit.num_permits())
    }

    /// What was read. It takes its room until the last reference to it is dropped.
    pub(crate) fn fill(self, chunk: Chunk) -> Bytes {
        let Chunk { bytes, held } = chunk;
        let room = self.0.and_then(|mut permit| permit.split(held));
        Bytes::from_owner(Waiting { bytes, _room: room })
    }
}

/// Bytes that wait to be sent, and their room.
struct Waiting {
    bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Waiting {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// What a visitor reads of so many bytes that it could.
    fn read(share: &Share, n: usize) -> Option<Bytes> {
        let room = pin!(share.room()).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(room) = room else {
            return None;
        };
        let n = n.min(room.len());
        let bytes = vec![7; n].into();
        Some(room.fill(Chunk { bytes, held: n }))
    }

    #[test]
    fn towards_home_who_sends_much_leaves_room_to_who_sends_little() {
        const MAX: usize = 8 * 1024 * 1024;
        let budget = Budget::new(MAX);
        let uploads: Vec<Share> = (0..SENDERS_MAX - 1).map(|_| budget.open()).collect();
        let mut waiting = Vec::new();
        for upload in &uploads {
            while let Some(bytes) = read(upload, READ_LEN) {
                waiting.push(bytes);
            }
        }
        let total = |waiting: &[Bytes]| waiting.iter().map(Bytes::len).sum::<usize>();
        assert!(total(&waiting) > MAX / 2 && total(&waiting) <= MAX);
        let small = budget.open();
        let bytes = read(&small, 100).unwrap();
        assert_eq!(bytes.len(), 100);
        // Few bytes take the room of few.
        assert_eq!(small.own.available_permits(), budget.own_len - 100);
        // What is sent is room for others, also when parts of it are sent one by one.
        let mut sent = waiting.swap_remove(0);
        let last = sent.split_off(sent.len() - 1);
        drop(sent);
        assert_eq!(read(&uploads[0], READ_LEN), None);
        drop(last);
        assert_eq!(read(&uploads[1], READ_LEN).unwrap().len(), READ_LEN);
        drop((waiting, bytes));
        assert_eq!(budget.common.available_permits(), MAX / 2);
    }

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
        for _ in 0..100 {
            share.add(900);
            share.subtract(900);
        }
        share.add(900);
        drop(share);
        assert_eq!(budget.waiting.load(Ordering::Relaxed), 0);
        assert!(budget.accounts.lock().unwrap().open.is_empty());
    }
}
