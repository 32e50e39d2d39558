//! Wrong logins are told late, so that guessing costs more than it does here.
//!
//! A right login is never looked at here: however many guess, no device is locked out. What
//! protects a password is that it is 128 random bits; what is bounded here is work and memory.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use http::header::RETRY_AFTER;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::refusal::Refusal;

/// So many wrong logins for one user are told at once: a phone whose password was revoked asks
/// more than once.
const FREE: u32 = 3;
/// The delay after these; it is doubled with each further one.
const DELAY_MIN: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(3);
/// After this time without one, the count begins anew.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// Wrong logins of all users that wait at a time. The next one is refused at once.
const WAITING_MAX: usize = 256;
/// Users are told apart by this many counts; names that share one are slowed together. It has a
/// bound because anybody can make names up.
const COUNTS: usize = 1024;

const RETRY_AFTER_SECONDS: http::HeaderValue = http::HeaderValue::from_static("10");

/// The wrong logins of late. A clone is another handle on the same ones.
#[derive(Clone)]
pub(crate) struct Guesses(Arc<Shared>);

struct Shared {
    counts: Mutex<Box<[Count]>>,
    /// Nobody can choose names that share a count with another one.
    hasher: RandomState,
    waiting: Semaphore,
}

#[derive(Clone, Copy, Default)]
struct Count {
    wrong: u32,
    last: Option<Instant>,
}

impl Guesses {
    /// Waits before a wrong login for this user is told, whether or not there is such a user.
    ///
    /// # Errors
    /// 429 when too many wait.
    pub(crate) async fn delay(&self, user: &str) -> Result<(), Refusal> {
        let delay = self.count(user, Instant::now());
        if delay.is_zero() {
            return Ok(());
        }
        let Ok(_place) = self.0.waiting.try_acquire() else {
            let reason = "Too many wrong logins at a time. A right one is let in all the same.";
            return Err(Refusal::text(StatusCode::TOO_MANY_REQUESTS, reason)
                .with_header(RETRY_AFTER, RETRY_AFTER_SECONDS));
        };
        sleep(delay).await;
        Ok(())
    }

    /// Counts one, and says how long it has to wait.
    fn count(&self, user: &str, now: Instant) -> Duration {
        let hash = self.0.hasher.hash_one(user);
        // Less than COUNTS.
        let index = (hash % COUNTS as u64) as usize;
        let mut counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = &mut counts[index];
        if count.last.is_none_or(|last| now - last > FORGOTTEN_AFTER) {
            count.wrong = 0;
        }
        *count = Count {
            wrong: count.wrong.saturating_add(1),
            last: Some(now),
        };
        match count.wrong.checked_sub(FREE + 1) {
            None => Duration::ZERO,
            Some(doublings) => DELAY_MIN
                .saturating_mul(1 << doublings.min(16))
                .min(DELAY_MAX),
        }
    }
}

impl Default for Guesses {
    fn default() -> Self {
        Self(Arc::new(Shared {
            counts: Mutex::new(vec![Count::default(); COUNTS].into()),
            hasher: RandomState::new(),
            waiting: Semaphore::new(WAITING_MAX),
        }))
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_wrong_login_is_told_later_than_the_one_before_up_to_a_bound() {
        let guesses = Guesses::default();
        let mut delays = Vec::new();
        for _ in 0..10 {
            let start = Instant::now();
            guesses.delay("anna").await.unwrap();
            delays.push(start.elapsed().as_millis());
        }
        let expected = [0, 0, 0, 100, 200, 400, 800, 1600, 3000, 3000];
        let at_least = |(delay, expected): (&u128, &u128)| delay.abs_diff(*expected) <= 2;
        assert!(delays.iter().zip(&expected).all(at_least), "{delays:?}");
        tokio::time::advance(FORGOTTEN_AFTER + DELAY_MIN).await;
        let start = Instant::now();
        guesses.delay("anna").await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_wait_than_there_are_places_and_places_are_given_back() {
        let guesses = Guesses::default();
        for _ in 0..FREE {
            guesses.delay("anna").await.unwrap();
        }
        let mut waiting = JoinSet::new();
        for _ in 0..WAITING_MAX + 10 {
            let guesses = guesses.clone();
            waiting.spawn(async move { guesses.delay("anna").await.is_ok() });
        }
        let told = waiting.join_all().await;
        assert_eq!(told.iter().filter(|it| **it).count(), WAITING_MAX);
        guesses.delay("anna").await.unwrap();
    }
}
