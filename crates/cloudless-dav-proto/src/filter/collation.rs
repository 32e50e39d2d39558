use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

/// How texts are compared (RFC 4790): which differences make none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Collation {
    /// `i;ascii-casemap` (RFC 4790 §9.2): the case of ASCII letters makes no difference.
    AsciiCasemap,
    /// `i;octet` (RFC 4790 §9.3): every difference counts.
    Octet,
    /// `i;unicode-casemap` (RFC 5051): case makes no difference in any script, and neither do the
    /// ways to encode one character. It is what a request means that does not say.
    #[default]
    UnicodeCasemap,
}

impl Collation {
    /// All collations, the default first, as `supported-collation-set` lists them (RFC 6352 §8.3.1).
    pub const ALL: [Self; 3] = [Self::UnicodeCasemap, Self::AsciiCasemap, Self::Octet];

    /// The collation of this name, which may be `default` (RFC 6352 §8.3).
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "default" => Some(Self::default()),
            _ => Self::ALL
                .into_iter()
                .find(|collation| collation.name() == name),
        }
    }

    /// The name in the registry of RFC 4790.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AsciiCasemap => "i;ascii-casemap",
            Self::Octet => "i;octet",
            Self::UnicodeCasemap => "i;unicode-casemap",
        }
    }

    /// A text whose bytes compare as the collation compares `text`. An index may keep it: the key
    /// of a part of a text is a part of the text's key.
    ///
    /// RFC 5051 maps each character to its simple title case and decomposes it. Here it is
    /// decomposed and mapped to upper and then to lower case with the full mappings, which equates
    /// the same characters and besides them a few such as `ß` with `ss`.
    pub fn key(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Octet => Cow::Borrowed(text),
            Self::AsciiCasemap => lower_case(text),
            Self::UnicodeCasemap if text.is_ascii() => lower_case(text),
            Self::UnicodeCasemap => Cow::Owned(fold(text.chars()).collect()),
        }
    }
}

/// The key of a text in `i;unicode-casemap`, character by character: it may be eleven times as long
/// as the text. Little is held in memory however many marks are heaped on one letter, as they are
/// put in order thirty at a time (UAX #15 §13).
pub(super) fn fold(text: impl Iterator<Item = char>) -> impl Iterator<Item = char> {
    text.stream_safe()
        .nfkd()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
}

fn lower_case(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}
