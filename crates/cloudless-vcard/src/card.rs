use crate::content_line::ContentLine;
use crate::line::Lines;
use crate::split::{Nesting, Place};

/// The properties of a card itself, in order: without `BEGIN` and `END` and without the lines of a
/// card in an AGENT property.
///
/// Of bytes that are several cards it gives the properties of all of them.
pub fn properties(card: &[u8]) -> impl Iterator<Item = ContentLine<'_>> {
    let mut nesting = Nesting::default();
    Lines::new(card).filter_map(move |line| match nesting.step(&line) {
        Place::Inside => ContentLine::parse(line.text),
        _ => None,
    })
}
