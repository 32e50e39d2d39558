//! Cards that are the same person.

mod name;
mod phone;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::card::properties;
use name::name_key;
use phone::phone_key;
pub use phone::{Region, UnknownRegion};

/// The most addresses and numbers of a card that are compared.
const KEYS_MAX: usize = 64;

/// What a card tells of who it is, in a form that compares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// Every sign that two cards of one person share.
    signs: BTreeSet<Reason>,
}

/// Why two cards are taken for the same person, the surest first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Both have this UID, apart from its case and `urn:uuid:`.
    Uid(String),
    /// Both have this e-mail address, apart from its case.
    Email(String),
    /// Both have this telephone number, whichever way it is written.
    Phone(String),
    /// Both have this name, apart from accents, case, punctuation and the order of its words.
    Name(String),
    /// Both are groups with this UID. Groups and persons are never the same.
    GroupUid(String),
}

impl Person {
    /// Reads a card. The region is the one that telephone numbers without `+` belong to; without a
    /// region such numbers are the same only when all their digits are.
    pub fn read(card: &[u8], region: Option<Region>) -> Self {
        let mut uid = None;
        let mut is_group = false;
        let mut signs = BTreeSet::new();
        let mut full_name = None;
        let mut name = None;
        for line in properties(card) {
            let is_full = signs.len() >= KEYS_MAX;
            if line.is("UID") {
                uid.get_or_insert_with(|| uid_key(&line.text()));
            } else if line.is("KIND") || line.is("X-ADDRESSBOOKSERVER-KIND") {
                is_group = line.value().trim_ascii().eq_ignore_ascii_case(b"group");
            } else if line.is("FN") {
                full_name = full_name.or_else(|| name_key(&line.text()));
            } else if line.is("N") {
                let components = line.components();
                // Family, given and additional names, without prefixes and suffixes.
                let count = components.len().min(3);
                name = name.or_else(|| name_key(&components[..count].join(" ")));
            } else if line.is("EMAIL") && !is_full {
                signs.extend(email_key(&line.text()).map(Reason::Email));
            } else if line.is("TEL") && !is_full {
                signs.extend(phone_key(&line.text(), region).map(Reason::Phone));
            }
        }
        let uid = uid.filter(|uid| !uid.is_empty());
        if is_group {
            signs = uid.map(Reason::GroupUid).into_iter().collect();
        } else {
            signs.extend(uid.map(Reason::Uid));
            signs.extend(full_name.map(Reason::Name));
            signs.extend(name.map(Reason::Name));
        }
        Self { signs }
    }

    /// A number for each thing that is compared: two who have nothing in common have none of these
    /// in common either, but for chance. It sorts out most cards without keeping what they say.
    pub fn sign_hashes(&self) -> impl Iterator<Item = u64> {
        self.signs.iter().map(|sign| {
            let mut hasher = DefaultHasher::new();
            sign.hash(&mut hasher);
            hasher.finish()
        })
    }
}

/// Why two cards are the same person; `None` when nothing says so.
pub fn same_person(a: &Person, b: &Person) -> Option<Reason> {
    a.signs.intersection(&b.signs).next().cloned()
}

/// Cards that are the same person, each linked to another of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicates {
    /// Which cards, by their position in the input, in that order; at least two.
    pub members: Vec<usize>,
    /// What links them, the surest first. Two members may share nothing but a third.
    pub reasons: BTreeSet<Reason>,
}

/// Sorts people who are the same into groups, in the order of their first members. People of whom
/// there is one are in none.
///
/// The same input gives the same answer; work grows with the number of addresses and numbers, not
/// with that of pairs.
pub fn duplicates(people: &[Person]) -> Vec<Duplicates> {
    let mut groups = DisjointSets::new(people.len());
    let mut first_with: HashMap<&Reason, usize> = HashMap::new();
    let mut links = Vec::new();
    for (at, person) in people.iter().enumerate() {
        for sign in &person.signs {
            match first_with.get(sign) {
                Some(&first) => {
                    groups.join(first, at);
                    links.push((first, sign));
                }
                None => {
                    first_with.insert(sign, at);
                }
            }
        }
    }
    let mut found: BTreeMap<usize, Duplicates> = BTreeMap::new();
    for (first, reason) in links {
        let root = groups.root(first);
        let group = found.entry(root).or_insert_with(|| Duplicates {
            members: Vec::new(),
            reasons: BTreeSet::new(),
        });
        if !group.reasons.contains(reason) {
            group.reasons.insert(reason.clone());
        }
    }
    for at in 0..people.len() {
        let root = groups.root(at);
        if let Some(group) = found.get_mut(&root) {
            group.members.push(at);
        }
    }
    // A root is the smallest member of its group.
    found.into_values().collect()
}

/// Groups that are joined (union-find with path halving); the root of each is its smallest member.
struct DisjointSets {
    parents: Vec<usize>,
}

impl DisjointSets {
    fn new(len: usize) -> Self {
        Self {
            parents: (0..len).collect(),
        }
    }

    fn root(&mut self, mut member: usize) -> usize {
        while self.parents[member] != member {
            self.parents[member] = self.parents[self.parents[member]];
            member = self.parents[member];
        }
        member
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a.max(b)] = a.min(b);
    }
}

fn uid_key(uid: &str) -> String {
    let uid = uid.trim().to_lowercase();
    match uid.strip_prefix("urn:uuid:") {
        Some(uuid) => uuid.to_owned(),
        None => uid,
    }
}

fn email_key(email: &str) -> Option<String> {
    let email = email.trim().to_lowercase();
    let address = email.strip_prefix("mailto:").unwrap_or(&email);
    let (local, domain) = address.rsplit_once('@')?;
    (!local.is_empty() && !domain.is_empty()).then(|| address.to_owned())
}
