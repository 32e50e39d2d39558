use super::{split_list, unquote};

/// What a client would like, by its `Prefer` headers (RFC 7240, RFC 8144). The server may ignore
/// all of it; what it honors it says in `Preference-Applied`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefer {
    /// `return`: how much to tell.
    pub returns: Option<Return>,
    /// `depth-noroot`: leave the resource itself out of a PROPFIND with Depth 1 (RFC 8144 §2.2).
    pub depth_noroot: bool,
}

/// How much a client wants to be told (RFC 7240 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// As little as possible: no 404 rows and no body after a success (RFC 8144 §2.1).
    Minimal,
    /// The resource as it is now, with the answer to PUT, and with a 412 (RFC 8144 §3).
    Representation,
}

impl Prefer {
    /// Reads the values of `Prefer`. Of a preference that comes twice the first counts (RFC 7240
    /// §2), and what is unknown is skipped.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut prefer = Self::default();
        let mut has_return = false;
        for preference in values.into_iter().flat_map(|value| split_list(value, ',')) {
            let preference = split_list(preference, ';').next().unwrap_or_default();
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "return" if !has_return => {
                    has_return = true;
                    prefer.returns = match unquote(value).to_ascii_lowercase().as_str() {
                        "minimal" => Some(Return::Minimal),
                        "representation" => Some(Return::Representation),
                        _ => None,
                    };
                }
                // What RFC 7240 was before it was one; some clients still say it so.
                "return-minimal" if !has_return => {
                    has_return = true;
                    prefer.returns = Some(Return::Minimal);
                }
                "depth-noroot" => prefer.depth_noroot = true,
                _ => {}
            }
        }
        prefer
    }
}
