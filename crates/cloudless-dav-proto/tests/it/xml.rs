//! A strict reading of what the crate writes, by a parser that is not the crate's own.

use quick_xml::events::Event;
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

/// An element with what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) namespace: String,
    pub(crate) local: String,
    pub(crate) text: String,
    pub(crate) children: Vec<Self>,
}

impl Element {
    /// The first child of the `DAV:` namespace with this name.
    #[track_caller]
    pub(crate) fn dav(&self, local: &str) -> &Self {
        self.children
            .iter()
            .find(|child| child.namespace == "DAV:" && child.local == local)
            .unwrap_or_else(|| panic!("no {local} in {self:?}"))
    }

    /// The names of the children without their namespaces.
    pub(crate) fn locals(&self) -> Vec<&str> {
        self.children
            .iter()
            .map(|child| child.local.as_str())
            .collect()
    }
}

/// Reads a document as a parser does that conforms to XML 1.0, line endings included.
#[track_caller]
pub(crate) fn parse(document: &[u8]) -> Element {
    let text = str::from_utf8(document).unwrap();
    let legal = |c: char| {
        matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}')
            || c >= '\u{10000}'
    };
    assert!(text.chars().all(legal), "an illegal character in {text:?}");
    let mut reader = NsReader::from_str(text);
    reader.config_mut().enable_all_checks(true);
    reader.config_mut().expand_empty_elements = true;
    let mut open = vec![Element::default()];
    loop {
        let (namespace, event) = reader.read_resolved_event().unwrap();
        match event {
            Event::Start(start) => {
                let namespace = match namespace {
                    ResolveResult::Bound(namespace) => quick_xml::escape::unescape(namespace.0)
                        .unwrap()
                        .into_owned(),
                    ResolveResult::Unbound => String::new(),
                    ResolveResult::Unknown(prefix) => panic!("undeclared {prefix:?}"),
                };
                start
                    .attributes()
                    .for_each(|attribute| drop(attribute.unwrap()));
                let local = start.local_name().into_inner().to_owned();
                open.push(Element {
                    namespace,
                    local,
                    ..Element::default()
                });
            }
            Event::End(_) => {
                let element = open.pop().unwrap();
                open.last_mut().unwrap().children.push(element);
            }
            Event::Text(text) => open.last_mut().unwrap().text += &text.xml10_content(),
            Event::GeneralRef(reference) => {
                let text = &mut open.last_mut().unwrap().text;
                match reference.resolve_char_ref().unwrap() {
                    Some(c) => text.push(c),
                    None => {
                        *text += quick_xml::escape::resolve_predefined_entity(&reference).unwrap();
                    }
                }
            }
            Event::Decl(_) => assert_eq!(open.len(), 1),
            Event::Eof => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(open.len(), 1, "an element is not closed");
    let document = open.pop().unwrap();
    assert_eq!(document.text.trim(), "", "text outside the root");
    let [root] = <[Element; 1]>::try_from(document.children).unwrap();
    root
}
