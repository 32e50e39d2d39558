//! How many of a kind there may be at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Connections of one kind, wherever they are from.
#[derive(Debug, Default)]
pub(crate) struct Total(AtomicUsize);

impl Total {
    /// Counts one until the permit is dropped; `None` when there are `max` already.
    pub(crate) fn admit(self: &Arc<Self>, max: usize) -> Option<TotalPermit> {
        let more = |now| (now < max).then_some(now + 1);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        Some(TotalPermit(Arc::clone(self)))
    }
}

/// One counted connection.
#[derive(Debug)]
pub(crate) struct TotalPermit(Arc<Total>);

impl Drop for TotalPermit {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_counts_who_is_there() {
        let total = Arc::new(Total::default());
        let first = total.admit(1).unwrap();
        assert!(total.admit(1).is_none());
        // A limit that was raised holds at once.
        assert!(total.admit(2).is_some());
        drop(first);
        assert!(total.admit(1).is_some());
    }
}
