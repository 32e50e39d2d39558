//! How many visitors a home takes at a time.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The streams of one session that visitors have open.
///
/// HTTP/2 itself would queue streams beyond the home's limit (RFC 9113 section 5.1.2), and keep
/// them queued when their visitors have gone: a home with a low limit would fill the relay.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    n_open: AtomicUsize,
    freed: Notify,
    /// Told apart: of those that wait for a slot, one is woken for each.
    emptied: Notify,
}

impl Slots {
    /// Waits for a slot; `streams_max` is the home's limit, which the control stream counts
    /// against too.
    pub(crate) async fn acquire(self: &Arc<Self>, streams_max: impl Fn() -> usize) -> Slot {
        let mut freed = pin!(self.freed.notified());
        loop {
            // Enabled before the look, so that a slot freed after it is not missed.
            freed.as_mut().enable();
            let one_more = |n_open: usize| (n_open + 1 < streams_max()).then_some(n_open + 1);
            let acquired = self
                .n_open
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
            if acquired.is_ok() {
                return Slot(Arc::clone(self));
            }
            freed.as_mut().await;
            freed.set(self.freed.notified());
        }
    }

    /// Returns once no visitor has one.
    pub(crate) async fn all_free(&self) {
        let mut emptied = pin!(self.emptied.notified());
        loop {
            emptied.as_mut().enable();
            if self.n_open.load(Ordering::Relaxed) == 0 {
                return;
            }
            emptied.as_mut().await;
            emptied.set(self.emptied.notified());
        }
    }
}

/// One visitor's place, free again when dropped.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Slots>);

impl Drop for Slot {
    fn drop(&mut self) {
        let n_before = self.0.n_open.fetch_sub(1, Ordering::Relaxed);
        self.0.freed.notify_one();
        if n_before == 1 {
            self.0.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_freed_slot_is_its_waiting_visitors_also_while_the_last_is_waited_for() {
        let slots = Arc::new(Slots::default());
        let take = || match poll(pin!(slots.acquire(|| 3))) {
            Poll::Ready(slot) => slot,
            Poll::Pending => panic!("no slot is free"),
        };
        let (first, second) = (take(), take());
        let mut all_free = pin!(slots.all_free());
        assert!(poll(all_free.as_mut()).is_pending());
        let mut visitor = pin!(slots.acquire(|| 3));
        assert!(poll(visitor.as_mut()).is_pending());

        drop(first);
        let Poll::Ready(third) = poll(visitor) else {
            panic!("the visitor has missed the slot");
        };
        assert!(poll(all_free.as_mut()).is_pending());
        drop(second);
        assert!(poll(all_free.as_mut()).is_pending());
        drop(third);
        assert!(poll(all_free).is_ready());
        assert!(poll(pin!(slots.all_free())).is_ready());
    }
}
