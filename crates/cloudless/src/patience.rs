//! What a thread of the runtime does before it sleeps.

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

/// Others that keep the processor for longer have work of their own, which is not for this program.
const LONG: Duration = Duration::from_micros(500);
/// How long a thread then sleeps at once, as any other does.
const REST: Duration = Duration::from_millis(20);

thread_local! {
    static PATIENCE: Cell<Patience> = const { Cell::new(Patience { none_until: None }) };
}

/// Lets others have the processor once before this thread sleeps.
///
/// Phone, relay, home and a server behind it are each other's input. Where they share processors, what
/// the others do meanwhile is often the next thing to be done here: it is found without the sleep and the
/// wake-up, which cost more than a small request, and more of it at a time. Where nobody else wants the
/// processor this is one system call.
pub(crate) fn give_way() {
    let mut patience = PATIENCE.get();
    let before = Instant::now();
    if patience.is_left(before) {
        thread::yield_now();
        patience.gave_way(before, Instant::now());
        PATIENCE.set(patience);
    }
}

/// Whether a thread gives way.
#[derive(Clone, Copy, Debug)]
struct Patience {
    none_until: Option<Instant>,
}

impl Patience {
    fn is_left(self, now: Instant) -> bool {
        self.none_until.is_none_or(|until| now >= until)
    }

    /// Others had the processor from then to now.
    fn gave_way(&mut self, then: Instant, now: Instant) {
        self.none_until = (now - then > LONG).then(|| now + REST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waited_long_for_others_rests_from_it() {
        let mut patience = Patience { none_until: None };
        let start = Instant::now();
        assert!(patience.is_left(start));
        patience.gave_way(start, start + LONG);
        assert!(patience.is_left(start + LONG));
        patience.gave_way(start, start + 2 * LONG);
        assert!(!patience.is_left(start + REST));
        assert!(patience.is_left(start + 2 * LONG + REST));
    }
}
