use std::borrow::Cow;

/// The UTF-8 byte order mark, which some programs put before each card.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A logical line: physical lines joined where they are folded (RFC 6350 §3.2) or where
/// quoted-printable text breaks softly (vCard 2.1).
pub(crate) struct Line<'a> {
    /// Where the line starts in the input, behind any byte order mark.
    pub(crate) start: usize,
    /// Where the next line starts.
    pub(crate) end: usize,
    /// The line without folds and line endings.
    pub(crate) text: Cow<'a, [u8]>,
}

/// What a line means for the nesting of cards.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    /// `BEGIN:VCARD`.
    Begin,
    /// `END:VCARD`.
    End,
    /// `AGENT:`, which the lines of another card follow (vCard 2.1).
    Agent,
    /// `AGENT:BEGIN:VCARD`, the same with the first line of that card.
    AgentBegin,
}

impl Line<'_> {
    /// The line as it is in the input, with its ending, to be written below another one than there.
    /// White space at its start, which it may have below a blank line or the first one of a card,
    /// would make it a part of that line.
    pub(crate) fn raw<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        let raw = &input[self.start..self.end];
        let is_fold = |byte: &u8| matches!(byte, b' ' | b'\t');
        let start = raw.iter().position(|byte| !is_fold(byte));
        &raw[start.unwrap_or(0)..]
    }

    pub(crate) fn marker(&self) -> Option<Marker> {
        marker(&self.text)
    }

    /// Whether the line holds nothing but white space and control characters.
    pub(crate) fn is_blank(&self) -> bool {
        self.text.iter().all(|byte| *byte <= b' ')
    }
}

/// The logical lines of some bytes; blank lines are lines too.
pub(crate) struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The physical line at `start`: its content and where the next one starts.
    fn physical(&self, start: usize) -> (&'a [u8], usize) {
        let rest = &self.bytes[start..];
        let Some(len) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
            return (rest, self.bytes.len());
        };
        let ending = match &rest[len..] {
            // A translation to CRLF done twice.
            [b'\r', b'\r', b'\n', ..] => 3,
            [b'\r', b'\n', ..] => 2,
            _ => 1,
        };
        (&rest[..len], start + len + ending)
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        if self.at == self.bytes.len() {
            return None;
        }
        if self.bytes[self.at..].starts_with(BYTE_ORDER_MARK) {
            self.at += BYTE_ORDER_MARK.len();
        }
        let start = self.at;
        let (content, mut end) = self.physical(start);
        let mut text = Cow::Borrowed(content);
        // A blank line has nothing to go on, and nothing belongs to the frame of a card.
        let joins = !content.is_empty() && !is_frame(content);
        let mut header = Header::default();
        while joins && end < self.bytes.len() {
            header.look_at(&text);
            let (content, next) = self.physical(end);
            if header.quoted_printable == Some(true)
                && text.last() == Some(&b'=')
                && !is_frame(content)
            {
                let text = text.to_mut();
                text.pop();
                text.extend_from_slice(content);
            } else if let [b' ' | b'\t', content @ ..] = content {
                text.to_mut().extend_from_slice(content);
            } else {
                break;
            }
            end = next;
        }
        self.at = end;
        Some(Line { start, end, text })
    }
}

/// Whether the part of a line before its value says quoted-printable, found once per line.
#[derive(Default)]
struct Header {
    looked_at: usize,
    quoted_printable: Option<bool>,
}

impl Header {
    fn look_at(&mut self, text: &[u8]) {
        if self.quoted_printable.is_some() {
            return;
        }
        let new = &text[self.looked_at..];
        match new.iter().position(|byte| *byte == b':') {
            Some(at) => {
                let header = &text[..self.looked_at + at];
                const NAME: &[u8] = b"QUOTED-PRINTABLE";
                let found = header
                    .windows(NAME.len())
                    .any(|window| window.eq_ignore_ascii_case(NAME));
                self.quoted_printable = Some(found);
            }
            None => self.looked_at = text.len(),
        }
    }
}

fn is_frame(physical_line: &[u8]) -> bool {
    matches!(marker(physical_line), Some(Marker::Begin | Marker::End))
}

fn marker(text: &[u8]) -> Option<Marker> {
    let colon = text.iter().take(16).position(|byte| *byte == b':')?;
    let name = text[..colon].trim_ascii();
    let value = text[colon + 1..].trim_ascii();
    if name.eq_ignore_ascii_case(b"BEGIN") && value.eq_ignore_ascii_case(b"VCARD") {
        Some(Marker::Begin)
    } else if name.eq_ignore_ascii_case(b"END") && value.eq_ignore_ascii_case(b"VCARD") {
        Some(Marker::End)
    } else if name.eq_ignore_ascii_case(b"AGENT") && value.is_empty() {
        Some(Marker::Agent)
    } else if name.eq_ignore_ascii_case(b"AGENT") && value.eq_ignore_ascii_case(b"BEGIN:VCARD") {
        Some(Marker::AgentBegin)
    } else {
        None
    }
}
