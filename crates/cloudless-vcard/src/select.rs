use crate::content_line::ContentLine;
use crate::fold::{line_ending, write_line};
use crate::line::Lines;
use crate::split::{Nesting, Place};

/// A property that [`select`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen<'a> {
    /// The group that the property has to be in; `None` takes any and none.
    pub group: Option<&'a str>,
    /// The name of the property; its case means nothing.
    pub name: &'a str,
    /// Whether the property is wanted without its value.
    pub no_value: bool,
}

/// Keeps the chosen properties of a card, for a client that asks for a part of it (RFC 6352
/// §10.4.2). The version is always kept, because no card can be read without it.
///
/// The lines that are kept are byte for byte those of the card, and in its order, apart from the
/// ones without their value.
pub fn select(card: &[u8], chosen: &[Chosen<'_>]) -> Vec<u8> {
    let ending = line_ending(card);
    let mut out = Vec::new();
    let mut nesting = Nesting::default();
    // Whether the property that the lines of a nested card belong to is kept.
    let mut is_kept = false;
    for line in Lines::new(card) {
        let raw = line.raw(card);
        match nesting.step(&line) {
            Place::Begin | Place::End => out.extend_from_slice(raw),
            Place::Nested if is_kept => out.extend_from_slice(raw),
            Place::Inside | Place::Nested if line.is_blank() => {}
            Place::Inside => {
                let is_agent = line.marker().is_some();
                let Some(line) = ContentLine::parse(line.text) else {
                    is_kept = false;
                    continue;
                };
                let mut matching = chosen
                    .iter()
                    .filter(|chosen| chosen.is_for(&line))
                    .peekable();
                is_kept = false;
                if line.is("VERSION") || matching.clone().any(|chosen| !chosen.no_value) {
                    out.extend_from_slice(raw);
                    is_kept = is_agent;
                } else if matching.peek().is_some() {
                    write_line(&mut out, line.header(), ending);
                }
            }
            Place::Outside | Place::BeginAgain | Place::Nested => {}
        }
    }
    out
}

impl Chosen<'_> {
    fn is_for(&self, line: &ContentLine<'_>) -> bool {
        let same_group = self.group.is_none_or(|group| {
            line.group()
                .is_some_and(|found| found.eq_ignore_ascii_case(group))
        });
        same_group && line.is(self.name)
    }
}
