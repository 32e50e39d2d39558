//! How far a visitor and its home are in what they say to each other.

use std::sync::atomic::{AtomicU64, Ordering};

/// So many bytes of a home after the second message of a visitor are more than the TLS alert that
/// ends a session, and less than what goes on with one: session tickets (RFC 8446 section 4.6.1), the
/// Finished message of TLS 1.2 with the first answer.
const ANSWER_LEN: u64 = 64;

/// A first answer is longer: the shortest ones that go on with a session have some 140 bytes. A
/// HelloRetryRequest (RFC 8446 section 4.1.4), for which a server computes nothing, has fewer.
const RETRY_LEN: u64 = 120;

/// From 0 to here the state is how many bytes of the first answer came,
const ANSWERED: u64 = RETRY_LEN;
/// and from here on how many of the second one.
const SAID_MORE: u64 = ANSWERED + 1;
const IS_TALK: u64 = SAID_MORE + ANSWER_LEN;

/// Tells a talk from a ClientHello that somebody sends to see what it costs, by who speaks when and
/// how long; what is said is nobody's business here.
///
/// It is a talk as soon as the home has gone on after the visitor's second message. Whoever speaks
/// between two pieces of the first answer looks like one, too.
#[derive(Debug, Default)]
pub(crate) struct Exchange(AtomicU64);

impl Exchange {
    /// The visitor said something after its hello.
    pub(crate) fn up(&self) {
        if self.0.load(Ordering::Relaxed) == ANSWERED {
            let (said, relaxed) = (SAID_MORE, Ordering::Relaxed);
            // Where it fails the other direction was faster, or somebody else said it.
            let _ = self.0.compare_exchange(ANSWERED, said, relaxed, relaxed);
        }
    }

    /// The home said so many bytes. Returns whether it is by these that this is a talk: once.
    pub(crate) fn down(&self, n: u64) -> bool {
        if self.0.load(Ordering::Relaxed) == IS_TALK {
            return false;
        }
        let relaxed = Ordering::Relaxed;
        let further = |state| match state {
            ANSWERED | IS_TALK => None,
            first if first < ANSWERED => Some(first.saturating_add(n).min(ANSWERED)),
            second => Some(second.saturating_add(n).min(IS_TALK)),
        };
        let before = self.0.fetch_update(relaxed, relaxed, further);
        before.is_ok_and(|state| further(state) == Some(IS_TALK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_and_a_request_are_a_talk_once() {
        let exchange = Exchange::default();
        assert!(!exchange.down(2_000) && !exchange.down(2_000));
        exchange.up();
        exchange.up();
        // Session tickets, in two pieces.
        assert!(!exchange.down(40));
        assert!(exchange.down(100));
        exchange.up();
        assert!(!exchange.down(1_000));
    }

    #[test]
    fn a_hello_an_answer_and_an_alert_are_none() {
        let silent = Exchange::default();
        assert!(!silent.down(5_000) && !silent.down(5_000));
        let impatient = Exchange::default();
        // Early data is a part of the first message.
        impatient.up();
        assert!(!impatient.down(5_000) && !impatient.down(5_000));
        let retried = Exchange::default();
        assert!(!retried.down(99));
        retried.up();
        assert!(!retried.down(4_000) && !retried.down(4_000));
        let wrong = Exchange::default();
        assert!(!wrong.down(5_000));
        wrong.up();
        assert!(!wrong.down(24));
    }
}
