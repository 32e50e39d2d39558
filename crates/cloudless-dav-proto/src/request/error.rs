use thiserror::Error;

use super::{
    DEPTH_MAX, FILTER_TEXT_LEN_MAX, FILTERS_MAX, HREF_LEN_MAX, HREFS_MAX, NODES_MAX,
    PROPERTIES_MAX, PROPERTY_LEN_MAX, SYNC_TOKEN_LEN_MAX,
};
use crate::Name;
use crate::filter::Collation;

/// Why a request body is refused.
#[derive(Debug, Error)]
pub enum RequestError {
    /// A REPORT or PROPPATCH without a body.
    #[error("the request has no body; REPORT and PROPPATCH need one")]
    EmptyBody,
    /// Bytes that are not UTF-8.
    #[error("the request body is not UTF-8 from byte {offset} on")]
    NotUtf8 {
        /// How many bytes are well-formed.
        offset: usize,
    },
    /// A character that XML 1.0 forbids, literal or as a reference.
    #[error("the request body holds the character U+{code:04X}, which XML forbids")]
    IllegalCharacter {
        /// The character's code point.
        code: u32,
    },
    /// Not well-formed XML.
    #[error("the request body is not well-formed XML")]
    Malformed {
        /// What the XML reader says.
        #[source]
        source: quick_xml::Error,
    },
    /// The body ends inside an element.
    #[error("the request body ends before its elements are closed")]
    Unclosed,
    /// No element at all.
    #[error("the request body has no XML element")]
    NoRoot,
    /// Text or a second element beside the root element.
    #[error("the request body has content outside its root element")]
    OutsideRoot,
    /// A prefix that is not declared where it is used.
    #[error("the request body uses the namespace prefix {prefix:?} without declaring it")]
    UndeclaredPrefix {
        /// The prefix.
        prefix: String,
    },
    /// An element or namespace name that cannot be a [`Name`].
    #[error("the request body names an element that is no XML name or is too long")]
    InvalidName,
    /// A document type declaration.
    #[error("the request body has a document type declaration; send it without one")]
    DocumentType,
    /// A reference to an entity that XML does not predefine.
    #[error("the request body refers to the entity {entity:?}, which XML does not predefine")]
    UnknownEntity {
        /// The entity's name.
        entity: String,
    },
    /// Deeper than [`DEPTH_MAX`].
    #[error("the request body nests more than {DEPTH_MAX} elements")]
    TooDeep,
    /// More than [`NODES_MAX`] parts.
    #[error("the request body has more than {NODES_MAX} parts; ask in several requests")]
    TooManyNodes,
    /// More namespace declarations in scope than any client needs.
    #[error("the request body declares too many namespaces")]
    TooManyNamespaces,
    /// More than [`PROPERTIES_MAX`] property names.
    #[error("the request names more than {PROPERTIES_MAX} properties; ask for fewer")]
    TooManyProperties,
    /// More than [`HREFS_MAX`] hrefs.
    #[error("the request names more than {HREFS_MAX} hrefs; ask in several requests")]
    TooManyHrefs,
    /// An href longer than [`HREF_LEN_MAX`].
    #[error("the request has an href longer than {HREF_LEN_MAX} bytes")]
    HrefTooLong,
    /// A sync token longer than [`SYNC_TOKEN_LEN_MAX`].
    #[error("the sync token is longer than {SYNC_TOKEN_LEN_MAX} bytes")]
    SyncTokenTooLong,
    /// A collation that is not among [`Collation::ALL`]: `CARDDAV:supported-collation`.
    #[error("the collation {collation:?} is not supported; use {}", SUPPORTED.join(", "))]
    UnsupportedCollation {
        /// The collation's name, cut short.
        collation: String,
    },
    /// An element that a filter cannot have: `CARDDAV:supported-filter`.
    #[error("the filter has an element {0}, which is not supported")]
    UnsupportedFilter(Name),
    /// An attribute of a filter that is missing or has no value that RFC 6352 §10.5 knows.
    #[error("the filter has an element whose attribute {0:?} is missing or has an unknown value")]
    FilterAttribute(&'static str),
    /// `is-not-defined` together with conditions on what is not defined.
    #[error("the filter combines is-not-defined with another condition, or matches twice")]
    FilterContradiction,
    /// More than [`FILTERS_MAX`] conditions.
    #[error("the filter has more than {FILTERS_MAX} conditions; ask in several requests")]
    TooManyFilters,
    /// A text or a name in a filter longer than [`FILTER_TEXT_LEN_MAX`].
    #[error("the filter has a text longer than {FILTER_TEXT_LEN_MAX} bytes")]
    FilterTextTooLong,
    /// A property longer than [`PROPERTY_LEN_MAX`].
    #[error("the request sets a property longer than {PROPERTY_LEN_MAX} bytes")]
    PropertyTooLong,
    /// A root that the method does not have.
    #[error(
        "the root element of the request body is {0}; PROPFIND needs DAV:propfind, PROPPATCH \
         DAV:propertyupdate, MKCOL DAV:mkcol"
    )]
    UnexpectedRoot(Name),
    /// A PROPFIND with none of allprop, propname and prop.
    #[error("the PROPFIND asks for nothing; name allprop, propname or prop")]
    NoQuestion,
    /// A PROPFIND with more than one of allprop, propname and prop.
    #[error("the PROPFIND has more than one of allprop, propname and prop; name one")]
    SeveralQuestions,
    /// A sync level that is neither `1` nor `infinite`.
    #[error("the sync level is neither 1 nor infinite")]
    SyncLevel,
    /// A limit that is not a positive number.
    #[error("the limit of the request is not a positive number")]
    Limit,
}

const SUPPORTED: [&str; 3] = [
    Collation::ALL[0].name(),
    Collation::ALL[1].name(),
    Collation::ALL[2].name(),
];
