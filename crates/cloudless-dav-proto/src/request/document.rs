mod content;

use std::borrow::Cow;

use quick_xml::XmlVersion;
use quick_xml::escape::{resolve_predefined_entity, unescape};
use quick_xml::events::attributes::AttrError;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{NamespaceError, ResolveResult};
use quick_xml::reader::NsReader;

use super::{DEPTH_MAX, NODES_MAX, RequestError};
use crate::{CALENDAR_SERVER, CARDDAV, DAV, Name, markup};

/// Enough for every client; each declaration in scope makes every later element slower to read.
const NAMESPACES_MAX: usize = 64;

/// A cursor over the elements of a body.
///
/// Every element that [`Document::root`] or [`Document::child`] gives is read to its end by
/// calling [`Document::child`] until `None`, or by [`Document::text`] or [`Document::skip`].
pub(crate) struct Document<'a> {
    reader: NsReader<&'a [u8]>,
    depth: usize,
    nodes: usize,
    nodes_max: usize,
    keeps_line_ends: bool,
}

/// The start of an element.
pub(crate) struct Element<'a> {
    namespace: Cow<'static, str>,
    start: BytesStart<'a>,
}

enum Step<'a> {
    Start(Element<'a>),
    End,
    Text(Cow<'a, str>),
    Eof,
}

impl<'a> Document<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Result<Self, RequestError> {
        let text = str::from_utf8(body).map_err(|error| RequestError::NotUtf8 {
            offset: error.valid_up_to(),
        })?;
        if let Some(c) = text.chars().find(|c| !markup::is_legal(*c)) {
            return Err(RequestError::IllegalCharacter { code: c.into() });
        }
        let mut reader = NsReader::from_str(text.strip_prefix('\u{FEFF}').unwrap_or(text));
        reader.config_mut().expand_empty_elements = true;
        reader
            .resolver_mut()
            .set_max_namespace_bindings(NAMESPACES_MAX);
        Ok(Self {
            reader,
            depth: 0,
            nodes: 0,
            nodes_max: NODES_MAX,
            keeps_line_ends: false,
        })
    }

    /// The same document with another cap on the count of its nodes.
    pub(crate) fn with_nodes_max(self, nodes_max: usize) -> Self {
        Self { nodes_max, ..self }
    }

    /// The same document with line ends as they stand there, against XML 1.0 §2.11: what somebody
    /// has written into it without escaping a CR comes out as it was.
    pub(crate) fn with_line_ends(self) -> Self {
        Self {
            keeps_line_ends: true,
            ..self
        }
    }

    /// The root element.
    pub(crate) fn root(&mut self) -> Result<Element<'a>, RequestError> {
        loop {
            match self.step()? {
                Step::Start(element) => return Ok(element),
                Step::Text(text) if is_blank(&text) => {}
                Step::Text(_) | Step::End => return Err(RequestError::OutsideRoot),
                Step::Eof => return Err(RequestError::NoRoot),
            }
        }
    }

    /// The next child of the current element, or `None` at its end. Text is skipped.
    pub(crate) fn child(&mut self) -> Result<Option<Element<'a>>, RequestError> {
        loop {
            match self.step()? {
                Step::Start(element) => return Ok(Some(element)),
                Step::End => return Ok(None),
                Step::Text(_) => {}
                Step::Eof => return Err(RequestError::Unclosed),
            }
        }
    }

    /// The text of the current element without surrounding white space, or `None` when it is
    /// longer than `len_max` bytes. Child elements are skipped.
    pub(crate) fn text(&mut self, len_max: usize) -> Result<Option<String>, RequestError> {
        let content = self.content()?;
        let text = content.trim_matches(is_xml_space);
        Ok((text.len() <= len_max).then(|| text.to_owned()))
    }

    /// The same with its white space, for text in which it counts.
    pub(crate) fn exact_text(&mut self, len_max: usize) -> Result<Option<String>, RequestError> {
        Ok(Some(self.content()?).filter(|text| text.len() <= len_max))
    }

    fn content(&mut self) -> Result<String, RequestError> {
        let mut content = String::new();
        loop {
            match self.step()? {
                Step::Start(_) => self.skip()?,
                Step::End => return Ok(content),
                Step::Text(text) => content.push_str(&text),
                Step::Eof => return Err(RequestError::Unclosed),
            }
        }
    }

    /// Skips to the end of the current element.
    pub(crate) fn skip(&mut self) -> Result<(), RequestError> {
        let outside = self.depth.saturating_sub(1);
        while self.depth > outside {
            if let Step::Eof = self.step()? {
                return Err(RequestError::Unclosed);
            }
        }
        Ok(())
    }

    /// Reads to the end of the body, after the root element.
    pub(crate) fn end(&mut self) -> Result<(), RequestError> {
        loop {
            match self.step()? {
                Step::Text(text) if is_blank(&text) => {}
                Step::Text(_) | Step::Start(_) | Step::End => {
                    return Err(RequestError::OutsideRoot);
                }
                Step::Eof => return Ok(()),
            }
        }
    }

    fn step(&mut self) -> Result<Step<'a>, RequestError> {
        loop {
            let (namespace, event) = self.reader.read_resolved_event().map_err(malformed)?;
            count(&mut self.nodes, self.nodes_max)?;
            return match event {
                Event::Start(start) => {
                    let namespace = resolve(namespace)?;
                    self.depth += 1;
                    if self.depth > DEPTH_MAX {
                        return Err(RequestError::TooDeep);
                    }
                    for attribute in start.attributes() {
                        attribute.map_err(invalid_attribute)?;
                        count(&mut self.nodes, self.nodes_max)?;
                    }
                    Ok(Step::Start(Element { namespace, start }))
                }
                Event::End(_) => {
                    self.depth = self.depth.saturating_sub(1);
                    Ok(Step::End)
                }
                Event::Text(text) => Ok(Step::Text(self.lines(text.into_inner()))),
                Event::CData(text) => Ok(Step::Text(self.lines(text.into_inner()))),
                Event::GeneralRef(reference) => {
                    let character = reference.resolve_char_ref().map_err(malformed)?;
                    let text = match character {
                        Some(c) if markup::is_legal(c) => c.to_string(),
                        Some(c) => {
                            return Err(RequestError::IllegalCharacter { code: c.into() });
                        }
                        None => resolve_predefined_entity(&reference)
                            .ok_or_else(|| RequestError::UnknownEntity {
                                entity: reference.to_string(),
                            })?
                            .to_owned(),
                    };
                    Ok(Step::Text(text.into()))
                }
                Event::DocType(_) => Err(RequestError::DocumentType),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => continue,
                Event::Empty(_) | Event::Eof => Ok(Step::Eof),
            };
        }
    }
}

impl Document<'_> {
    fn lines<'b>(&self, text: Cow<'b, str>) -> Cow<'b, str> {
        if self.keeps_line_ends {
            text
        } else {
            line_feeds(text)
        }
    }
}

impl Element<'_> {
    pub(crate) fn is(&self, namespace: &str, local: &str) -> bool {
        self.namespace == namespace && self.start.local_name().as_ref() == local
    }

    /// The local name when the element is in the `DAV:` namespace.
    pub(crate) fn dav(&self) -> Option<&str> {
        (self.namespace == DAV).then(|| self.start.local_name().into_inner())
    }

    pub(crate) fn name(&self) -> Result<Name, RequestError> {
        Name::new(&self.namespace, self.start.local_name().as_ref())
            .ok_or(RequestError::InvalidName)
    }

    /// The value of the attribute in no namespace, without surrounding white space.
    pub(crate) fn attribute(&self, name: &str) -> Result<Option<String>, RequestError> {
        let Some(attribute) = self
            .start
            .try_get_attribute(name)
            .map_err(invalid_attribute)?
        else {
            return Ok(None);
        };
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(malformed)?;
        Ok(Some(value.trim_matches(is_xml_space).to_owned()))
    }
}

/// Counts one more node.
fn count(nodes: &mut usize, nodes_max: usize) -> Result<(), RequestError> {
    *nodes += 1;
    if *nodes > nodes_max {
        return Err(RequestError::TooManyNodes);
    }
    Ok(())
}

/// Line endings as a parser reports them (XML 1.0 §2.11).
fn line_feeds(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains('\r') {
        Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        text
    }
}

fn resolve(namespace: ResolveResult<'_>) -> Result<Cow<'static, str>, RequestError> {
    match namespace {
        ResolveResult::Unbound => Ok(Cow::Borrowed("")),
        ResolveResult::Unknown(prefix) => Err(RequestError::UndeclaredPrefix { prefix }),
        ResolveResult::Bound(namespace) => Ok(
            match unescape(namespace.0)
                .map_err(|error| malformed(error.into()))?
                .as_ref()
            {
                DAV => Cow::Borrowed(DAV),
                CARDDAV => Cow::Borrowed(CARDDAV),
                CALENDAR_SERVER => Cow::Borrowed(CALENDAR_SERVER),
                other => Cow::Owned(other.to_owned()),
            },
        ),
    }
}

fn invalid_attribute(source: AttrError) -> RequestError {
    malformed(source.into())
}

fn malformed(source: quick_xml::Error) -> RequestError {
    match source {
        quick_xml::Error::Namespace(NamespaceError::TooManyBindings(_)) => {
            RequestError::TooManyNamespaces
        }
        source => RequestError::Malformed { source },
    }
}

fn is_blank(text: &str) -> bool {
    text.chars().all(is_xml_space)
}

fn is_xml_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}
