//! Pictures, sounds and keys: `ENCODING=b` in 3.0 (RFC 2426 §2.4.1), a `data:` URI in 4.0
//! (RFC 6350 §5.7). The Base64 text is the same in both and is copied as it is.

use super::Version;
use crate::content_line::{ContentLine, Parameter};

const MEDIA: [&str; 4] = ["KEY", "LOGO", "PHOTO", "SOUND"];

/// Media types of keys and what 3.0 calls them; those of the others follow from their names.
const KEY_TYPES: [(&str, &str); 2] = [
    ("PGP", "application/pgp-keys"),
    ("X509", "application/x-x509-user-cert"),
];

pub(super) fn is_media(line: &ContentLine<'_>) -> bool {
    MEDIA.iter().any(|name| line.is(name))
}

/// The property as the version has it, unfolded; `None` when it stays as it is written.
pub(super) fn rewrite(line: &ContentLine<'_>, to: Version) -> Option<String> {
    let value = str::from_utf8(line.value()).ok()?.trim();
    match to {
        Version::V3 => to_3(line, value),
        Version::V4 => to_4(line, value),
    }
}

fn to_4(line: &ContentLine<'_>, value: &str) -> Option<String> {
    let mut is_binary = false;
    let mut token = None;
    let mut kept = Vec::new();
    for parameter in line.parameters() {
        let named = |name| is_named(&parameter, name);
        let first = parameter.values().next().unwrap_or_default();
        let is_base64 = ["B", "BASE64"]
            .iter()
            .any(|it| first.eq_ignore_ascii_case(it));
        if is_base64 && (named("ENCODING") || parameter.name().is_none()) {
            is_binary = true;
        } else if parameter.name().is_none() || named("TYPE") {
            // Quotes may stand around the whole list.
            for value in parameter.values() {
                for value in value.split(',').map(str::trim) {
                    match value.to_ascii_uppercase().as_str() {
                        "PREF" => kept.push("PREF=1".to_owned()),
                        "HOME" | "WORK" => kept.push(format!("TYPE={value}")),
                        _ => token = Some(value.to_owned()),
                    }
                }
            }
        } else if !named("VALUE") {
            kept.push(parameter.raw().into_owned());
        }
    }
    if !is_binary || value.starts_with("data:") {
        return None;
    }
    let media_type = token.map_or_else(String::new, |token| media_type(line, &token));
    let base64: String = value.split_ascii_whitespace().collect();
    Some(line.rebuilt(&kept, &format!("data:{media_type};base64,{base64}")))
}

fn to_3(line: &ContentLine<'_>, value: &str) -> Option<String> {
    let mut kept = Vec::new();
    let mut is_declared = false;
    for parameter in line.parameters() {
        if is_named(&parameter, "PREF") {
            kept.push("TYPE=pref".to_owned());
        } else if is_named(&parameter, "VALUE") {
            is_declared = true;
        } else if !is_named(&parameter, "MEDIATYPE") {
            kept.push(parameter.raw().into_owned());
        }
    }
    let Some(data) = value.strip_prefix("data:") else {
        if is_declared || !value.contains("://") {
            return None;
        }
        kept.push("VALUE=uri".to_owned());
        return Some(line.rebuilt(&kept, value));
    };
    let (header, base64) = data.split_once(',')?;
    // Some programs escape the comma as in text.
    let media_type = header.trim_end_matches('\\').strip_suffix(";base64")?;
    kept.push("ENCODING=b".to_owned());
    kept.extend(token(media_type).map(|token| format!("TYPE={token}")));
    Some(line.rebuilt(&kept, base64))
}

fn media_type(line: &ContentLine<'_>, token: &str) -> String {
    let subtype = token.to_ascii_lowercase();
    let known = KEY_TYPES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(token));
    match known {
        _ if token.contains('/') => subtype,
        Some((_, media_type)) => (*media_type).to_owned(),
        None if line.is("KEY") => format!("application/{subtype}"),
        None if line.is("SOUND") => format!("audio/{subtype}"),
        None if subtype == "jpg" => "image/jpeg".to_owned(),
        None => format!("image/{subtype}"),
    }
}

/// What 3.0 calls a media type; nothing for one that could not be written as a parameter.
fn token(media_type: &str) -> Option<String> {
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    let (_, subtype) = media_type.split_once('/')?;
    let known = KEY_TYPES.iter().find(|(_, known)| *known == media_type);
    let token = known.map_or(subtype, |(token, _)| token);
    let writable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.');
    (!token.is_empty() && token.chars().all(writable)).then(|| token.to_ascii_uppercase())
}

fn is_named(parameter: &Parameter<'_>, name: &str) -> bool {
    parameter
        .name()
        .is_some_and(|it| it.eq_ignore_ascii_case(name))
}
