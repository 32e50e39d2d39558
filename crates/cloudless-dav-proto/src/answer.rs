//! What another server answers to PROPFIND and addressbook-multiget (RFC 4918 §13), for who copies
//! its address books.
//!
//! The body is a stranger's: the caller caps its length, and everything else has a cap here. No
//! document type is read, so that no entity is ever expanded.

use thiserror::Error;

use crate::request::document::{Document, Element};
use crate::request::{HREF_LEN_MAX, RequestError};
use crate::{CARDDAV, DAV};

/// The most resources in one answer.
pub const ROWS_MAX: usize = 200_000;
/// The longest card, in bytes: what the contacts keep.
pub const CARD_LEN_MAX: usize = 10 * 1024 * 1024;
/// The longest ETag or display name, in bytes.
pub const TEXT_LEN_MAX: usize = 4 * 1024;
/// The most address book home sets of a principal.
pub const HOMES_MAX: usize = 16;
/// Enough for all that stands in rows of that number.
const NODES_MAX: usize = 40 * ROWS_MAX;

/// Why an answer cannot be used.
#[derive(Debug, Error)]
pub enum AnswerError {
    /// It has a document type, which is where entities are made.
    #[error("the server's answer has a document type declaration, which is not read")]
    DocumentType,
    /// It is not XML, or nested too deep, or has too many parts.
    #[error("the server's answer is no XML that can be read")]
    Malformed(#[source] RequestError),
    /// Its root is something else.
    #[error("the server's answer is no multistatus")]
    NotMultistatus,
    /// It has more than [`ROWS_MAX`] rows.
    #[error("the server's answer has more than {ROWS_MAX} resources")]
    TooManyRows,
}

/// One resource of an answer, with those of its properties that the server gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Where it is: a path or a URL, as the server wrote it. Empty when it was too long.
    pub href: String,
    /// The status of the resource as a whole, where it has one instead of properties.
    pub status: Option<u16>,
    /// `DAV:resourcetype` has `collection`.
    pub is_collection: bool,
    /// `DAV:resourcetype` has `CARDDAV:addressbook`.
    pub is_address_book: bool,
    /// `DAV:displayname`.
    pub display_name: Option<String>,
    /// `DAV:getetag`, with its quotes.
    pub etag: Option<String>,
    /// `DAV:current-user-principal`.
    pub current_user_principal: Option<String>,
    /// `CARDDAV:addressbook-home-set`.
    pub address_book_homes: Vec<String>,
    /// `CARDDAV:address-data`, with the line ends that stand there, escaped or not.
    pub address_data: Option<String>,
    /// There was a card, of more than [`CARD_LEN_MAX`] bytes.
    pub is_too_large: bool,
}

/// Reads a multistatus.
///
/// # Errors
///
/// [`AnswerError`].
pub fn parse_multistatus(body: &[u8]) -> Result<Vec<Row>, AnswerError> {
    read(body).map_err(|error| match error {
        Failure::Answer(error) => error,
        Failure::Xml(RequestError::DocumentType) => AnswerError::DocumentType,
        Failure::Xml(error) => AnswerError::Malformed(error),
    })
}

enum Failure {
    Answer(AnswerError),
    Xml(RequestError),
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        Self::Xml(error)
    }
}

fn read(body: &[u8]) -> Result<Vec<Row>, Failure> {
    let document = Document::new(body)?.with_nodes_max(NODES_MAX);
    let mut document = document.with_line_ends();
    if document.root()?.dav() != Some("multistatus") {
        return Err(Failure::Answer(AnswerError::NotMultistatus));
    }
    let mut rows = Vec::new();
    while let Some(element) = document.child()? {
        if element.dav() != Some("response") {
            document.skip()?;
            continue;
        }
        if rows.len() == ROWS_MAX {
            return Err(Failure::Answer(AnswerError::TooManyRows));
        }
        rows.push(response(&mut document)?);
    }
    document.end()?;
    Ok(rows)
}

fn response(document: &mut Document<'_>) -> Result<Row, RequestError> {
    let mut row = Row::default();
    while let Some(element) = document.child()? {
        match element.dav() {
            Some("href") => row.href = document.text(HREF_LEN_MAX)?.unwrap_or_default(),
            Some("status") => row.status = status(document)?,
            Some("propstat") => propstat(document, &mut row)?,
            _ => document.skip()?,
        }
    }
    Ok(row)
}

/// Takes the properties over if they are there: the status may stand before or after them.
fn propstat(document: &mut Document<'_>, row: &mut Row) -> Result<(), RequestError> {
    let mut found = Row::default();
    let mut is_found = false;
    while let Some(element) = document.child()? {
        match element.dav() {
            Some("prop") => prop(document, &mut found)?,
            Some("status") => is_found = matches!(status(document)?, Some(200..=299)),
            _ => document.skip()?,
        }
    }
    if !is_found {
        return Ok(());
    }
    row.is_collection |= found.is_collection;
    row.is_address_book |= found.is_address_book;
    row.is_too_large |= found.is_too_large;
    row.display_name = found.display_name.or_else(|| row.display_name.take());
    row.etag = found.etag.or_else(|| row.etag.take());
    row.address_data = found.address_data.or_else(|| row.address_data.take());
    let principal = found.current_user_principal;
    row.current_user_principal = principal.or_else(|| row.current_user_principal.take());
    row.address_book_homes.append(&mut found.address_book_homes);
    row.address_book_homes.truncate(HOMES_MAX);
    Ok(())
}

fn prop(document: &mut Document<'_>, row: &mut Row) -> Result<(), RequestError> {
    while let Some(element) = document.child()? {
        if element.is(DAV, "resourcetype") {
            while let Some(kind) = document.child()? {
                row.is_collection |= kind.is(DAV, "collection");
                row.is_address_book |= kind.is(CARDDAV, "addressbook");
                document.skip()?;
            }
        } else if element.is(DAV, "displayname") {
            row.display_name = document.text(TEXT_LEN_MAX)?.filter(|it| !it.is_empty());
        } else if element.is(DAV, "getetag") {
            row.etag = document.text(TEXT_LEN_MAX)?.filter(|it| !it.is_empty());
        } else if element.is(DAV, "current-user-principal") {
            row.current_user_principal = hrefs(document)?.into_iter().next();
        } else if element.is(CARDDAV, "addressbook-home-set") {
            row.address_book_homes = hrefs(document)?;
        } else if element.is(CARDDAV, "address-data") {
            row.address_data = document.exact_text(CARD_LEN_MAX)?;
            row.is_too_large = row.address_data.is_none();
        } else {
            document.skip()?;
        }
    }
    Ok(())
}

/// The hrefs in the current element.
fn hrefs(document: &mut Document<'_>) -> Result<Vec<String>, RequestError> {
    let mut hrefs = Vec::new();
    while let Some(element) = document.child()? {
        if !is_href(&element) || hrefs.len() == HOMES_MAX {
            document.skip()?;
            continue;
        }
        hrefs.extend(document.text(HREF_LEN_MAX)?.filter(|it| !it.is_empty()));
    }
    Ok(hrefs)
}

fn is_href(element: &Element<'_>) -> bool {
    element.dav() == Some("href")
}

/// The number of `HTTP/1.1 200 OK`.
fn status(document: &mut Document<'_>) -> Result<Option<u16>, RequestError> {
    let text = document.text(TEXT_LEN_MAX)?.unwrap_or_default();
    Ok(text.split(' ').nth(1).and_then(|it| it.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#"<?xml version="1.0"?><d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav">"#;

    fn parse(rows: &str) -> Result<Vec<Row>, AnswerError> {
        parse_multistatus(format!("{HEAD}{rows}</d:multistatus>").as_bytes())
    }

    #[test]
    fn a_row_has_the_properties_that_the_server_gave() {
        let rows = parse(
            "<d:response><d:href> /a/b.vcf </d:href><d:propstat><d:prop><d:getetag>\"1\"</d:getetag>\
             <c:address-data>BEGIN:VCARD&#13;\nFN:A &amp; B&#13;\n</c:address-data></d:prop>\
             <d:status>HTTP/1.1 200 OK</d:status></d:propstat><d:propstat><d:status>HTTP/1.1 404 Not Found\
             </d:status><d:prop><d:displayname>no</d:displayname></d:prop></d:propstat></d:response>\
             <d:response><d:href>/gone</d:href><d:status>HTTP/1.1 404 Not Found</d:status></d:response>\
             <d:response><d:href>/book/</d:href><d:propstat><d:status>HTTP/1.1 200 OK</d:status><d:prop>\
             <d:resourcetype><d:collection/><c:addressbook/></d:resourcetype><d:displayname>B</d:displayname>\
             <d:current-user-principal><d:href>/p/</d:href></d:current-user-principal>\
             <c:addressbook-home-set><d:href>/h/</d:href><d:href>/i/</d:href></c:addressbook-home-set>\
             </d:prop></d:propstat></d:response>",
        )
        .unwrap();
        let [card, gone, book] = &rows[..] else {
            panic!("{rows:?}");
        };
        assert_eq!(
            (card.href.as_str(), card.etag.as_deref()),
            ("/a/b.vcf", Some("\"1\""))
        );
        assert_eq!(
            card.address_data.as_deref(),
            Some("BEGIN:VCARD\r\nFN:A & B\r\n")
        );
        assert_eq!(card.display_name, None);
        for (written, expected) in [("A\r\nB\n", "A\r\nB\n"), ("A&#xD;\nB", "A\r\nB")] {
            let row = format!(
                "<d:response><d:propstat><d:prop><c:address-data>{written}</c:address-data></d:prop>\
                 <d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
            );
            assert_eq!(
                parse(&row).unwrap()[0].address_data.as_deref(),
                Some(expected)
            );
        }
        assert_eq!((gone.href.as_str(), gone.status), ("/gone", Some(404)));
        assert!(book.is_collection && book.is_address_book);
        assert_eq!(book.display_name.as_deref(), Some("B"));
        assert_eq!(book.current_user_principal.as_deref(), Some("/p/"));
        assert_eq!(book.address_book_homes, ["/h/", "/i/"]);
    }

    #[test]
    fn what_a_hostile_server_says_is_refused() {
        let bomb = "<!DOCTYPE d [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><d>&b;</d>";
        let error = parse_multistatus(bomb.as_bytes()).unwrap_err();
        assert!(matches!(error, AnswerError::DocumentType), "{error}");
        for body in [
            "",
            "<a",
            "<a/>",
            "{}",
            "<d:multistatus xmlns:d=\"DAV:\">",
            "\u{0}",
        ] {
            assert!(parse_multistatus(body.as_bytes()).is_err(), "{body}");
        }
        assert!(parse(&"<d:x>".repeat(100_000)).is_err());
        let many = "<d:response/>".repeat(ROWS_MAX + 1);
        assert!(matches!(parse(&many), Err(AnswerError::TooManyRows)));
        let long = format!(
            "<d:response><d:href>/{}</d:href></d:response>",
            "a".repeat(HREF_LEN_MAX)
        );
        assert_eq!(parse(&long).unwrap()[0].href, "");
        let large = format!(
            "<d:response><d:propstat><d:prop><c:address-data>{}</c:address-data></d:prop>\
             <d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>",
            "a".repeat(CARD_LEN_MAX + 1)
        );
        let row = &parse(&large).unwrap()[0];
        assert!(row.is_too_large && row.address_data.is_none());
    }
}
