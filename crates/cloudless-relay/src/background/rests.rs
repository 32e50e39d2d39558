//! When a background thread rests, so that others do not wait until the system takes the processor from
//! it: many systems look only every 4 ms.

use std::time::Duration;

/// What others took of the processor while the thread had work: they are more than interrupts.
const SHORT: Duration = Duration::from_millis(1);
/// For so long after that the thread goes on as if they were there.
const MEMORY: Duration = Duration::from_millis(100);
/// Then it works for so long at a time, or until its next task has done what it can,
const WORK: Duration = Duration::from_micros(100);
/// and then lets others go on for at least so long.
pub(super) const REST: Duration = Duration::from_micros(1000);

/// What clocks show, since whenever: that of the system, and that of the thread, which stands still
/// while others have the processor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    pub(super) system: Duration,
    pub(super) thread: Duration,
}

/// One thread's work and rests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rests {
    /// When it began to work after it had slept or rested.
    since: Clocks,
    /// Until when the processor is taken for shared.
    shared_until: Duration,
}

impl Rests {
    pub(super) const fn new() -> Self {
        let never = Duration::ZERO;
        Self {
            since: Clocks {
                system: never,
                thread: never,
            },
            shared_until: never,
        }
    }

    /// The thread has slept for want of work.
    pub(super) fn woke(&mut self, now: Clocks) {
        self.since = now;
    }

    /// It has done a piece of work. Returns whether it is time to rest.
    pub(super) fn worked(&mut self, now: Clocks) -> bool {
        let worked = now.thread.saturating_sub(self.since.thread);
        let passed = now.system.saturating_sub(self.since.system);
        if passed.saturating_sub(worked) > SHORT {
            self.shared_until = now.system + MEMORY;
        }
        if now.system < self.shared_until {
            return worked >= WORK;
        }
        if passed > MEMORY {
            // What interrupts take is little, but adds up.
            self.since = now;
        }
        false
    }

    /// It has rested since the clock of the system showed `then`.
    pub(super) fn rested(&mut self, then: Duration, now: Clocks) {
        if now.system.saturating_sub(then) > REST + SHORT {
            self.shared_until = now.system + MEMORY;
        }
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks(system: u64, thread: u64) -> Clocks {
        Clocks {
            system: Duration::from_micros(1_000_000 + system),
            thread: Duration::from_micros(thread),
        }
    }

    #[test]
    fn who_has_the_processor_alone_works_on() {
        let mut rests = Rests::new();
        rests.woke(clocks(0, 0));
        for n in 1..100_000 {
            assert!(!rests.worked(clocks(n * 100, n * 100 - n / 2)));
        }
    }

    #[test]
    fn who_shares_it_rests_often_until_nobody_has_wanted_it_for_a_while() {
        let mut rests = Rests::new();
        rests.woke(clocks(0, 0));
        assert!(!rests.worked(clocks(1_000, 50)));
        assert!(!rests.worked(clocks(3_000, 50)), "it has done little");
        assert!(rests.worked(clocks(3_100, 100)));
        rests.rested(clocks(3_100, 0).system, clocks(4_100, 100));
        assert!(!rests.worked(clocks(4_150, 150)));
        assert!(rests.worked(clocks(4_200, 200)));
        // It got the processor back late.
        rests.rested(clocks(4_200, 0).system, clocks(54_200, 200));
        assert!(rests.worked(clocks(154_100, 100_100)));
        rests.rested(clocks(154_100, 0).system, clocks(155_100, 100_100));
        assert!(!rests.worked(clocks(155_500, 100_500)));
    }
}
