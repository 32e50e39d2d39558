//! Property values as text.

/// Decodes quoted-printable (RFC 2045 §6.7) whose soft line breaks are gone. An `=` that no two
/// hexadecimal digits follow stays.
pub(crate) fn decode_quoted_printable(value: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if let (b'=', [high, low, tail @ ..]) = (byte, tail)
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            decoded.push(high * 16 + low);
            rest = tail;
        } else {
            decoded.push(byte);
        }
    }
    decoded
}

/// Undoes the escapes of a text value (RFC 6350 §3.4). Other backslashes stay.
pub(crate) fn unescape(text: &str) -> String {
    let mut unescaped = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let replacement = match (c, chars.peek()) {
            ('\\', Some('n' | 'N')) => '\n',
            ('\\', Some(escaped @ ('\\' | ',' | ';' | ':'))) => *escaped,
            _ => {
                unescaped.push(c);
                continue;
            }
        };
        chars.next();
        unescaped.push(replacement);
    }
    unescaped
}

/// Writes text as a value, or as one component of a structured value (RFC 6350 §3.4).
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => escaped.push_str("\\n"),
            '\r' => {}
            '\\' | ',' | ';' => escaped.extend(['\\', c]),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Cuts a value at a separator that no backslash escapes.
pub(crate) fn split_unescaped(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    text.split(move |c| {
        let separates = c == separator && !escaped;
        escaped = c == '\\' && !escaped;
        separates
    })
}
