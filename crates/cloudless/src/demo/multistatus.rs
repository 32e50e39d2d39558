//! Reads what a server answers to PROPFIND and REPORT (RFC 4918 §13).

use anyhow::{Context as _, bail, ensure};
use quick_xml::Reader;
use quick_xml::events::Event;

/// Elements in elements, at most: deeper is no multistatus.
const DEPTH_MAX: usize = 16;

/// A multistatus body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Multistatus {
    pub(super) responses: Vec<Response>,
    pub(super) sync_token: Option<String>,
}

/// What is said about one resource.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) href: String,
    /// The status of the resource itself, such as `HTTP/1.1 404 Not Found`.
    pub(super) status: Option<String>,
    /// The properties that were found.
    properties: Vec<Property>,
}

/// A property: its name without the namespace, its text and the elements in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Property {
    name: String,
    text: String,
    elements: Vec<String>,
}

impl Response {
    /// The text of a property, that of elements in it included.
    pub(super) fn text(&self, property: &str) -> Option<&str> {
        self.property(property)
            .map(|property| property.text.as_str())
    }

    /// Whether a property has an element of this name in it.
    pub(super) fn has(&self, property: &str, element: &str) -> bool {
        self.property(property)
            .is_some_and(|property| property.elements.iter().any(|it| it == element))
    }

    fn property(&self, name: &str) -> Option<&Property> {
        self.properties
            .iter()
            .find(|property| property.name == name)
    }
}

/// Parses a body. Names are compared without namespaces: no two that matter here are alike.
pub(super) fn parse(body: &[u8]) -> anyhow::Result<Multistatus> {
    let text = std::str::from_utf8(body).context("the answer is not UTF-8")?;
    let mut reader = Reader::from_str(text);
    let mut builder = Builder::default();
    loop {
        match reader.read_event().context("the answer is no XML")? {
            Event::Start(start) => builder.open(start.local_name().as_ref())?,
            Event::Empty(empty) => {
                builder.open(empty.local_name().as_ref())?;
                builder.close();
            }
            Event::End(_) => builder.close(),
            Event::Text(text) => builder.text.push_str(&text),
            Event::CData(data) => builder.text.push_str(&data),
            Event::GeneralRef(reference) => {
                let character = match reference.resolve_char_ref()? {
                    Some(character) => character,
                    None => match &*reference {
                        "amp" => '&',
                        "apos" => '\'',
                        "gt" => '>',
                        "lt" => '<',
                        "quot" => '"',
                        other => bail!("the answer has an unknown entity {other}"),
                    },
                };
                builder.text.push(character);
            }
            Event::DocType(_) => bail!("the answer has a document type"),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => break,
        }
    }
    ensure!(
        builder.path.is_empty() && builder.is_multistatus,
        "the answer is no multistatus"
    );
    Ok(builder.multistatus)
}

/// The multistatus as far as it was read.
#[derive(Default)]
struct Builder {
    multistatus: Multistatus,
    is_multistatus: bool,
    /// The elements that are open.
    path: Vec<String>,
    /// The text since the last element began or ended outside a property, or since the property
    /// began.
    text: String,
    response: Response,
    /// The properties of the open propstat, and its status.
    found: Vec<Property>,
    status: String,
    elements: Vec<String>,
}

/// How deep a property is: multistatus, response, propstat, prop, property.
const PROPERTY_DEPTH: usize = 5;

impl Builder {
    fn open(&mut self, name: &str) -> anyhow::Result<()> {
        ensure!(
            self.path.len() < DEPTH_MAX,
            "the answer is nested too deeply"
        );
        self.path.push(name.to_owned());
        if self.path.len() > PROPERTY_DEPTH {
            self.elements.push(name.to_owned());
        } else {
            self.text.clear();
        }
        Ok(())
    }

    fn close(&mut self) {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let text = || self.text.trim().to_owned();
        match *path.as_slice() {
            ["multistatus"] => self.is_multistatus = true,
            ["multistatus", "sync-token"] => self.multistatus.sync_token = Some(text()),
            ["multistatus", "response"] => {
                self.multistatus
                    .responses
                    .push(std::mem::take(&mut self.response));
            }
            ["multistatus", "response", "href"] => self.response.href = text(),
            ["multistatus", "response", "status"] => self.response.status = Some(text()),
            ["multistatus", "response", "propstat", "status"] => self.status = text(),
            ["multistatus", "response", "propstat"] => {
                let found = std::mem::take(&mut self.found);
                if self.status.starts_with("HTTP/1.1 200") {
                    self.response.properties.extend(found);
                }
            }
            ["multistatus", "response", "propstat", "prop", name] => {
                let name = name.to_owned();
                let text = std::mem::take(&mut self.text);
                let elements = std::mem::take(&mut self.elements);
                self.found.push(Property {
                    name,
                    text,
                    elements,
                });
            }
            _ => {}
        }
        self.path.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_of_200_are_found_with_their_exact_text() {
        let multistatus = parse(
            b"<?xml version=\"1.0\"?><multistatus xmlns=\"DAV:\" xmlns:C=\"x\"><response>\
              <href>/a%20b</href><propstat><prop><getetag>\"1\"</getetag><C:address-data>A&#13;\n\
              &lt;&amp;&#x1F33B;</C:address-data><resourcetype><collection/><C:addressbook/>\
              </resourcetype></prop><status>HTTP/1.1 200 OK</status></propstat><propstat><prop>\
              <nothing/></prop><status>HTTP/1.1 404 Not Found</status></propstat></response>\
              <response><href>/c</href><status>HTTP/1.1 404 Not Found</status></response>\
              <sync-token>t</sync-token></multistatus>",
        )
        .unwrap();
        let [first, second] = multistatus.responses.as_slice() else {
            panic!("two responses")
        };
        assert_eq!(first.href, "/a%20b");
        assert_eq!(first.text("getetag"), Some("\"1\""));
        assert_eq!(first.text("address-data"), Some("A\r\n<&\u{1f33b}"));
        assert!(first.has("resourcetype", "addressbook"));
        assert_eq!(first.text("nothing"), None);
        assert_eq!(second.status.as_deref(), Some("HTTP/1.1 404 Not Found"));
        assert_eq!(multistatus.sync_token.as_deref(), Some("t"));
    }

    #[test]
    fn hrefs_in_properties_are_text() {
        let multistatus = parse(
            b"<d:multistatus xmlns:d=\"DAV:\"><d:response><d:href>/</d:href><d:propstat><d:prop>\
              <d:current-user-principal><d:href>/p/</d:href></d:current-user-principal></d:prop>\
              <d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>",
        )
        .unwrap();
        assert_eq!(
            multistatus.responses[0].text("current-user-principal"),
            Some("/p/")
        );
    }

    #[test]
    fn what_is_no_multistatus_is_refused() {
        for body in [
            "",
            "<html/>",
            "<multistatus>",
            "<!DOCTYPE a><multistatus/>",
            "plain",
        ] {
            assert!(parse(body.as_bytes()).is_err(), "{body}");
        }
    }
}
