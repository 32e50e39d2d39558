//! Whether visitors reach a home under its names, as far as somebody looks.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use cloudless_proto::Hostname;
use cloudless_proto::control::Reach;

use crate::status::ProbeStatus;

/// The most characters of a home's words that are kept.
const MESSAGE_MAX: usize = 500;

/// What is known of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    /// Nobody looks, so that a tunnel that is up is all that is known.
    Nobody,
    /// Somebody looks, and has not found out yet.
    NotYet,
    /// What was found.
    Found(ProbeStatus),
}

impl Looked {
    /// Whether there is no more reason to say that visitors do not get there.
    pub(crate) fn is_well(&self) -> bool {
        match self {
            Self::Nobody => true,
            Self::NotYet => false,
            Self::Found(probe) => probe.error.is_none(),
        }
    }

    pub(crate) fn found(self) -> Option<ProbeStatus> {
        match self {
            Self::Nobody | Self::NotYet => None,
            Self::Found(probe) => Some(probe),
        }
    }
}

/// What a home has told of its names in one session.
#[derive(Debug, Default)]
pub(crate) struct Reaches(Mutex<BTreeMap<Hostname, Looked>>);

impl Reaches {
    /// Keeps what a home tells of one of `names`, which are all of its own. Returns why visitors do not
    /// get there, if so. `now` is Unix time in seconds.
    pub(crate) fn told(
        &self,
        names: &[Hostname],
        hostname: Hostname,
        (reach, message): (Reach, Option<String>),
        now: u64,
    ) -> Option<String> {
        let found = |error| Looked::Found(ProbeStatus { at: now, error });
        let looked = match reach {
            Reach::Untested => Looked::Nobody,
            Reach::Checking => Looked::NotYet,
            Reach::Works => found(None),
            Reach::Fails => found(Some(printable(message.as_deref().unwrap_or_default()))),
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A home may say what it likes, but of its own names.
        all.retain(|name, _| names.contains(name));
        if !names.contains(&hostname) {
            return None;
        }
        let error = looked.clone().found().and_then(|probe| probe.error);
        all.insert(hostname, looked);
        error
    }

    /// What is known of this name.
    pub(crate) fn of(&self, hostname: &Hostname) -> Looked {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(hostname).cloned().unwrap_or(Looked::Nobody)
    }
}

/// A home's words without what could confuse a terminal, and not too many of them.
fn printable(message: &str) -> String {
    let characters = message.chars().filter(|it| !it.is_control());
    let message: String = characters.take(MESSAGE_MAX).collect();
    match message.is_empty() {
        true => "home does not reach itself under this name".to_owned(),
        false => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Hostname {
        text.parse().unwrap()
    }

    #[test]
    fn a_home_tells_of_its_own_names_alone() {
        let reaches = Reaches::default();
        let [own, other, foreign] = ["a.example", "b.example", "c.example"].map(name);
        let names = [own.clone(), other.clone()];
        assert!(reaches.of(&own).is_well(), "an older home says nothing");
        let say = |names: &[Hostname], hostname: &Hostname, reach, message: &str| {
            let message = (!message.is_empty()).then(|| message.to_owned());
            reaches.told(names, hostname.clone(), (reach, message), 7)
        };
        assert_eq!(say(&names, &own, Reach::Checking, ""), None);
        assert_eq!(reaches.of(&own), Looked::NotYet);
        assert!(!reaches.of(&own).is_well());
        let error = say(&names, &own, Reach::Fails, "no \x1b[2Jaddress").unwrap();
        assert_eq!(error, "no [2Jaddress");
        assert!(!reaches.of(&own).is_well());
        assert_eq!(reaches.of(&own).found().unwrap().at, 7);
        assert!(
            say(&names, &other, Reach::Fails, &"x".repeat(9_999))
                .unwrap()
                .len()
                <= 500
        );
        assert!(say(&names, &other, Reach::Fails, "").is_some());
        assert_eq!(say(&names, &foreign, Reach::Fails, "no"), None);
        assert_eq!(reaches.of(&foreign), Looked::Nobody);
        assert_eq!(say(&names, &own, Reach::Works, ""), None);
        assert!(reaches.of(&own).is_well() && reaches.of(&own).found().is_some());
        // What is no name of its own any more is not kept.
        say(&names[1..], &other, Reach::Untested, "");
        assert_eq!(reaches.0.lock().unwrap().len(), 1);
        assert_eq!(reaches.of(&other), Looked::Nobody);
    }
}
