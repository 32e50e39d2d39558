//! One card of several that are the same person.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::card::properties;
use crate::content_line::ContentLine;
use crate::convert::{Version, convert};
use crate::fold::{line_ending, write_line};
use crate::line::{Line, Lines};
use crate::split::{Nesting, Place};
use crate::summary::{Invalid, summarize};

/// Properties that a card has once (RFC 6350 §6, cardinality `1` and `*1`; FN by RFC 2426).
const SINGLE: [&str; 9] = [
    "ANNIVERSARY",
    "BDAY",
    "DEATHDATE",
    "FN",
    "GENDER",
    "KIND",
    "N",
    "UID",
    "X-ADDRESSBOOKSERVER-KIND",
];

/// Properties that tell of the file and not of the person.
const OF_THE_FILE: [&str; 3] = ["PRODID", "REV", "VERSION"];

/// What comes before the name of a property that the card has once and with another value.
const MERGED: &str = "X-MERGED-";

/// Joins cards of one person into the first, which keeps its UID, its version and its lines as they
/// are written.
///
/// What the others have besides follows, in the first card's version: a property that is there
/// already, apart from the order and case of its parameters, once; one that a card may have once
/// only, such as FN, under the name `X-MERGED-FN` when its value is another. Labels stay with what
/// they label. Left out are PRODID, REV and VERSION of the others, which tell of their files, and
/// properties without a value.
///
/// # Errors
///
/// When one of the inputs is not exactly one card.
pub fn merge(keep: &[u8], others: &[&[u8]]) -> Result<Vec<u8>, Invalid> {
    let summary = summarize(keep)?;
    let version = summary.version.as_deref().and_then(Version::from_number);
    let version = version.unwrap_or(Version::V3);
    let keep = convert(keep, version)?;
    let ending = line_ending(&keep);
    let mut merged = Merged::of(&keep);
    for original in others {
        let other = convert(original, version)?;
        // A name that only the version demands tells nothing.
        let made_up = ["FN", "N"].map(|name| {
            let is_there = properties(original).any(|line| line.is(name));
            (name, !is_there)
        });
        let is_made_up = |line: &ContentLine<'_>| {
            made_up
                .iter()
                .any(|(name, is_made_up)| *is_made_up && line.is(name))
        };
        for unit in units(&other) {
            if !unit.lines.iter().any(is_made_up) {
                merged.add(unit);
            }
        }
    }
    let mut out = Vec::with_capacity(keep.len());
    let mut nesting = Nesting::default();
    for line in Lines::new(&keep) {
        let place = nesting.step(&line);
        if place == Place::End {
            for added in &merged.added {
                write_line(&mut out, added, ending);
            }
        }
        if place == Place::Inside && merged.replaces(&line) {
            continue;
        }
        out.extend_from_slice(line.raw(&keep));
    }
    Ok(out)
}

/// A property with all that belongs to it: the lines of one group, or one line with the card that
/// is its value.
struct Unit<'a> {
    group: Option<String>,
    lines: Vec<ContentLine<'a>>,
    /// The lines of a card in an AGENT property.
    nested: Vec<Vec<u8>>,
}

impl Unit<'_> {
    /// The unit as it compares, whatever its group is called.
    fn key(&self) -> Vec<Vec<u8>> {
        let mut key: Vec<Vec<u8>> = self.lines.iter().map(line_key).collect();
        key.sort();
        key.extend(self.nested.iter().cloned());
        key
    }
}

/// The units of a card, in the order of their first lines, without those that tell of the file.
fn units(card: &[u8]) -> Vec<Unit<'_>> {
    let mut units: Vec<Unit<'_>> = Vec::new();
    let mut groups: BTreeMap<String, usize> = BTreeMap::new();
    let mut nesting = Nesting::default();
    for line in Lines::new(card) {
        let place = nesting.step(&line);
        if place == Place::Nested {
            if let Some(unit) = units.last_mut() {
                unit.nested.push(line.text.into_owned());
            }
            continue;
        }
        if place != Place::Inside {
            continue;
        }
        let Some(line) = ContentLine::parse(line.text) else {
            continue;
        };
        if OF_THE_FILE.iter().any(|name| line.is(name)) {
            continue;
        }
        let group = line.group().map(|group| group.to_ascii_lowercase());
        let known = group.as_ref().and_then(|group| groups.get(group));
        if let Some(&at) = known {
            units[at].lines.push(line);
            continue;
        }
        if let Some(group) = &group {
            groups.insert(group.clone(), units.len());
        }
        units.push(Unit {
            group,
            lines: vec![line],
            nested: Vec::new(),
        });
    }
    units
}

/// What is in the merged card so far.
struct Merged {
    units: HashSet<Vec<Vec<u8>>>,
    /// The names of single properties that have a value, and whether the first card had none.
    singles: HashMap<&'static str, bool>,
    groups: HashSet<String>,
    /// The lines to add, unfolded.
    added: Vec<Vec<u8>>,
}

impl Merged {
    fn of(card: &[u8]) -> Self {
        let mut merged = Self {
            units: units(card).iter().map(Unit::key).collect(),
            singles: HashMap::new(),
            groups: HashSet::new(),
            added: Vec::new(),
        };
        for line in properties(card) {
            if !is_blank(&line) {
                merged
                    .singles
                    .extend(single(&line).map(|name| (name, false)));
            }
            merged
                .groups
                .extend(line.group().map(|group| group.to_ascii_lowercase()));
        }
        merged
    }

    fn add(&mut self, unit: Unit<'_>) {
        if unit.lines.iter().all(is_blank) && unit.nested.is_empty() {
            return;
        }
        if !self.units.insert(unit.key()) {
            return;
        }
        let lines: Vec<Vec<u8>> = unit.lines.iter().map(|line| self.renamed(line)).collect();
        let group = unit.group.map(|group| self.free_group(group));
        for line in &lines {
            self.added.push(match &group {
                Some(group) => [group.as_bytes(), b".", line].concat(),
                None => line.clone(),
            });
        }
        self.added.extend(unit.nested);
    }

    /// The line without its group, under another name when the card has such a property already.
    fn renamed(&mut self, line: &ContentLine<'_>) -> Vec<u8> {
        let bytes = line.without_group();
        match single(line) {
            Some(name) if self.singles.contains_key(name) => [MERGED.as_bytes(), bytes].concat(),
            Some(name) => {
                self.singles.insert(name, true);
                bytes.to_vec()
            }
            None => bytes.to_vec(),
        }
    }

    /// Whether a line of the first card has no value and gives way to one that has.
    fn replaces(&self, line: &Line<'_>) -> bool {
        let line = ContentLine::parse(Cow::Borrowed(&line.text));
        line.is_some_and(|line| {
            let added = single(&line).and_then(|name| self.singles.get(name));
            is_blank(&line) && added == Some(&true)
        })
    }

    /// The group's name, or one that the card does not have yet.
    fn free_group(&mut self, group: String) -> String {
        if self.groups.insert(group.clone()) {
            return group;
        }
        let mut number = self.groups.len();
        loop {
            let group = format!("item{number}");
            if self.groups.insert(group.clone()) {
                return group;
            }
            number += 1;
        }
    }
}

/// Whether a value holds nothing but separators.
fn is_blank(line: &ContentLine<'_>) -> bool {
    let separates = |byte: &u8| matches!(byte, b' ' | b'\t' | b';' | b',');
    line.value().iter().all(separates)
}

/// The property when it is one that a card has once.
fn single(line: &ContentLine<'_>) -> Option<&'static str> {
    SINGLE.into_iter().find(|name| line.is(name))
}

/// A line as it compares: its group and the case and the order of its parameters mean nothing, and
/// it makes no difference whether it was renamed when cards were joined.
fn line_key(line: &ContentLine<'_>) -> Vec<u8> {
    if line.has_untold_parameters() {
        return line.without_group().to_vec();
    }
    let mut parameters: Vec<String> = line
        .parameters()
        .map(|parameter| parameter.raw().to_ascii_lowercase())
        .collect();
    parameters.sort();
    let name = line.name().to_ascii_uppercase();
    let name = name.strip_prefix(MERGED).unwrap_or(&name);
    let mut key = name.as_bytes().to_vec();
    for parameter in parameters {
        key.push(b';');
        key.extend_from_slice(parameter.as_bytes());
    }
    key.push(b':');
    key.extend_from_slice(line.value());
    key
}
