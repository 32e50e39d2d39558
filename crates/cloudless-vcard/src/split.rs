use std::iter;

use crate::Invalid;
use crate::line::{Line, Lines, Marker};

/// Cuts a file of any number of cards into the exact bytes of each, from `BEGIN` to the line
/// ending behind `END`.
///
/// Text between cards is skipped. A card inside an AGENT property is part of the card around it.
/// A card without an `END` is one [`Invalid::Unterminated`] in its place, and the next `BEGIN`
/// starts the next card. What is given as a card is one that [`summarize`](crate::summarize)
/// takes.
pub fn split(bytes: &[u8]) -> impl Iterator<Item = Result<&[u8], Invalid>> {
    split_indices(bytes).map(|(_, card)| card)
}

/// Like [`split`], each card with the place of its `BEGIN` in the bytes, to tell a person where a
/// bad one is.
pub fn split_indices(bytes: &[u8]) -> impl Iterator<Item = (usize, Result<&[u8], Invalid>)> {
    let mut lines = Lines::new(bytes);
    let mut nesting = Nesting::default();
    let mut start = 0;
    iter::from_fn(move || {
        for line in lines.by_ref() {
            match nesting.step(&line) {
                Place::Begin => start = line.start,
                Place::End => return Some((start, Ok(&bytes[start..line.end]))),
                Place::BeginAgain => {
                    let unterminated = std::mem::replace(&mut start, line.start);
                    return Some((unterminated, Err(Invalid::Unterminated)));
                }
                Place::Outside | Place::Inside | Place::Nested => {}
            }
        }
        nesting.close().err().map(|error| (start, Err(error)))
    })
}

/// Where a line stands among cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Outside every card.
    Outside,
    /// The first line of a card.
    Begin,
    /// The first line of a card while the one before has no end.
    BeginAgain,
    /// In a card itself.
    Inside,
    /// In a card that is the value of an AGENT property.
    Nested,
    /// The last line of a card.
    End,
}

/// Follows lines in and out of cards.
#[derive(Default)]
pub(crate) struct Nesting {
    depth: usize,
    agent: bool,
}

impl Nesting {
    pub(crate) fn step(&mut self, line: &Line<'_>) -> Place {
        let marker = line.marker();
        let after_agent = self.agent;
        self.agent =
            self.depth > 0 && (marker == Some(Marker::Agent) || (after_agent && line.is_blank()));
        match (self.depth, marker) {
            (0, Some(Marker::Begin)) => {
                self.depth = 1;
                Place::Begin
            }
            (0, _) => Place::Outside,
            (_, Some(Marker::Begin)) if after_agent => {
                self.depth += 1;
                Place::Nested
            }
            (_, Some(Marker::Begin)) => {
                self.depth = 1;
                Place::BeginAgain
            }
            (1, Some(Marker::End)) => {
                self.depth = 0;
                Place::End
            }
            (_, Some(Marker::End)) => {
                self.depth -= 1;
                Place::Nested
            }
            (_, Some(Marker::AgentBegin)) => {
                self.depth += 1;
                Place::Nested
            }
            (1, _) => Place::Inside,
            _ => Place::Nested,
        }
    }

    /// The end of the input, which must not be inside a card; says so once.
    pub(crate) fn close(&mut self) -> Result<(), Invalid> {
        if std::mem::take(&mut self.depth) > 0 {
            Err(Invalid::Unterminated)
        } else {
            Ok(())
        }
    }
}
