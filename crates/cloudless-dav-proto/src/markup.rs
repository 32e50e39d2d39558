//! Escaping and element names, shared by the bodies that this crate writes.

use crate::{CALENDAR_SERVER, CARDDAV, DAV, Name};

/// The XML declaration that every body starts with.
pub(crate) const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n";

/// The namespace declarations of a root element; the prefixes are those that [`tag`] writes.
pub(crate) const NAMESPACES: &str = " xmlns:D=\"DAV:\" \
     xmlns:C=\"urn:ietf:params:xml:ns:carddav\" xmlns:CS=\"http://calendarserver.org/ns/\"";

const REPLACEMENT: &str = "\u{FFFD}";

/// Whether XML 1.0 §2.2 allows the character in a document at all.
pub(crate) const fn is_legal(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{FFFD}' | '\u{10000}'..)
}

/// Appends `text` as character data or attribute value.
///
/// A carriage return is written as a reference, because a parser turns a literal one into a line
/// feed; characters that XML forbids become U+FFFD, because one of them would make the whole
/// document unreadable.
pub(crate) fn escape(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    let mut at = 0;
    while at < bytes.len() {
        let (replacement, len) = match bytes[at] {
            b'&' => ("&amp;", 1),
            b'<' => ("&lt;", 1),
            b'>' => ("&gt;", 1),
            b'"' => ("&quot;", 1),
            b'\r' => ("&#13;", 1),
            // U+FFFE and U+FFFF are EF BF BE and EF BF BF.
            0xEF if matches!(bytes[at..], [_, 0xBF, 0xBE | 0xBF, ..]) => (REPLACEMENT, 3),
            b'\t' | b'\n' | 0x20.. => {
                at += 1;
                continue;
            }
            _ => (REPLACEMENT, 1),
        };
        out.extend_from_slice(&bytes[copied..at]);
        out.extend_from_slice(replacement.as_bytes());
        at += len;
        copied = at;
    }
    out.extend_from_slice(&bytes[copied..]);
}

/// Appends `text` as an attribute value whose white space a parser keeps (XML 1.0 §3.3.3).
pub(crate) fn escape_attribute(out: &mut Vec<u8>, text: &str) {
    for part in text.split_inclusive(['\t', '\n']) {
        let (plain, space) = match part.as_bytes() {
            [.., b'\t'] => (&part[..part.len() - 1], "&#9;"),
            [.., b'\n'] => (&part[..part.len() - 1], "&#10;"),
            _ => (part, ""),
        };
        escape(out, plain);
        push(out, &[space]);
    }
}

/// Appends bytes that should be UTF-8, each ill-formed sequence as U+FFFD.
pub(crate) fn escape_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        escape(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(REPLACEMENT.as_bytes());
        }
    }
}

/// Appends `<name>`.
pub(crate) fn open(out: &mut Vec<u8>, name: &Name) {
    tag(out, name, "<", ">");
}

/// Appends `<name/>`.
pub(crate) fn empty(out: &mut Vec<u8>, name: &Name) {
    tag(out, name, "<", "/>");
}

/// Appends `</name>`.
pub(crate) fn close(out: &mut Vec<u8>, name: &Name) {
    let prefix = match name.namespace() {
        "" => "",
        DAV => "D:",
        CARDDAV => "C:",
        CALENDAR_SERVER => "CS:",
        _ => "X:",
    };
    push(out, &["</", prefix, name.local(), ">"]);
}

/// Appends `<D:local>text</D:local>` with `text` escaped.
pub(crate) fn dav_text(out: &mut Vec<u8>, local: &str, text: &str) {
    push(out, &["<D:", local, ">"]);
    escape(out, text);
    push(out, &["</D:", local, ">"]);
}

/// Appends pieces of markup as they are.
pub(crate) fn push(out: &mut Vec<u8>, pieces: &[&str]) {
    for piece in pieces {
        out.extend_from_slice(piece.as_bytes());
    }
}

fn tag(out: &mut Vec<u8>, name: &Name, start: &str, end: &str) {
    match name.namespace() {
        "" => push(out, &[start, name.local(), end]),
        DAV => push(out, &[start, "D:", name.local(), end]),
        CARDDAV => push(out, &[start, "C:", name.local(), end]),
        CALENDAR_SERVER => push(out, &[start, "CS:", name.local(), end]),
        other => {
            push(out, &[start, "X:", name.local(), " xmlns:X=\""]);
            escape(out, other);
            push(out, &["\"", end]);
        }
    }
}
