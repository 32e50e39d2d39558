//! Values that take more than a look to read. This is the one place that knows `calcard`.

use calcard::vcard::{VCard, VCardEntry, VCardProperty, VCardValue};

use super::Version;
use crate::content_line::{ContentLine, Lexer};

/// The value of a line with the encodings and character sets of vCard 2.1, as the later versions
/// write it; `None` when the character set is not known or the value is Base64, which may be no text.
pub(super) fn decode(line: &ContentLine<'_>, version: &str) -> Option<String> {
    let is_base64 = |name| line.has_parameter("ENCODING", name);
    if is_base64("B") || is_base64("BASE64") {
        return None;
    }
    let entry = read(line.unfolded()?, version)?;
    let is_binary = |value: &VCardValue| matches!(value, VCardValue::Binary(_));
    if entry.values.iter().any(is_binary) {
        return None;
    }
    // What the writer does besides for 3.0 is to add CHARSET, which 3.0 does not have.
    write(&entry, Version::V4).map(|value| without_carriage_returns(&value))
}

/// vCard 2.1 ends a line in a value with `=0D=0A`, for which the writer makes `\r\n`; the later
/// versions know `\n` only.
fn without_carriage_returns(value: &str) -> String {
    let mut kept = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (c, (c == '\\').then(|| chars.next()).flatten()) {
            ('\\', Some('r')) => {}
            (c, escaped) => kept.extend([c].into_iter().chain(escaped)),
        }
    }
    kept
}

/// A date or time as the version writes it; `None` when it is none that the version has, or not all of
/// it is understood.
pub(super) fn date(line: &ContentLine<'_>, value: &str, from: &str, to: Version) -> Option<String> {
    let entry = read(&format!("{}:{value}", line.name()), from)?;
    let [VCardValue::PartialDateTime(date)] = entry.values.as_slice() else {
        return None;
    };
    let is_whole = date.year.is_some() && date.month.is_some() && date.day.is_some();
    if to == Version::V3 && !is_whole {
        return None;
    }
    let written = write(&entry, to)?;
    // Only the separators may be others. The reader makes a date of the start of what is none.
    let digits = |text: &str| text.replace(['-', ':'], "");
    (digits(&written) == digits(value)).then_some(written)
}

fn read(line: &str, version: &str) -> Option<VCardEntry> {
    let card = format!("BEGIN:VCARD\r\nVERSION:{version}\r\n{line}\r\nEND:VCARD\r\n");
    let mut entries = VCard::parse(card).ok()?.entries.into_iter();
    entries.find(|entry| entry.name != VCardProperty::Version)
}

/// The value that `calcard` writes.
fn write(entry: &VCardEntry, to: Version) -> Option<String> {
    let mut line = String::new();
    entry.write_to(&mut line, to == Version::V4).ok()?;
    let written = Lexer::new(line.as_bytes()).next()?;
    String::from_utf8(written.value().to_vec()).ok()
}
