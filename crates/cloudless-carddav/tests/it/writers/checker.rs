//! The If-Match checker: whether the history of each card can be what the writers were told.

use std::collections::{BTreeMap, BTreeSet};

use cloudless_store::{ETag, VersionKind};

use super::{Act, Asked, Outcome, quoted};

/// What the history has of a card. A deletion has no ETag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) kind: VersionKind,
    pub(crate) etag: Option<String>,
}

impl From<cloudless_store::Version> for Version {
    fn from(version: cloudless_store::Version) -> Self {
        let etag = version.bytes.map(|bytes| quoted(&ETag::of(&bytes)));
        Self {
            kind: version.kind,
            etag,
        }
    }
}

/// Checks the histories of all names against all acts. Gives the ETags of the cards that must be
/// there in the end, or what is wrong.
///
/// The versions of a name must be a chain: each was sent for the state that the one before it left,
/// once, and in an order that no writer saw otherwise. What was acknowledged is in it, what was
/// refused is kept beside it, and what was lost may be in it.
pub(crate) fn check(
    acts: &[Act],
    histories: &BTreeMap<String, Vec<Version>>,
) -> Result<BTreeMap<String, String>, String> {
    let mut chains = BTreeMap::new();
    for (name, versions) in histories {
        let chain = Chain::link(name, versions, acts);
        let chain = chain.map_err(|fault| format!("{name}: {fault}: {versions:?}"))?;
        chains.insert(name.as_str(), chain);
    }
    for (index, act) in acts.iter().enumerate() {
        let places = act.asked.names().map(|name| {
            let chain = chains.get(name)?;
            chain.links.iter().position(|link| link.act == Some(index))
        });
        let places: Vec<_> = places.collect();
        let is_there = places.iter().filter(|place| place.is_some()).count();
        let fault = match (&act.asked, &act.outcome) {
            (Asked::Read { .. }, _) => None,
            (_, Outcome::Done) if is_there < places.len() => {
                Some("an acknowledged write is not in the history")
            }
            (_, Outcome::Refused | Outcome::Read(_)) if is_there > 0 => {
                Some("a refused write took place")
            }
            (_, Outcome::Lost) if ![0, places.len()].contains(&is_there) => {
                Some("half of a move took place")
            }
            _ => None,
        };
        if let Some(fault) = fault {
            return Err(format!("{fault}: {act:?}"));
        }
    }
    for act in acts {
        let chain = chains.get(act.asked.name());
        let chain = chain.ok_or_else(|| format!("no history: {act:?}"))?;
        chain
            .check_seen(act, acts)
            .map_err(|fault| format!("{fault}: {act:?}"))?;
    }
    let live = chains.iter().filter_map(|(name, chain)| {
        let etag = chain.links.last()?.etag.clone()?;
        Some(((*name).to_owned(), etag))
    });
    Ok(live.collect())
}

/// The states of a name, one after the other; the first is that of nothing.
struct Chain {
    links: Vec<Link>,
}

struct Link {
    /// The card that was there; none when there was none.
    etag: Option<String>,
    /// Which act led to this state; none for the first.
    act: Option<usize>,
}

impl Chain {
    /// Finds for each version the act that made it.
    fn link(name: &str, versions: &[Version], acts: &[Act]) -> Result<Self, String> {
        let mut links = vec![Link {
            etag: None,
            act: None,
        }];
        let mut refused = BTreeSet::new();
        for version in versions {
            let current = links.last().and_then(|link| link.etag.clone());
            let made = |act: &Act| act.asked.makes(name, version, current.as_deref());
            let tried = |act: &Act| {
                matches!(
                    &act.asked,
                    Asked::Put { name: of, etag, .. } if of == name && Some(etag) == version.etag.as_ref()
                )
            };
            match version.kind {
                VersionKind::Refused => {
                    if !acts.iter().any(tried) {
                        return Err("a refused body that nobody sent".to_owned());
                    }
                    refused.extend(version.etag.clone());
                    continue;
                }
                VersionKind::Restored => return Err("nobody restored it".to_owned()),
                VersionKind::Created if current.is_some() => {
                    return Err("created though it was there".to_owned());
                }
                VersionKind::Changed | VersionKind::Deleted if current.is_none() => {
                    return Err("changed or deleted though it was not there".to_owned());
                }
                VersionKind::Created | VersionKind::Changed | VersionKind::Deleted => {}
            }
            // Two writers may have asked for the same deletion: whoever was told of it did it.
            let rank = |(_, act): &(usize, &Act)| match act.outcome {
                Outcome::Done => 0,
                Outcome::Lost => 1,
                Outcome::Refused | Outcome::Read(_) => 2,
            };
            let makers = acts.iter().enumerate().filter(|(_, act)| made(act));
            let Some((act, _)) = makers.min_by_key(rank) else {
                let fault = match acts.iter().find(|act| tried(act)).map(|act| &act.asked) {
                    Some(Asked::Put { base: Some(_), .. }) if current.is_none() => {
                        "a deleted card came back"
                    }
                    Some(_) => "a lost update",
                    None => "a version that nobody sent",
                };
                return Err(fault.to_owned());
            };
            if links.iter().any(|link| link.act == Some(act)) {
                return Err(format!("a write took place twice: {:?}", acts[act]));
            }
            links.push(Link {
                etag: version.etag.clone(),
                act: Some(act),
            });
        }
        let chain = Self { links };
        chain.check_order(acts)?;
        let is_lost = |act: &&Act| match &act.asked {
            Asked::Put { name: of, etag, .. } => {
                of == name && act.outcome == Outcome::Refused && !refused.contains(etag)
            }
            _ => false,
        };
        match acts.iter().find(is_lost) {
            Some(act) => Err(format!("a refused body was not kept: {act:?}")),
            None => Ok(chain),
        }
    }

    /// What was answered before another write was sent stands before it.
    fn check_order(&self, acts: &[Act]) -> Result<(), String> {
        let mut latest_sent = 0;
        for act in self.links.iter().filter_map(|link| acts.get(link.act?)) {
            if act.answered < latest_sent {
                return Err(format!("out of order: {act:?}"));
            }
            latest_sent = latest_sent.max(act.sent);
        }
        Ok(())
    }

    /// Whether a read, or a refusal, tells of a state that was there while it was under way.
    fn check_seen(&self, act: &Act, acts: &[Act]) -> Result<(), String> {
        let base = act.asked.base();
        let fits = |state: Option<&str>| match &act.outcome {
            Outcome::Read(etag) if act.asked.is_read() => state == etag.as_deref(),
            // 404 to a request with If-Match.
            Outcome::Read(_) => state.is_none(),
            Outcome::Refused => state != base,
            Outcome::Done | Outcome::Lost => true,
        };
        let of = |link: &Link| link.act.and_then(|act| acts.get(act));
        let is_before = |link: &Link| of(link).is_none_or(|write| write.answered < act.sent);
        let is_after = |link: &Link| of(link).is_some_and(|write| write.sent > act.answered);
        let first = self.links.iter().rposition(is_before).unwrap_or(0);
        let mut during = self.links[first..].iter().filter(|link| !is_after(link));
        if during.any(|link| fits(link.etag.as_deref())) {
            Ok(())
        } else {
            Err("it tells of a state that was not there then".to_owned())
        }
    }
}

impl Asked {
    /// Whether it may have made this version of this name out of this state.
    fn makes(&self, of: &str, version: &Version, current: Option<&str>) -> bool {
        let etag_made = version.etag.as_deref();
        match self {
            Self::Read { .. } => false,
            Self::Put { name, base, etag } => {
                name == of && etag_made == Some(etag) && current == base.as_deref()
            }
            Self::Delete { name, base } => {
                name == of && etag_made.is_none() && current == Some(base)
            }
            Self::Move { from, base, .. } if from == of => {
                etag_made.is_none() && current == Some(base)
            }
            Self::Move { to, base, .. } => to == of && etag_made == Some(base) && current.is_none(),
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let second = match self {
            Self::Move { to, .. } => Some(to.as_str()),
            _ => None,
        };
        [self.name()].into_iter().chain(second)
    }

    fn base(&self) -> Option<&str> {
        match self {
            Self::Read { .. } => None,
            Self::Put { base, .. } => base.as_deref(),
            Self::Delete { base, .. } | Self::Move { base, .. } => Some(base),
        }
    }

    fn is_read(&self) -> bool {
        matches!(self, Self::Read { .. })
    }
}

#[cfg(test)]
mod tests;
