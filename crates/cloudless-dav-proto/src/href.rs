//! Names as path segments, in one spelling, and paths back to names (RFC 3986).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use thiserror::Error;

/// Everything but the unreserved characters of RFC 3986 §2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Why a path or URL has no names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HrefError {
    /// A `%` without two hexadecimal digits after it.
    #[error("the path has a % that no two hexadecimal digits follow; write it as %25")]
    PercentEncoding,
    /// A percent-encoded segment that is not UTF-8.
    #[error("the path is not UTF-8 when decoded; encode names as UTF-8")]
    NotUtf8,
    /// A segment `.` or `..`, which a client and a server may resolve differently.
    #[error("the path has a segment . or ..; send the path without it")]
    DotSegment,
    /// Neither an absolute path nor an absolute URL.
    #[error("the href is relative; send an absolute path or URL")]
    Relative,
}

/// Encodes one name as a path segment: the unreserved characters of RFC 3986 stay, everything
/// else becomes `%XX` with upper-case digits.
///
/// Clients compare hrefs as text, so that every href of an answer has to be made with this. The
/// names `.` and `..` cannot be path segments in any spelling, and the empty name is none.
pub fn encode_segment(name: &str) -> String {
    utf8_percent_encode(name, RESERVED).to_string()
}

/// Splits an absolute path or URL into decoded segments.
///
/// It splits before it decodes, so that `%2F` is part of a name. Scheme, host, query, fragment and
/// empty segments are dropped: a trailing slash makes no difference. Any spelling of a name gives
/// the same name.
///
/// # Errors
///
/// When the path is relative, has a dot segment, or does not decode to UTF-8.
pub fn decode_path(href: &str) -> Result<Vec<String>, HrefError> {
    let href = href.split(['?', '#']).next().unwrap_or_default();
    absolute_path(href)?
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(decode_segment)
        .collect()
}

fn absolute_path(href: &str) -> Result<&str, HrefError> {
    if href.starts_with('/') {
        return Ok(href);
    }
    match href.split_once("://") {
        Some((scheme, rest)) if !scheme.is_empty() && !scheme.contains('/') => {
            Ok(rest.find('/').map_or("/", |at| &rest[at..]))
        }
        _ => Err(HrefError::Relative),
    }
}

fn decode_segment(segment: &str) -> Result<String, HrefError> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'%' {
            let (value, tail) = hexadecimal_pair(tail).ok_or(HrefError::PercentEncoding)?;
            bytes.push(value);
            rest = tail;
        } else {
            bytes.push(byte);
        }
    }
    let name = String::from_utf8(bytes).map_err(|_| HrefError::NotUtf8)?;
    if name == "." || name == ".." {
        Err(HrefError::DotSegment)
    } else {
        Ok(name)
    }
}

fn hexadecimal_pair(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let [high, low, tail @ ..] = bytes else {
        return None;
    };
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    Some((digit(*high)? * 16 + digit(*low)?, tail))
}
