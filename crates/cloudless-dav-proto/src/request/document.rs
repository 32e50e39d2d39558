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
pub(super) struct Document<'a> {
    reader: NsReader<&'a [u8]>,
    depth: usize,
    nodes: usize,
}

/// The start of an element.
pub(super) struct Element<'a> {
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
    pub(super) fn new(body: &'a [u8]) -> Result<Self, RequestError> {
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
        })
    }

    /// The root element.
    pub(super) fn root(&mut self) -> Result<Element<'a>, RequestError> {
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
    pub(super) fn child(&mut self) -> Result<Option<Element<'a>>, RequestError> {
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
    pub(super) fn text(&mut self, len_max: usize) -> Result<Option<String>, RequestError> {
        let content = self.content()?;
        let text = content.trim_matches(is_xml_space);
        Ok((text.len() <= len_max).then(|| text.to_owned()))
    }

    /// The same with its white space, for text in which it counts.
    pub(super) fn exact_text(&mut self, len_max: usize) -> Result<Option<String>, RequestError> {
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
    pub(super) fn skip(&mut self) -> Result<(), RequestError> {
        let outside = self.depth.saturating_sub(1);
        while self.depth > outside {
            if let Step::Eof = self.step()? {
                return Err(RequestError::Unclosed);
            }
        }
        Ok(())
    }

    /// Reads to the end of the body, after the root element.
    pub(super) fn end(&mut self) -> Result<(), RequestError> {
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
            count(&mut self.nodes)?;
            return match event {
                Event::Start(start) => {
                    let namespace = resolve(namespace)?;
                    self.depth += 1;
                    if self.depth > DEPTH_MAX {
                        return Err(RequestError::TooDeep);
                    }
                    for attribute in start.attributes() {
                        attribute.map_err(invalid_attribute)?;
                        count(&mut self.nodes)?;
                    }
                    Ok(Step::Start(Element { namespace, start }))
                }
                Event::End(_) => {
                    self.depth = self.depth.saturating_sub(1);
                    Ok(Step::End)
                }
                Event::Text(text) => Ok(Step::Text(line_feeds(text.into_inner()))),
                Event::CData(text) => Ok(Step::Text(line_feeds(text.into_inner()))),
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

impl Element<'_> {
    pub(super) fn is(&self, namespace: &str, local: &str) -> bool {
        self.namespace == namespace && self.start.local_name().as_ref() == local
    }

    /// The local name when the element is in the `DAV:` namespace.
    pub(super) fn dav(&self) -> Option<&str> {
        (self.namespace == DAV).then(|| self.start.local_name().into_inner())
    }

    pub(super) fn name(&self) -> Result<Name, RequestError> {
        Name::new(&self.namespace, self.start.local_name().as_ref())
            .ok_or(RequestError::InvalidName)
    }

    /// The value of the attribute in no namespace, without surrounding white space.
    pub(super) fn attribute(&self, name: &str) -> Result<Option<String>, RequestError> {
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
fn count(nodes: &mut usize) -> Result<(), RequestError> {
    *nodes += 1;
    if *nodes > NODES_MAX {
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
