//! Content lines, `group.name;parameters:value` (RFC 6350 §3.3).

use std::borrow::Cow;

use crate::line::Lines;
use crate::text;

/// The longest part of a line, in bytes, that is searched for parameters. Cards as they are found
/// have less than 1 KiB; millions of parameters would cost a hundred times their bytes to hold.
pub(crate) const PARAMETERS_LEN_MAX: usize = 64 * 1024;

/// The content lines of a card or of a whole file, in order, unfolded.
///
/// Lines without a colon are skipped. `BEGIN` and `END` are content lines like others.
pub struct Lexer<'a> {
    lines: Lines<'a>,
}

impl<'a> Lexer<'a> {
    /// A lexer over the bytes of a card or a file of cards.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            lines: Lines::new(bytes),
        }
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = ContentLine<'a>;

    fn next(&mut self) -> Option<ContentLine<'a>> {
        self.lines
            .by_ref()
            .find_map(|line| ContentLine::parse(line.text))
    }
}

/// One property of a card, borrowed from the input unless it was folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentLine<'a> {
    line: Cow<'a, [u8]>,
    /// Where the name starts, behind any group.
    name: usize,
    /// Where the name ends.
    name_end: usize,
    /// The colon before the value.
    colon: usize,
}

impl<'a> ContentLine<'a> {
    /// Reads an unfolded line; `None` when it has no colon.
    pub(crate) fn parse(line: Cow<'a, [u8]>) -> Option<Self> {
        let colon = header_len(&line)?;
        let name_end = line[..colon]
            .iter()
            .position(|byte| *byte == b';')
            .unwrap_or(colon);
        let name = line[..name_end]
            .iter()
            .rposition(|byte| *byte == b'.')
            .map_or(0, |dot| dot + 1);
        Some(Self {
            line,
            name,
            name_end,
            colon,
        })
    }

    /// The group before the name, `item1` in `item1.TEL`.
    pub fn group(&self) -> Option<Cow<'_, str>> {
        let dot = self.name.checked_sub(1)?;
        Some(String::from_utf8_lossy(self.line[..dot].trim_ascii()))
    }

    /// The name of the property as it is written; its case means nothing.
    pub fn name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.line[self.name..self.name_end].trim_ascii())
    }

    /// Whether this is the property `name`, in any case and in any group.
    pub fn is(&self, name: &str) -> bool {
        self.line[self.name..self.name_end]
            .trim_ascii()
            .eq_ignore_ascii_case(name.as_bytes())
    }

    /// The parameters, in order. Of more than 64 KiB of them only the first are told.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter<'_>> {
        let parameters = &self.line[self.name_end..self.colon];
        let read = parameters.len().min(PARAMETERS_LEN_MAX);
        split_outside_quotes(&parameters[..read], b';')
            .map(<[u8]>::trim_ascii)
            .filter(|parameter| !parameter.is_empty())
            .map(Parameter::parse)
    }

    /// Whether there are parameters that [`ContentLine::parameters`] does not tell.
    pub(crate) fn has_untold_parameters(&self) -> bool {
        self.colon - self.name_end > PARAMETERS_LEN_MAX
    }

    /// The value as it is written, still encoded and escaped.
    pub fn value(&self) -> &[u8] {
        &self.line[self.colon + 1..]
    }

    /// The value as text: quoted-printable decoded, the character set of vCard 2.1 applied,
    /// backslash escapes undone. Bytes that are no UTF-8 become U+FFFD.
    pub fn text(&self) -> String {
        text::unescape(&self.decoded())
    }

    /// The components of a structured value such as that of N, ADR or ORG (RFC 6350 §3.3), each as
    /// text. A value without a semicolon is one component.
    pub fn components(&self) -> Vec<String> {
        text::split_unescaped(&self.decoded(), ';')
            .map(text::unescape)
            .collect()
    }

    /// The value decoded, with its escapes.
    fn decoded(&self) -> String {
        let decoded = if self.has_parameter("ENCODING", "QUOTED-PRINTABLE") {
            Cow::Owned(text::decode_quoted_printable(self.value()))
        } else {
            Cow::Borrowed(self.value())
        };
        let latin_1 = self.has_parameter("CHARSET", "ISO-8859-1");
        if latin_1 {
            decoded.iter().copied().map(char::from).collect()
        } else {
            String::from_utf8_lossy(&decoded).into_owned()
        }
    }

    /// The line without its group and without folds.
    pub(crate) fn without_group(&self) -> &[u8] {
        &self.line[self.name..]
    }

    /// What stands before the value, with its colon and without folds.
    pub(crate) fn header(&self) -> &[u8] {
        &self.line[..=self.colon]
    }

    /// The line without folds; `None` when it is no UTF-8.
    pub(crate) fn unfolded(&self) -> Option<&str> {
        str::from_utf8(&self.line).ok()
    }

    /// The line, unfolded, with another name of the property.
    pub(crate) fn with_name(&self, name: &str) -> String {
        let group = String::from_utf8_lossy(&self.line[..self.name]);
        let rest = String::from_utf8_lossy(&self.line[self.name_end..]);
        format!("{group}{name}{rest}")
    }

    /// The line, unfolded, with other parameters and another value.
    pub(crate) fn rebuilt(&self, parameters: &[String], value: &str) -> String {
        let mut line = String::from_utf8_lossy(&self.line[..self.name_end]).into_owned();
        for parameter in parameters {
            line.push(';');
            line.push_str(parameter);
        }
        line.push(':');
        line.push_str(value);
        line
    }

    /// Whether a parameter has the value, in any case; vCard 2.1 leaves the parameter's name away.
    pub(crate) fn has_parameter(&self, name: &str, value: &str) -> bool {
        self.parameters().any(|parameter| {
            parameter
                .name()
                .is_none_or(|found| found.eq_ignore_ascii_case(name))
                && parameter
                    .values()
                    .any(|found| found.eq_ignore_ascii_case(value))
        })
    }
}

/// One parameter of a content line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter<'a> {
    raw: &'a [u8],
    name: Option<&'a [u8]>,
    values: &'a [u8],
}

impl<'a> Parameter<'a> {
    fn parse(parameter: &'a [u8]) -> Self {
        match parameter.iter().position(|byte| *byte == b'=') {
            Some(equals) => Self {
                raw: parameter,
                name: Some(parameter[..equals].trim_ascii()),
                values: &parameter[equals + 1..],
            },
            None => Self {
                raw: parameter,
                name: None,
                values: parameter,
            },
        }
    }

    /// The name as it is written; `None` for a bare value of vCard 2.1 such as `CELL`.
    pub fn name(&self) -> Option<Cow<'a, str>> {
        self.name.map(String::from_utf8_lossy)
    }

    /// The parameter as it is written.
    pub(crate) fn raw(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.raw)
    }

    /// The values without their quotes; plain and quoted ones may be mixed.
    pub fn values(&self) -> impl Iterator<Item = Cow<'a, str>> {
        split_outside_quotes(self.values, b',').map(|value| {
            let value = value.trim_ascii();
            let unquoted = value
                .strip_prefix(b"\"")
                .and_then(|value| value.strip_suffix(b"\""));
            String::from_utf8_lossy(unquoted.unwrap_or(value))
        })
    }
}

/// The length of what stands before the value: up to the first colon outside quotes, or the first
/// of all when a quote is never closed.
fn header_len(line: &[u8]) -> Option<usize> {
    let outside = split_outside_quotes(line, b':')
        .next()
        .map_or(0, <[u8]>::len);
    if outside < line.len() {
        Some(outside)
    } else {
        line.iter().position(|byte| *byte == b':')
    }
}

fn split_outside_quotes(bytes: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    bytes.split(move |byte| {
        quoted ^= *byte == b'"';
        *byte == separator && !quoted
    })
}
