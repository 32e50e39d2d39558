//! vCard 3.0 and 4.0 from each other, for a client that reads only one of them.

mod legacy;
mod media;
mod parameters;
mod property;

use std::borrow::Cow;

use crate::Invalid;
use crate::content_line::ContentLine;
use crate::fold::{line_ending, write_line};
use crate::line::Lines;
use crate::split::{Nesting, Place};
use crate::summary::{spoken, summarize};
use crate::text::escape;

/// A version of vCard that a card can be converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// vCard 3.0 (RFC 2426).
    V3,
    /// vCard 4.0 (RFC 6350).
    V4,
}

impl Version {
    /// The number as the VERSION property has it.
    pub const fn number(self) -> &'static str {
        match self {
            Self::V3 => "3.0",
            Self::V4 => "4.0",
        }
    }

    /// The version of this number.
    pub fn from_number(number: &str) -> Option<Self> {
        [Self::V3, Self::V4]
            .into_iter()
            .find(|version| version.number() == number.trim())
    }
}

/// Gives a card in another version, for one answer; what is stored is never replaced by it.
///
/// A card of that version comes back as it is. Otherwise every line that means the same in both
/// versions stays byte for byte, and what differs is rewritten: pictures between `ENCODING=b` and
/// `data:`, dates (a missing year is `1604` with `X-APPLE-OMIT-YEAR` in 3.0), preferences, groups
/// (`X-ADDRESSBOOKSERVER-KIND` and `-MEMBER`, which Apple's clients read), `tel:` and `geo:`, and
/// the encodings of vCard 2.1. The name that a version demands is added: FN for 4.0, N for 3.0.
/// A property that the other version does not know stays as an extension, and so does a line with
/// more than 64 KiB of parameters.
///
/// # Errors
///
/// When the bytes are not exactly one card; the caller then gives them as they are.
pub fn convert(bytes: &[u8], to: Version) -> Result<Cow<'_, [u8]>, Invalid> {
    let summary = summarize(bytes)?;
    let from = summary.version.unwrap_or_default();
    if Version::from_number(&from) == Some(to) {
        return Ok(Cow::Borrowed(bytes));
    }
    let ending = line_ending(bytes);
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 16 + 64);
    let mut nesting = Nesting::default();
    let mut names = Names::default();
    for line in Lines::new(bytes) {
        let raw = line.raw(bytes);
        match nesting.step(&line) {
            Place::Begin => {
                out.extend_from_slice(raw);
                write_line(
                    &mut out,
                    format!("VERSION:{}", to.number()).as_bytes(),
                    ending,
                );
            }
            Place::End => {
                if let Some(missing) = names.missing(to) {
                    write_line(&mut out, missing.as_bytes(), ending);
                }
                out.extend_from_slice(raw);
            }
            Place::Inside => {
                let Some(line) = ContentLine::parse(line.text) else {
                    continue;
                };
                if line.is("VERSION") {
                    continue;
                }
                names.look_at(&line);
                match property::rewrite(&line, &from, to) {
                    Some(rewritten) => write_line(&mut out, rewritten.as_bytes(), ending),
                    None => out.extend_from_slice(raw),
                }
            }
            Place::Nested => out.extend_from_slice(raw),
            Place::Outside | Place::BeginAgain => {}
        }
    }
    Ok(Cow::Owned(out))
}

/// The names of a card, so that the one that a version demands can be made of the other.
#[derive(Default)]
struct Names {
    has_full_name: bool,
    has_name: bool,
    full_name: Option<String>,
    other: Option<String>,
}

impl Names {
    fn look_at(&mut self, line: &ContentLine<'_>) {
        if line.is("FN") {
            self.has_full_name = true;
            self.full_name.get_or_insert_with(|| line.text());
        } else if line.is("N") {
            self.has_name = true;
            self.other = spoken(line).or_else(|| self.other.take());
        } else if line.is("NICKNAME") || line.is("ORG") || line.is("EMAIL") {
            let text = line.components().join(" ");
            if self.other.is_none() && !text.trim().is_empty() {
                self.other = Some(text.trim().to_owned());
            }
        }
    }

    fn missing(&self, to: Version) -> Option<String> {
        match to {
            Version::V3 if !self.has_name => {
                let full_name = self.full_name.as_deref().unwrap_or_default();
                Some(format!("N:{};;;;", escape(full_name)))
            }
            Version::V4 if !self.has_full_name => {
                let name = self.other.as_deref().unwrap_or_default();
                Some(format!("FN:{}", escape(name)))
            }
            _ => None,
        }
    }
}
