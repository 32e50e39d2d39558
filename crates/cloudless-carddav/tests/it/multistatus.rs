//! A multistatus as a client reads it, with an XML parser that is not the server's.

use roxmltree::{Document, Node};

/// A 207 body.
#[derive(Debug)]
pub(crate) struct Multistatus {
    pub(crate) rows: Vec<Row>,
    pub(crate) sync_token: Option<String>,
}

/// A DAV:response.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) href: String,
    /// The status of the row itself, if it has no propstats.
    pub(crate) status: Option<String>,
    /// The conditions in its DAV:error.
    pub(crate) conditions: Vec<String>,
    pub(crate) propstats: Vec<Propstat>,
}

/// A DAV:propstat.
#[derive(Debug)]
pub(crate) struct Propstat {
    pub(crate) status: String,
    pub(crate) properties: Vec<Element>,
}

/// A property.
#[derive(Debug)]
pub(crate) struct Element {
    /// Its name as in `D:getetag`.
    pub(crate) name: String,
    /// All text in it.
    pub(crate) text: String,
    /// The names of all elements in it, with attributes as in `C:address-data-type@version=3.0`.
    pub(crate) inside: Vec<String>,
}

impl Multistatus {
    /// Parses a body that must be well-formed and as RFC 4918 §14 defines it.
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        let document = Document::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let root = document.root_element();
        assert_eq!(name(root), "D:multistatus");
        let mut multistatus = Self {
            rows: Vec::new(),
            sync_token: None,
        };
        for child in elements(root) {
            match name(child).as_str() {
                "D:response" => multistatus.rows.push(Row::read(child)),
                "D:sync-token" => multistatus.sync_token = Some(all_text(child)),
                other => panic!("{other} in a multistatus"),
            }
        }
        multistatus
    }

    pub(crate) fn hrefs(&self) -> Vec<&str> {
        self.rows.iter().map(|row| row.href.as_str()).collect()
    }

    #[track_caller]
    pub(crate) fn row(&self, href: &str) -> &Row {
        let mut rows = self.rows.iter().filter(|row| row.href == href);
        let row = rows
            .next()
            .unwrap_or_else(|| panic!("no row for {href} in {self:?}"));
        assert!(rows.next().is_none(), "two rows for {href} in {self:?}");
        row
    }
}

impl Row {
    #[track_caller]
    fn read(node: Node<'_, '_>) -> Self {
        let mut row = Self {
            href: String::new(),
            status: None,
            conditions: Vec::new(),
            propstats: Vec::new(),
        };
        for child in elements(node) {
            match name(child).as_str() {
                "D:href" => row.href = all_text(child),
                "D:status" => row.status = Some(all_text(child)),
                "D:error" => row.conditions = elements(child).map(name).collect(),
                "D:propstat" => {
                    let prop = elements(child).find(|it| name(*it) == "D:prop").unwrap();
                    let status = elements(child).find(|it| name(*it) == "D:status").unwrap();
                    row.propstats.push(Propstat {
                        status: all_text(status),
                        properties: elements(prop).map(Element::read).collect(),
                    });
                }
                other => panic!("{other} in a response"),
            }
        }
        assert_eq!(row.status.is_some(), row.propstats.is_empty(), "{row:?}");
        row
    }

    /// A property that was found, if it was.
    pub(crate) fn found(&self, name: &str) -> Option<&Element> {
        let first = self
            .propstats
            .first()
            .filter(|it| it.status == "HTTP/1.1 200 OK")?;
        first
            .properties
            .iter()
            .find(|property| property.name == name)
    }

    /// The text of a property that must have been found.
    #[track_caller]
    pub(crate) fn text(&self, name: &str) -> &str {
        let property = self.found(name);
        &property
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
            .text
    }

    /// The names of the elements in a property that must have been found.
    #[track_caller]
    pub(crate) fn inside(&self, name: &str) -> Vec<&str> {
        let property = self.found(name);
        let property = property.unwrap_or_else(|| panic!("no {name} in {self:?}"));
        property.inside.iter().map(String::as_str).collect()
    }

    /// The names of the properties with this status.
    pub(crate) fn names(&self, status: &str) -> Vec<&str> {
        let propstats = self.propstats.iter().filter(|it| it.status == status);
        propstats
            .flat_map(|it| &it.properties)
            .map(|it| it.name.as_str())
            .collect()
    }
}

impl Element {
    fn read(node: Node<'_, '_>) -> Self {
        let inside = node
            .descendants()
            .skip(1)
            .filter(Node::is_element)
            .map(|node| {
                let mut text = name(node);
                for attribute in node.attributes() {
                    text += &format!("@{}={}", attribute.name(), attribute.value());
                }
                text
            });
        Self {
            name: name(node),
            text: all_text(node),
            inside: inside.collect(),
        }
    }
}

fn elements<'a, 'input: 'a>(
    node: Node<'a, 'input>,
) -> impl Iterator<Item = Node<'a, 'input>> + use<'a, 'input> {
    node.children().filter(Node::is_element)
}

fn name(node: Node<'_, '_>) -> String {
    let prefix = match node.tag_name().namespace() {
        Some("DAV:") => "D",
        Some("urn:ietf:params:xml:ns:carddav") => "C",
        Some("http://calendarserver.org/ns/") => "CS",
        Some("http://me.com/_namespaces/") => "ME",
        Some("https://bitfire.at/webdav-push") => "P",
        Some("urn:ietf:params:xml:ns:caldav") => "CAL",
        Some("urn:example") => "X",
        Some("urn:ns.example.com:boxschema") => "R",
        other => panic!("unexpected namespace {other:?}"),
    };
    format!("{prefix}:{}", node.tag_name().name())
}

fn all_text(node: Node<'_, '_>) -> String {
    node.descendants()
        .filter(Node::is_text)
        .filter_map(|text| text.text())
        .collect()
}
