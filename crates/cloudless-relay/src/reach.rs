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
    /// Some visitors get there, and some do not, as the error says.
    Partly(ProbeStatus),
    /// What was found.
    Found(ProbeStatus),
}

impl Looked {
    /// Whether visitors get there, unless they are known not to.
    pub(crate) fn is_well(&self) -> bool {
        match self {
            Self::Nobody | Self::Partly(_) => true,
            Self::NotYet => false,
            Self::Found(probe) => probe.error.is_none(),
        }
    }

    pub(crate) fn found(self) -> Option<ProbeStatus> {
        match self {
            Self::Nobody | Self::NotYet => None,
            Self::Partly(probe) | Self::Found(probe) => Some(probe),
        }
    }
}

/// What a home has told of its names in one session.
#[derive(Debug)]
pub(crate) struct Reaches {
    /// Of a name of which nothing was told.
    unknown: Looked,
    told: Mutex<BTreeMap<Hostname, Looked>>,
}

impl Reaches {
    /// Of a home that tries its names, or does not.
    pub(crate) fn new(probes: bool) -> Self {
        Self {
            unknown: match probes {
                true => Looked::NotYet,
                false => Looked::Nobody,
            },
            told: Mutex::default(),
        }
    }

    /// Keeps what a home tells of a name for which `is_own` says that it is the home's. `now` is Unix time
    /// in seconds.
    pub(crate) fn told(
        &self,
        hostname: Hostname,
        (reach, message): (Reach, Option<String>),
        now: u64,
        is_own: impl Fn(&Hostname) -> bool,
    ) {
        if !is_own(&hostname) {
            return;
        }
        let found = |error| ProbeStatus { at: now, error };
        let why = || Some(printable(message.as_deref().unwrap_or_default()));
        let looked = match reach {
            Reach::Untested => Looked::Nobody,
            Reach::Checking => Looked::NotYet,
            Reach::Works => Looked::Found(found(None)),
            Reach::Fails => Looked::Found(found(why())),
            Reach::Partly => Looked::Partly(found(why())),
        };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(hostname, looked).is_none() {
            // Those that were the home's before are not kept for ever.
            told.retain(|name, _| is_own(name));
        }
    }

    /// What is known of this name.
    pub(crate) fn of(&self, hostname: &Hostname) -> Looked {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.get(hostname).unwrap_or(&self.unknown).clone()
    }
}

/// A home's words, as such, without what could confuse a terminal, and not too many of them.
fn printable(message: &str) -> String {
    let is_text = |it: &char| {
        !it.is_control() && !matches!(*it, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let message: String = message.chars().filter(is_text).take(MESSAGE_MAX).collect();
    match message.is_empty() {
        true => "home says that it does not reach itself under this name".to_owned(),
        false => format!("home says: {message}"),
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
        let reaches = Reaches::new(true);
        let [own, other, foreign] = ["a.example", "b.example", "c.example"].map(name);
        let say = |names: &[&Hostname], hostname: &Hostname, reach, message: &str| {
            let message = (!message.is_empty()).then(|| message.to_owned());
            let is_own = |it: &Hostname| names.contains(&it);
            reaches.told(hostname.clone(), (reach, message), 7, is_own);
            reaches.of(hostname)
        };
        let both = [&own, &other];
        assert_eq!(reaches.of(&own), Looked::NotYet);
        let error = |looked: Looked| looked.found().unwrap().error.unwrap();
        let failed = say(&both, &own, Reach::Fails, "no \x1b[2Jaddress\u{202e}");
        assert!(!failed.is_well());
        assert_eq!(error(failed), "home says: no [2Jaddress");
        let partly = say(&both, &other, Reach::Partly, &"x".repeat(9_999));
        assert!(partly.is_well());
        assert!(error(partly).len() < MESSAGE_MAX + 20);
        assert!(!error(say(&both, &other, Reach::Fails, "")).is_empty());
        assert_eq!(say(&both, &foreign, Reach::Works, ""), Looked::NotYet);
        let well = say(&both, &own, Reach::Works, "");
        assert!(well.is_well() && well.found().unwrap().error.is_none());
        assert_eq!(say(&both, &own, Reach::Checking, ""), Looked::NotYet);
        assert_eq!(say(&both, &own, Reach::Untested, ""), Looked::Nobody);
        // What is no name of its own any more is not kept.
        say(&[&foreign], &foreign, Reach::Works, "");
        assert_eq!(reaches.told.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_home_that_does_not_try_its_names_is_well_while_it_is_there() {
        assert!(Reaches::new(false).of(&name("a.example")).is_well());
    }
}
