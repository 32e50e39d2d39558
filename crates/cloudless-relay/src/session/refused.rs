//! The last word to a home that is not served.

use std::time::Duration;

use cloudless_proto::control::{FromRelay, Refusal};

use crate::run::Relay;

/// Why a home is turned away.
pub(super) struct Refused {
    refusal: Refusal,
    message: String,
    retry_after_ms: Option<u64>,
}

impl Refused {
    /// `message` is for people to read.
    pub(super) fn new(refusal: Refusal, message: &str) -> Self {
        Self {
            refusal,
            message: message.to_owned(),
            retry_after_ms: None,
        }
    }

    /// Another try makes sense after `wait`.
    pub(super) fn for_now(mut self, wait: Duration) -> Self {
        self.retry_after_ms = u64::try_from(wait.as_millis()).ok();
        self
    }

    /// Some home has to leave first.
    pub(super) fn full() -> Self {
        let message = "as many homes are online as this relay takes";
        Self::new(Refusal::RateLimited, message)
    }

    /// The relay is at fault, and another try may succeed.
    pub(super) fn unavailable() -> Self {
        let message = "the relay cannot write its state: its operator finds the cause in its log";
        Self::new(Refusal::RateLimited, message)
    }

    /// The message to the home, which is counted with this.
    pub(super) fn counted(self, relay: &Relay) -> FromRelay {
        relay.counters.count(self.refusal.into());
        FromRelay::Refused {
            reason: self.refusal,
            message: self.message,
            retry_after_ms: self.retry_after_ms,
        }
    }
}
