//! Channels that home has closed before the server.

use std::sync::atomic::{AtomicUsize, Ordering};

/// So many of one session. russh keeps some kilobytes of each until the session ends, and sessions last
/// for months.
const MAX: usize = 16 * 1024;

/// How many there were in one session.
#[derive(Debug, Default)]
pub(super) struct Closings(AtomicUsize);

impl Closings {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the session has to be replaced for them: said again only after as many more.
    pub(super) fn are_too_many(&self) -> bool {
        let less = |n: usize| n.checked_sub(MAX);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.0.fetch_update(set, fetch, less).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_replaced_once_for_many() {
        let closings = Closings::default();
        for round in 0..3 {
            for n in 1..MAX {
                closings.add();
                assert!(!closings.are_too_many(), "{n} of {round}");
            }
            closings.add();
            assert!(closings.are_too_many());
            assert!(!closings.are_too_many());
        }
    }
}
