use super::{split_list, unquote};

/// Which vCard a client wants, by its `Accept` header (RFC 9110 §12.5.1, RFC 6352 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The card as it is stored, whatever its version.
    AsStored,
    /// Nothing that is a vCard of version 3.0 or 4.0: a 406, where the caller is strict.
    Nothing,
    /// vCard 3.0 rather than any other.
    Version3,
    /// vCard 4.0 rather than any other.
    Version4,
}

/// Reads the values of `Accept`; without any, everything is accepted.
///
/// A range without a version takes every version, and so do `text/*` and `*/*`. What is stored is
/// given unless the client likes a version better.
pub fn accepted_vcard<'a>(values: impl IntoIterator<Item = &'a str>) -> Accepted {
    let mut any = None;
    let mut version_3 = None;
    let mut version_4 = None;
    let mut has_range = false;
    let ranges = values.into_iter().flat_map(|value| split_list(value, ','));
    for range in ranges.filter(|range| !range.is_empty()) {
        has_range = true;
        let mut parts = split_list(range, ';');
        let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
        let mut quality = 1000;
        let mut version = None;
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => quality = parse_quality(value),
                "version" => version = Some(unquote(value)),
                _ => {}
            }
        }
        // The more specific range decides, whatever the order (RFC 9110 §12.5.1).
        let (known, specificity) = match (media_type.as_str(), version) {
            ("text/vcard", Some("3.0")) => (&mut version_3, 3),
            ("text/vcard", Some("4.0")) => (&mut version_4, 3),
            ("text/vcard", None) => (&mut any, 3),
            ("text/*", _) => (&mut any, 2),
            ("*/*", _) => (&mut any, 1),
            _ => continue,
        };
        if known.is_none_or(|(_, before)| before < specificity) {
            *known = Some((quality, specificity));
        }
    }
    let quality = |range: Option<(u16, u8)>| range.map_or(0, |(quality, _)| quality);
    let [any, version_3, version_4] = [any, version_3, version_4].map(quality);
    match any.max(version_3).max(version_4) {
        _ if !has_range => Accepted::AsStored,
        0 => Accepted::Nothing,
        // Either version is as good as the other, so that what is stored is too.
        best if any == best || version_3 == version_4 => Accepted::AsStored,
        best if version_3 == best => Accepted::Version3,
        _ => Accepted::Version4,
    }
}

/// A quality in thousandths (RFC 9110 §12.4.2); one that is none counts as the best.
fn parse_quality(value: &str) -> u16 {
    let value = value.trim();
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(whole, "0" | "1") || fraction.len() > 3 || !is_digits(fraction) {
        return 1000;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().unwrap_or_default();
    if whole == "1" { 1000 } else { fraction }
}
