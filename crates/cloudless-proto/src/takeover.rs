//! Which of two sessions of the same home stays.
//!
//! A home that reconnects must never hear that its name is in use, and two live homes that share a
//! key by mistake must not throw each other out for ever. An instance number tells the two apart.

mod places;
mod process;

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::control::Refusal;

pub use places::{Newcomer, Places, Ruling};
pub use process::Process;

/// How long the relay waits for the old session's answer to a ping ([`Decision::Probe`]).
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// 128 random bits that a home draws once per process start, 32 hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Instance(#[serde(with = "crate::hex")] [u8; 16]);

impl Instance {
    /// The instance made of these random bytes.
    pub fn new(random: [u8; 16]) -> Self {
        Self(random)
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&crate::hex::encode(&self.0))
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Instance({self})")
    }
}

/// One tunnel session of a home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId {
    /// The process that dialed.
    pub instance: Instance,
    /// Counts the sessions of that process, upwards.
    pub epoch: u64,
}

/// What the relay does with a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// There is no other session: welcome it.
    Accept,
    /// Another process is connected with this key: ping its session, wait at most
    /// [`PROBE_TIMEOUT`], and let [`after_probe`] decide.
    Probe,
    /// Refuse the newcomer, the old session stays.
    Refuse(Refusal),
    /// Welcome the newcomer at once and close the old session without waiting for it.
    Replace,
}

/// Decides between the session that a key has, if any, and a newcomer with the same key.
///
/// Call it under the lock that also installs the newcomer, so that two newcomers meet one another.
pub fn decide(current: Option<SessionId>, newcomer: SessionId) -> Decision {
    let Some(current) = current else {
        return Decision::Accept;
    };
    if current.instance != newcomer.instance {
        Decision::Probe
    } else if newcomer.epoch > current.epoch {
        Decision::Replace
    } else {
        Decision::Refuse(Refusal::OldEpoch)
    }
}

/// Decides after a [`Decision::Probe`], given whether the probed session answered in time.
///
/// When the key's session is another one by then, call [`decide`] anew: the answer speaks only for
/// the session that was probed.
pub fn after_probe(answered: bool) -> Decision {
    if answered {
        Decision::Refuse(Refusal::OtherInstance)
    } else {
        Decision::Replace
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn session(instance: [u8; 16], epoch: u64) -> SessionId {
        SessionId {
            instance: Instance::new(instance),
            epoch,
        }
    }

    #[test]
    fn instances_are_hexadecimal_in_json() {
        let instance = Instance::new(*b"0123456789abcdef");
        let json = serde_json::to_string(&instance).unwrap();
        assert_eq!(json, "\"30313233343536373839616263646566\"");
        assert_eq!(serde_json::from_str::<Instance>(&json).unwrap(), instance);
        for wrong in [
            "\"\"",
            "\"3031\"",
            "\"zz313233343536373839616263646566\"",
            "7",
        ] {
            assert!(serde_json::from_str::<Instance>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_live_other_instance_stays_and_a_dead_one_goes() {
        assert_eq!(after_probe(true), Decision::Refuse(Refusal::OtherInstance));
        assert_eq!(after_probe(false), Decision::Replace);
    }

    #[test]
    fn neighboring_epochs() {
        let current = Some(session([1; 16], 7));
        let old_epoch = Decision::Refuse(Refusal::OldEpoch);
        assert_eq!(decide(current, session([1; 16], 6)), old_epoch);
        assert_eq!(decide(current, session([1; 16], 7)), old_epoch);
        assert_eq!(decide(current, session([1; 16], 8)), Decision::Replace);
    }

    proptest! {
        #[test]
        fn without_a_session_everybody_is_welcome(instance: [u8; 16], epoch: u64) {
            prop_assert_eq!(decide(None, session(instance, epoch)), Decision::Accept);
        }

        #[test]
        fn a_higher_epoch_always_replaces(instance: [u8; 16], low: u64, more in 1..=u64::MAX) {
            let high = low.saturating_add(more);
            prop_assume!(high > low);
            let decision = decide(Some(session(instance, low)), session(instance, high));
            prop_assert_eq!(decision, Decision::Replace);
        }

        #[test]
        fn an_old_epoch_never_wins(instance: [u8; 16], current: u64, back: u64) {
            let old = current.saturating_sub(back);
            let decision = decide(Some(session(instance, current)), session(instance, old));
            prop_assert_eq!(decision, Decision::Refuse(Refusal::OldEpoch));
        }

        #[test]
        fn another_instance_is_never_replaced_unasked(
            current: [u8; 16], newcomer: [u8; 16], epochs: (u64, u64),
        ) {
            prop_assume!(current != newcomer);
            let decision = decide(Some(session(current, epochs.0)), session(newcomer, epochs.1));
            prop_assert_eq!(decision, Decision::Probe);
        }

        /// Whatever order the sessions of one process arrive in, the newest one ends up in place.
        #[test]
        fn the_newest_session_of_an_instance_wins(
            instance: [u8; 16],
            epochs in proptest::collection::vec(any::<u64>(), 1..20),
        ) {
            let mut current = None;
            for &epoch in &epochs {
                let newcomer = session(instance, epoch);
                if matches!(decide(current, newcomer), Decision::Accept | Decision::Replace) {
                    current = Some(newcomer);
                }
            }
            let newest = epochs.iter().max().map(|&epoch| session(instance, epoch));
            prop_assert_eq!(current, newest);
        }
    }
}
