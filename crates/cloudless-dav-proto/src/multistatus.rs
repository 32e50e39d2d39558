//! The `207 Multi-Status` body (RFC 4918 §13), written row by row.

mod acl;
mod value;

use crate::Name;
use crate::error::{self, Condition};
use crate::markup::{self, DECLARATION, NAMESPACES, push};

pub use acl::{Ace, Principal, SupportedPrivilege};
pub use value::{AddressDataType, Value};

/// Writes a multistatus body into memory that the caller drains while it goes on.
///
/// Create one, add a row per resource with [`Writer::response`] or [`Writer::status_response`],
/// send on what [`Writer::take`] gives whenever [`Writer::len`] has grown enough, and end with
/// [`Writer::finish`]. Whatever text and bytes come in, the body is well-formed XML.
#[derive(Debug)]
pub struct Writer {
    buffer: Vec<u8>,
}

impl Writer {
    /// Starts a body.
    pub fn new() -> Self {
        let mut buffer = Vec::new();
        push(
            &mut buffer,
            &[DECLARATION, "<D:multistatus", NAMESPACES, ">\n"],
        );
        Self { buffer }
    }

    /// Adds the row of a resource with its properties.
    ///
    /// `href` is written as it is, apart from XML escaping: percent-encode it before. The
    /// properties that were found come first, because Thunderbird looks at the first status of a
    /// row only; the names that are missing follow with 404. With neither, the row says 200 about
    /// no property.
    pub fn response(&mut self, href: &str, found: &[Property], missing: &[Name]) {
        let out = &mut self.buffer;
        push(out, &["<D:response>"]);
        markup::dav_text(out, "href", href);
        if !found.is_empty() || missing.is_empty() {
            push(out, &["<D:propstat><D:prop>"]);
            for property in found {
                property.write(out);
            }
            push(out, &["</D:prop>"]);
            Status::Ok.write(out);
            push(out, &["</D:propstat>"]);
        }
        if !missing.is_empty() {
            push(out, &["<D:propstat><D:prop>"]);
            for name in missing {
                markup::empty(out, name);
            }
            push(out, &["</D:prop>"]);
            Status::NotFound.write(out);
            push(out, &["</D:propstat>"]);
        }
        push(out, &["</D:response>\n"]);
    }

    /// Adds the row of a resource with its properties by status, as PROPPATCH answers (RFC 4918
    /// §9.2.1). `href` is written as [`Writer::response`] does.
    pub fn propstats(&mut self, href: &str, propstats: &[PropStat]) {
        let out = &mut self.buffer;
        push(out, &["<D:response>"]);
        markup::dav_text(out, "href", href);
        for propstat in propstats {
            propstat.write(out);
        }
        push(out, &["</D:response>\n"]);
    }

    /// Adds a row that has a status and no properties: a card that is gone, or 507 for the
    /// collection when the answer was cut short.
    pub fn status_response(&mut self, href: &str, status: Status) {
        self.refusal(href, status, &[]);
    }

    /// Adds a row with a status and the conditions that explain it, such as 507 with
    /// [`Condition::NumberOfMatchesWithinLimits`] (RFC 6578 §3.6).
    pub fn refusal(&mut self, href: &str, status: Status, conditions: &[Condition]) {
        let out = &mut self.buffer;
        push(out, &["<D:response>"]);
        markup::dav_text(out, "href", href);
        status.write(out);
        if !conditions.is_empty() {
            push(out, &["<D:error>"]);
            error::write_conditions(out, conditions);
            push(out, &["</D:error>"]);
        }
        push(out, &["</D:response>\n"]);
    }

    /// The number of bytes that wait to be taken.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether no bytes wait to be taken.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Takes the bytes written since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Ends the body, with the sync token in the answer to a sync-collection REPORT (RFC 6578
    /// §6.4), and gives the bytes not yet taken.
    pub fn finish(mut self, sync_token: Option<&str>) -> Vec<u8> {
        if let Some(sync_token) = sync_token {
            markup::dav_text(&mut self.buffer, "sync-token", sync_token);
        }
        push(&mut self.buffer, &["</D:multistatus>\n"]);
        self.buffer
    }
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

/// The body that tells which properties an extended MKCOL set or why it set none (RFC 5689 §5.2);
/// its media type is that of a multistatus.
pub fn mkcol_response(propstats: &[PropStat]) -> Vec<u8> {
    let mut body = Vec::new();
    push(
        &mut body,
        &[DECLARATION, "<D:mkcol-response", NAMESPACES, ">\n"],
    );
    for propstat in propstats {
        propstat.write(&mut body);
    }
    push(&mut body, &["</D:mkcol-response>\n"]);
    body
}

/// Properties that share a status (RFC 4918 §14.22).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropStat {
    /// What became of the properties.
    pub status: Status,
    /// The properties; in the answer to a PROPPATCH each with [`Value::Empty`].
    pub properties: Vec<Property>,
    /// What explains the status, such as [`Condition::CannotModifyProtectedProperty`].
    pub conditions: Vec<Condition>,
}

impl PropStat {
    /// The names of properties with what became of them, and nothing that explains it.
    pub fn new(status: Status, names: impl IntoIterator<Item = Name>) -> Self {
        let empty = |name| Property::new(name, Value::Empty);
        Self {
            status,
            properties: names.into_iter().map(empty).collect(),
            conditions: Vec::new(),
        }
    }

    /// The same, explained by a condition.
    pub fn because(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    fn write(&self, out: &mut Vec<u8>) {
        push(out, &["<D:propstat><D:prop>"]);
        for property in &self.properties {
            property.write(out);
        }
        push(out, &["</D:prop>"]);
        self.status.write(out);
        if !self.conditions.is_empty() {
            push(out, &["<D:error>"]);
            error::write_conditions(out, &self.conditions);
            push(out, &["</D:error>"]);
        }
        push(out, &["</D:propstat>"]);
    }
}

/// A property with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The name of the property.
    pub name: Name,
    /// Its value.
    pub value: Value,
}

impl Property {
    /// A property with its value.
    pub fn new(name: Name, value: Value) -> Self {
        Self { name, value }
    }

    fn write(&self, out: &mut Vec<u8>) {
        if let Value::Xml(xml) = &self.value {
            push(out, &[xml]);
            return;
        }
        if self.value.is_empty() {
            markup::empty(out, &self.name);
            return;
        }
        markup::open(out, &self.name);
        self.value.write(out);
        markup::close(out, &self.name);
    }
}

/// The status of a row. Thunderbird compares its text literally, whatever the HTTP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 200.
    Ok,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 409.
    Conflict,
    /// 412.
    PreconditionFailed,
    /// 424.
    FailedDependency,
    /// 500.
    InternalServerError,
    /// 507: the answer was cut short, ask again with the new token (RFC 6578 §3.6).
    InsufficientStorage,
}

impl Status {
    /// The status line that the row carries.
    pub const fn line(self) -> &'static str {
        match self {
            Self::Ok => "HTTP/1.1 200 OK",
            Self::Forbidden => "HTTP/1.1 403 Forbidden",
            Self::NotFound => "HTTP/1.1 404 Not Found",
            Self::Conflict => "HTTP/1.1 409 Conflict",
            Self::PreconditionFailed => "HTTP/1.1 412 Precondition Failed",
            Self::FailedDependency => "HTTP/1.1 424 Failed Dependency",
            Self::InternalServerError => "HTTP/1.1 500 Internal Server Error",
            Self::InsufficientStorage => "HTTP/1.1 507 Insufficient Storage",
        }
    }

    fn write(self, out: &mut Vec<u8>) {
        push(out, &["<D:status>", self.line(), "</D:status>"]);
    }
}
