//! The bodies of PROPFIND, REPORT, PROPPATCH and MKCOL as typed queries.
//!
//! The parsers take a whole body; the caller caps its length. Unknown elements are skipped, as
//! RFC 4918 §17 asks. A document type is refused before anything in it is looked at, so that no
//! entity is ever expanded.

mod addressbook_query;
pub(crate) mod document;
mod error;
mod properties;
mod property_update;
mod push_register;

use crate::filter::Filter;
use crate::{CARDDAV, DAV, Name};
use document::Document;
use properties::{Names, PropsReader};

pub use error::RequestError;
pub use property_update::{PropertyUpdate, SetProperty, parse_mkcol, parse_proppatch};
pub use push_register::{PushRegister, PushTrigger, WebPushSubscription, parse_push_register};

/// The deepest nesting of elements.
pub const DEPTH_MAX: usize = 32;

/// The most starts and ends of elements, attributes, pieces of text and comments of a body: more
/// than twice what [`HREFS_MAX`] hrefs on lines of their own take.
pub const NODES_MAX: usize = 500_000;

/// The most property names in one request, counting repeated ones.
pub const PROPERTIES_MAX: usize = 256;

/// The most hrefs in one addressbook-multiget.
pub const HREFS_MAX: usize = 50_000;

/// The longest href, in bytes.
pub const HREF_LEN_MAX: usize = 4 * 1024;

/// The longest sync token, in bytes.
pub const SYNC_TOKEN_LEN_MAX: usize = 4 * 1024;

/// The most conditions in one filter: prop-filters, param-filters and text-matches together.
pub const FILTERS_MAX: usize = 128;

/// The longest text or name in a filter, in bytes.
pub const FILTER_TEXT_LEN_MAX: usize = 1024;

/// The longest property that a client sets, as the XML that is kept of it, in bytes.
pub const PROPERTY_LEN_MAX: usize = 64 * 1024;

/// Parses the body of a PROPFIND (RFC 4918 §9.1); an empty one asks for all properties.
///
/// # Errors
///
/// One variant per cause; all but the caps are the client's 400.
pub fn parse_propfind(body: &[u8]) -> Result<Propfind, RequestError> {
    if body.trim_ascii().is_empty() {
        return Ok(Propfind::AllProp {
            include: Vec::new(),
        });
    }
    let mut document = Document::new(body)?;
    let root = document.root()?;
    if !root.is(DAV, "propfind") {
        return Err(RequestError::UnexpectedRoot(root.name()?));
    }
    let mut all_prop = false;
    let mut prop_name = false;
    let mut names = Names::default();
    let mut include = Names::default();
    let mut prop = false;
    while let Some(child) = document.child()? {
        match child.dav() {
            Some("allprop") => {
                all_prop = true;
                document.skip()?;
            }
            Some("propname") => {
                prop_name = true;
                document.skip()?;
            }
            Some("include") => include.read(&mut document)?,
            Some("prop") => {
                prop = true;
                names.read(&mut document)?;
            }
            _ => document.skip()?,
        }
    }
    document.end()?;
    match (all_prop, prop_name, prop) {
        (true, false, false) => Ok(Propfind::AllProp {
            include: include.finish(),
        }),
        (false, true, false) => Ok(Propfind::PropName),
        (false, false, true) => Ok(Propfind::Prop(names.finish())),
        (false, false, false) => Err(RequestError::NoQuestion),
        _ => Err(RequestError::SeveralQuestions),
    }
}

/// What a PROPFIND asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Propfind {
    /// The properties that the server likes to give, and those named besides.
    AllProp {
        /// The names in `DAV:include`.
        include: Vec<Name>,
    },
    /// The names of all properties, without values.
    PropName,
    /// The properties named, each once, in the order of the request. May be empty.
    Prop(Vec<Name>),
}

/// Parses the body of a REPORT (RFC 3253 §3.6).
///
/// A report that this crate does not know is [`Report::Unsupported`], which the server answers
/// with `DAV:supported-report`; the rest of such a body is not looked at.
///
/// # Errors
///
/// One variant per cause; all but the caps are the client's 400.
pub fn parse_report(body: &[u8]) -> Result<Report, RequestError> {
    if body.trim_ascii().is_empty() {
        return Err(RequestError::EmptyBody);
    }
    let mut document = Document::new(body)?;
    let root = document.root()?;
    let report = if root.is(CARDDAV, "addressbook-multiget") {
        addressbook_multiget(&mut document)?
    } else if root.is(CARDDAV, "addressbook-query") {
        addressbook_query::read(&mut document)?
    } else if root.is(DAV, "sync-collection") {
        sync_collection(&mut document)?
    } else {
        return Ok(Report::Unsupported(root.name()?));
    };
    document.end()?;
    Ok(report)
}

/// What a REPORT asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Some cards by href (RFC 6352 §8.7). Every href needs a row in the answer.
    AddressbookMultiget {
        /// What to tell of each card.
        props: Props,
        /// The cards, as the client wrote them without surrounding white space; not decoded.
        hrefs: Vec<String>,
    },
    /// The cards that match a filter (RFC 6352 §8.6).
    AddressbookQuery {
        /// What to tell of each card.
        props: Props,
        /// Which cards; a request without a filter, which KDE has sent, asks for every card.
        filter: Filter,
        /// The most rows that the client wants, at least 1.
        limit: Option<u32>,
    },
    /// The changes since a token (RFC 6578 §3.2).
    SyncCollection {
        /// The token of the last answer; `None` asks for everything.
        token: Option<String>,
        /// How deep to look.
        level: SyncLevel,
        /// The most rows that the client wants, at least 1.
        limit: Option<u32>,
        /// What to tell of each changed card.
        props: Props,
    },
    /// A report that this crate does not know.
    Unsupported(Name),
}

/// What to tell of each card in a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Props {
    /// Whether other properties are asked for than those named.
    pub kind: PropsKind,
    /// The properties named, each once, in the order of the request, without address-data.
    pub names: Vec<Name>,
    /// Whether and how the card itself is asked for.
    pub address_data: Option<AddressData>,
}

/// Which properties a report asks for (RFC 6352 §8.6, §8.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PropsKind {
    /// `DAV:allprop`: those that the server likes to give.
    AllProp,
    /// `DAV:prop`: those named. It is what a request means that does not say, with no name.
    #[default]
    Prop,
    /// `DAV:propname`: the names of all, without values.
    PropName,
}

/// How `CARDDAV:address-data` is asked for (RFC 6352 §10.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressData {
    /// The media type asked for; `None` stands for `text/vcard`.
    pub content_type: Option<String>,
    /// The vCard version asked for. `None` means that the client did not say.
    pub version: Option<String>,
    /// The vCard properties asked for. Empty means the whole card, as does `allprop`, which KDE
    /// sends.
    pub properties: Vec<ChosenProperty>,
}

/// A vCard property that partial address-data has (RFC 6352 §10.4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenProperty {
    /// The group that the property has to be in; `None` takes any and none.
    pub group: Option<String>,
    /// The name of the property; its case means nothing.
    pub name: String,
    /// Whether the property is wanted without its value.
    pub no_value: bool,
}

/// How deep a sync-collection REPORT looks (RFC 6578 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncLevel {
    /// `infinite`.
    Infinite,
    /// `1`, and what a request that names no level means.
    One,
}

fn addressbook_multiget(document: &mut Document<'_>) -> Result<Report, RequestError> {
    let mut props = PropsReader::default();
    let mut hrefs = Vec::new();
    while let Some(child) = document.child()? {
        if props.take(&child, document)? {
            continue;
        }
        match child.dav() {
            Some("href") => {
                if hrefs.len() == HREFS_MAX {
                    return Err(RequestError::TooManyHrefs);
                }
                hrefs.push(
                    document
                        .text(HREF_LEN_MAX)?
                        .ok_or(RequestError::HrefTooLong)?,
                );
            }
            _ => document.skip()?,
        }
    }
    Ok(Report::AddressbookMultiget {
        props: props.finish(),
        hrefs,
    })
}

fn sync_collection(document: &mut Document<'_>) -> Result<Report, RequestError> {
    let mut props = PropsReader::default();
    let mut token = None;
    let mut level = SyncLevel::One;
    let mut limit = None;
    while let Some(child) = document.child()? {
        if props.take(&child, document)? {
            continue;
        }
        match child.dav() {
            Some("sync-token") => {
                let text = document
                    .text(SYNC_TOKEN_LEN_MAX)?
                    .ok_or(RequestError::SyncTokenTooLong)?;
                token = Some(text).filter(|text| !text.is_empty());
            }
            Some("sync-level") => {
                let text = document
                    .text(HREF_LEN_MAX)?
                    .ok_or(RequestError::SyncLevel)?;
                level = match text.as_str() {
                    "1" => SyncLevel::One,
                    "infinite" | "infinity" => SyncLevel::Infinite,
                    _ => return Err(RequestError::SyncLevel),
                };
            }
            Some("limit") => limit = result_limit(document)?.or(limit),
            _ => document.skip()?,
        }
    }
    Ok(Report::SyncCollection {
        token,
        level,
        limit,
        props: props.finish(),
    })
}

/// Reads a limit (RFC 5323 §5.17, RFC 6352 §10.6); its number may be in either namespace.
fn result_limit(document: &mut Document<'_>) -> Result<Option<u32>, RequestError> {
    let mut limit = None;
    while let Some(child) = document.child()? {
        if !child.is(DAV, "nresults") && !child.is(CARDDAV, "nresults") {
            document.skip()?;
            continue;
        }
        let text = document.text(HREF_LEN_MAX)?.ok_or(RequestError::Limit)?;
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(RequestError::Limit);
        }
        // Digits that do not fit are a limit that is never reached.
        limit = match text.parse().unwrap_or(u32::MAX) {
            0 => return Err(RequestError::Limit),
            limit => Some(limit),
        };
    }
    Ok(limit)
}

/// Splits the name of a vCard property from its group (RFC 6352 §10.5.1, RFC 6350 §3.3).
fn property_name(name: &str) -> (Option<String>, String) {
    match name.rsplit_once('.') {
        Some((group, name)) => (Some(group.to_owned()), name.to_owned()),
        None => (None, name.to_owned()),
    }
}

#[cfg(test)]
mod tests;
