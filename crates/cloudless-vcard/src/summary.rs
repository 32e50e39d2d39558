use std::borrow::Cow;

use thiserror::Error;

use crate::content_line::ContentLine;
use crate::line::Lines;
use crate::split::{Nesting, Place};

/// What an index needs to know of a card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The UID (RFC 6350 §6.7.6) without surrounding white space; `None` when the card has none
    /// or an empty one.
    pub uid: Option<String>,
    /// The formatted name, FN (RFC 6350 §6.2.1), decoded and unescaped; the first one that is
    /// not empty. A card without one is called by the parts of its name, N.
    pub full_name: Option<String>,
    /// The version that the card names, such as `3.0`.
    pub version: Option<String>,
}

/// Why bytes are not exactly one vCard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Invalid {
    /// Nothing but white space.
    #[error("the vCard is empty")]
    Empty,
    /// No `BEGIN:VCARD`.
    #[error("this is no vCard: it has no line BEGIN:VCARD")]
    NotVcard,
    /// A `BEGIN:VCARD` without its `END:VCARD`.
    #[error("the vCard is cut off: it has no line END:VCARD")]
    Unterminated,
    /// A second card after the first.
    #[error("there is more than one vCard where one is expected")]
    MoreThanOne,
    /// Text before or after the card.
    #[error("there is text before BEGIN:VCARD or after END:VCARD")]
    TextOutside,
}

/// Reads one card, which has to be the only thing in `bytes` apart from white space.
///
/// Properties of a card nested in an AGENT property are not taken for the card's own. A card
/// without UID, FN or VERSION is a card.
///
/// # Errors
///
/// When the bytes are not exactly one card.
pub fn summarize(bytes: &[u8]) -> Result<Summary, Invalid> {
    let mut summary = Summary::default();
    let mut name = None;
    let mut nesting = Nesting::default();
    let mut cards = 0;
    let mut text_outside = false;
    for line in Lines::new(bytes) {
        match nesting.step(&line) {
            Place::Outside => text_outside |= !line.is_blank(),
            Place::Begin => cards += 1,
            Place::BeginAgain => return Err(Invalid::Unterminated),
            Place::Inside => summary.read(line.text, &mut name),
            Place::Nested | Place::End => {}
        }
    }
    nesting.close()?;
    summary.full_name = summary.full_name.or(name);
    match (cards, text_outside) {
        (0, false) => Err(Invalid::Empty),
        (0, true) => Err(Invalid::NotVcard),
        (1, false) => Ok(summary),
        (1, true) => Err(Invalid::TextOutside),
        _ => Err(Invalid::MoreThanOne),
    }
}

impl Summary {
    fn read(&mut self, line: Cow<'_, [u8]>, name: &mut Option<String>) {
        let Some(line) = ContentLine::parse(line) else {
            return;
        };
        if line.is("N") && name.is_none() {
            *name = spoken(&line);
        }
        let field = if line.is("UID") {
            &mut self.uid
        } else if line.is("FN") {
            &mut self.full_name
        } else if line.is("VERSION") {
            &mut self.version
        } else {
            return;
        };
        if field.is_none() {
            let text = line.text();
            *field = Some(text.trim())
                .filter(|text| !text.is_empty())
                .map(str::to_owned);
        }
    }
}

/// The parts of a name, N, in the order in which it is spoken in English; `None` when all are empty.
pub(crate) fn spoken(line: &ContentLine<'_>) -> Option<String> {
    let components = line.components();
    let part = |at: usize| components.get(at).map_or("", |part| part.trim());
    let ordered = [part(3), part(1), part(2), part(0), part(4)];
    let words: Vec<&str> = ordered.into_iter().filter(|it| !it.is_empty()).collect();
    (!words.is_empty()).then(|| words.join(" "))
}
