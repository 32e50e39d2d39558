//! The parameters of a property in the other version.

use std::borrow::Cow;

use super::Version;
use crate::content_line::{ContentLine, Parameter};

/// Parameters that are ready to be written.
pub(super) struct Rewritten {
    /// Each as `NAME=value`.
    pub(super) kept: Vec<String>,
    /// Whether they are others than before.
    pub(super) is_changed: bool,
    /// Whether the value is encoded in a way of vCard 2.1 that neither version has.
    pub(super) is_encoded: bool,
}

/// Values that stand for an encoding where vCard 2.1 leaves the name `ENCODING` away.
const ENCODINGS: [&str; 4] = ["7BIT", "8BIT", "BASE64", "QUOTED-PRINTABLE"];

/// A preference is a type in 3.0 and a rank in 4.0; the name `TYPE` can be left away in 2.1.
pub(super) fn rewrite(line: &ContentLine<'_>, to: Version) -> Rewritten {
    let mut rewritten = Rewritten {
        kept: Vec::new(),
        is_changed: false,
        is_encoded: false,
    };
    let mut is_preferred = false;
    for parameter in line.parameters() {
        match kind(&parameter) {
            Kind::Encoding => {
                rewritten.is_encoded = true;
                rewritten.is_changed = true;
            }
            Kind::Preference if to == Version::V3 => {
                is_preferred |= parameter.values().any(|rank| rank == "1");
                rewritten.is_changed = true;
            }
            Kind::Type => {
                let is_preference = |value: &str| value.eq_ignore_ascii_case("PREF");
                let prefers = parameter.values().any(|value| is_preference(&value));
                if to == Version::V4 && prefers {
                    is_preferred = true;
                    rewritten.is_changed = true;
                    let others: Vec<_> = parameter
                        .values()
                        .filter(|value| !is_preference(value))
                        .map(quote)
                        .collect();
                    if !others.is_empty() {
                        rewritten.kept.push(format!("TYPE={}", others.join(",")));
                    }
                } else if parameter.name().is_none() {
                    rewritten.is_changed = true;
                    rewritten.kept.push(format!("TYPE={}", parameter.raw()));
                } else {
                    rewritten.kept.push(parameter.raw().into_owned());
                }
            }
            Kind::Preference | Kind::Other => rewritten.kept.push(parameter.raw().into_owned()),
        }
    }
    if is_preferred {
        let preference = match to {
            Version::V3 => "TYPE=pref",
            Version::V4 => "PREF=1",
        };
        rewritten.kept.push(preference.to_owned());
    }
    rewritten
}

/// Quotes a value where it has to be (RFC 6350 §3.3).
fn quote(value: Cow<'_, str>) -> Cow<'_, str> {
    if value.contains([',', ';', ':']) {
        Cow::Owned(format!("\"{value}\""))
    } else {
        value
    }
}

enum Kind {
    Encoding,
    Preference,
    Type,
    Other,
}

fn kind(parameter: &Parameter<'_>) -> Kind {
    let Some(name) = parameter.name() else {
        let raw = parameter.raw();
        let is_encoding = ENCODINGS.iter().any(|it| raw.eq_ignore_ascii_case(it));
        return if is_encoding {
            Kind::Encoding
        } else {
            Kind::Type
        };
    };
    match name.to_ascii_uppercase().as_str() {
        "CHARSET" | "ENCODING" => Kind::Encoding,
        "PREF" => Kind::Preference,
        "TYPE" => Kind::Type,
        _ => Kind::Other,
    }
}
