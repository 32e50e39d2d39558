//! What tells this process's sessions from one another, and from those of a twin: a virtual machine
//! that was copied while it ran has two of everything, the instance too.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Instance, SessionId};

/// This process as one relay knows it.
#[derive(Debug)]
pub struct Process {
    /// The last epoch used at any relay.
    epochs: Arc<AtomicU64>,
    /// The last one used at this relay.
    last: Mutex<SessionId>,
}

impl Process {
    /// Nothing is used up yet at this relay. Processes with the same `epochs` are one, at several relays.
    pub fn new(instance: Instance, epochs: Arc<AtomicU64>) -> Self {
        Self {
            epochs,
            last: Mutex::new(SessionId { instance, epoch: 0 }),
        }
    }

    /// For a session that is about to say Hello.
    pub fn next_session(&self) -> SessionId {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.epoch = self.epochs.fetch_add(1, Ordering::Relaxed) + 1;
        *last
    }

    /// The relay knows a newer session of this instance than `refused`. If this process has made none,
    /// somebody else has: with `fresh` for an instance from here on the relay can tell the two apart,
    /// and refuses the second one instead of letting them replace each other for ever. Returns whether
    /// that was so.
    pub fn outdated(&self, refused: SessionId, fresh: Instance) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let has_twin = *last == refused;
        if has_twin {
            last.instance = fresh;
        }
        has_twin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_session_can_tell_of_a_twin() {
        let [instance, fresh] = [1, 2].map(|byte| Instance::new([byte; 16]));
        let process = Process::new(instance, Arc::default());
        let (first, second) = (process.next_session(), process.next_session());
        assert_eq!((first.epoch, second.epoch), (1, 2));
        assert!(!process.outdated(first, fresh));
        assert_eq!(process.next_session().instance, instance);
        let last = process.next_session();
        assert!(process.outdated(last, fresh));
        let next = process.next_session();
        assert_eq!((next.instance, next.epoch), (fresh, 5));
        // What another dial of before hears late changes nothing.
        assert!(!process.outdated(last, instance));
    }
}
