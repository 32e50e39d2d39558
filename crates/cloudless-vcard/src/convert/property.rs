//! One property in the other version.

use super::{Version, legacy, media, parameters};
use crate::content_line::ContentLine;

/// The year that Apple's clients write for a date without one, and the parameter that says so.
const OMITTED_YEAR: &str = "1604";
const OMIT_YEAR: &str = "X-APPLE-OMIT-YEAR";

/// The property as the version has it, unfolded; `None` when it stays as it is written.
pub(super) fn rewrite(line: &ContentLine<'_>, from: &str, to: Version) -> Option<String> {
    if line.has_untold_parameters() {
        return None;
    }
    if let Some(name) = renamed(line, to) {
        return Some(line.with_name(name));
    }
    if line.is("GEO") {
        return geo(line, to);
    }
    if media::is_media(line) {
        return media::rewrite(line, to);
    }
    if DATES.iter().any(|name| line.is(name)) {
        return date(line, from, to);
    }
    let parameters = parameters::rewrite(line, to);
    let value = if parameters.is_encoded {
        Some(legacy::decode(line, from)?)
    } else if to == Version::V3 && line.is("TEL") {
        let value = str::from_utf8(line.value()).ok()?;
        value.trim().strip_prefix("tel:").map(str::to_owned)
    } else {
        None
    };
    if value.is_none() && !parameters.is_changed {
        return None;
    }
    let mut parameters = parameters.kept;
    if line.is("TEL") && value.is_some() {
        parameters.retain(|parameter| !parameter.to_ascii_uppercase().starts_with("VALUE="));
    }
    let value = match value {
        Some(value) => value,
        None => str::from_utf8(line.value()).ok()?.to_owned(),
    };
    Some(line.rebuilt(&parameters, &value))
}

/// The other name of a property that groups are made of. Apple's clients know no KIND and MEMBER.
fn renamed(line: &ContentLine<'_>, to: Version) -> Option<&'static str> {
    let is_group = || line.value().trim_ascii().eq_ignore_ascii_case(b"group");
    match to {
        Version::V3 if line.is("KIND") && is_group() => Some("X-ADDRESSBOOKSERVER-KIND"),
        Version::V3 if line.is("MEMBER") => Some("X-ADDRESSBOOKSERVER-MEMBER"),
        Version::V4 if line.is("X-ADDRESSBOOKSERVER-KIND") => Some("KIND"),
        Version::V4 if line.is("X-ADDRESSBOOKSERVER-MEMBER") => Some("MEMBER"),
        _ => None,
    }
}

/// A position: two numbers in 3.0 (RFC 2426 §3.4.2), a URI in 4.0 (RFC 6350 §6.5.2).
fn geo(line: &ContentLine<'_>, to: Version) -> Option<String> {
    let value = str::from_utf8(line.value()).ok()?.trim();
    let value = match to {
        Version::V3 => {
            let (_, position) = value.split_once("geo:")?;
            let (latitude, rest) = position.split_once(',')?;
            let longitude = rest.split([',', ';']).next()?;
            format!("{latitude};{longitude}")
        }
        Version::V4 if value.contains(':') => return None,
        Version::V4 => {
            let (latitude, longitude) = value.split_once([';', ','])?;
            // Some programs escape the separator as in text.
            let latitude = latitude.trim_end_matches('\\');
            format!("geo:{latitude},{longitude}")
        }
    };
    Some(line.rebuilt(&parameters::rewrite(line, to).kept, &value))
}

/// Properties that are a date or a time in both versions.
const DATES: [&str; 4] = ["ANNIVERSARY", "BDAY", "DEATHDATE", "REV"];

/// A date: extended in 3.0 (RFC 2426 §4), basic in 4.0 (RFC 6350 §4.3), where a year may be
/// missing. One that is not understood, or is text, stays.
fn date(line: &ContentLine<'_>, from: &str, to: Version) -> Option<String> {
    let mut parameters = parameters::rewrite(line, to);
    let named = |parameter: &str, name: &str| {
        let (found, _) = parameter.split_once('=').unwrap_or_default();
        found.eq_ignore_ascii_case(name)
    };
    let is_text = |parameter: &String| parameter.eq_ignore_ascii_case("VALUE=text");
    if parameters.kept.iter().any(is_text) {
        return None;
    }
    let mut value = str::from_utf8(line.value()).ok()?.trim().to_owned();
    let marks = |it: &String| named(it, OMIT_YEAR) && it.ends_with(OMITTED_YEAR);
    match to {
        Version::V4 if parameters.kept.iter().any(marks) => {
            if let Some(day) = value.strip_prefix(OMITTED_YEAR) {
                value = format!("--{}", day.trim_start_matches('-').replacen('-', "", 1));
                parameters.kept.retain(|it| !marks(it));
            }
        }
        // 3.0 has no date without a year.
        Version::V3 => {
            if let Some(day) = value.strip_prefix("--").filter(|day| !day.starts_with('-')) {
                let day = day.replacen('-', "", 1);
                if day.len() == 4 && day.bytes().all(|byte| byte.is_ascii_digit()) {
                    value = format!("{OMITTED_YEAR}{day}");
                    parameters.kept.push(format!("{OMIT_YEAR}={OMITTED_YEAR}"));
                }
            }
        }
        // Google writes the month and day in the extended form, which 4.0 does not have.
        Version::V4 => {
            if let Some((month, day)) = value.strip_prefix("--").and_then(|it| it.split_once('-'))
                && [month, day].iter().all(|it| is_two_digits(it))
            {
                value = format!("--{month}{day}");
            }
        }
    }
    // 3.0 reads the form of 4.0 too where a program is the reader (RFC 2426 §4).
    if !(to == Version::V3 && line.is("REV")) {
        value = legacy::date(line, &value, from, to).unwrap_or(value);
    }
    parameters.kept.retain(|it| !named(it, "VALUE"));
    let changed = line.rebuilt(&parameters.kept, &value);
    (Some(changed.as_str()) != line.unfolded()).then_some(changed)
}

fn is_two_digits(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())
}
