use std::borrow::Cow;
use std::collections::HashSet;

use quick_xml::XmlVersion;
use quick_xml::escape::{resolve_predefined_entity, unescape};
use quick_xml::events::attributes::AttrError;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{NamespaceError, PrefixDeclaration, ResolveResult};
use quick_xml::reader::NsReader;

use super::{DEPTH_MAX, PROPERTY_LEN_MAX, RequestError};
use crate::name::is_name;
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
}

/// The start of an element.
pub(super) struct Element<'a> {
    namespace: Cow<'static, str>,
    start: BytesStart<'a>,
}

/// What an element holds, and itself as a document of its own.
pub(super) struct Content {
    /// The text in it, without that of its children.
    pub(super) text: String,
    /// The names of its children.
    pub(super) children: Vec<Name>,
    /// The element as XML that stands alone: with every namespace that it uses.
    pub(super) xml: String,
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
        Ok(Self { reader, depth: 0 })
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

    /// The content of the current element, which `start` is the start of. Comments and processing
    /// instructions are left out (RFC 4918 §4.3).
    ///
    /// `language` is the `xml:lang` in scope, which belongs to the content.
    pub(super) fn content_of(
        &mut self,
        start: &Element<'a>,
        language: Option<&str>,
    ) -> Result<Content, RequestError> {
        let mut root = start.attributes(&self.reader)?;
        if let Some(language) = language.filter(|_| !root.contains(" xml:lang=\"")) {
            push_attribute(&mut root, "xml:lang", language);
        }
        let bindings = self.bindings_in_scope()?;
        let mut content = Content {
            text: String::new(),
            children: Vec::new(),
            xml: String::new(),
        };
        let mut inner = Vec::new();
        let mut open = Vec::new();
        loop {
            match self.step()? {
                Step::Start(child) => {
                    if open.is_empty() {
                        content.children.push(child.name()?);
                    }
                    let qualified = child.qualified()?;
                    let attributes = child.attributes(&self.reader)?;
                    let declarations = child.declarations()?;
                    markup::push(
                        &mut inner,
                        &["<", qualified, &declarations, &attributes, ">"],
                    );
                    open.push(qualified.to_owned());
                }
                Step::End => match open.pop() {
                    Some(qualified) => markup::push(&mut inner, &["</", &qualified, ">"]),
                    None => break,
                },
                Step::Text(text) => {
                    if open.is_empty() {
                        content.text.push_str(&text);
                    }
                    markup::escape(&mut inner, &text);
                }
                Step::Eof => return Err(RequestError::Unclosed),
            }
            if inner.len() > PROPERTY_LEN_MAX {
                return Err(RequestError::PropertyTooLong);
            }
        }
        let name = start.qualified()?;
        let inner = String::from_utf8_lossy(&inner);
        content.xml = format!("<{name}");
        for (prefix, namespace) in bindings {
            let Some(prefix) = prefix else {
                push_attribute(&mut content.xml, "xmlns", &namespace);
                continue;
            };
            // A prefix may be used in text as well, which only its user understands.
            let used = format!("{prefix}:");
            if name.starts_with(&used) || root.contains(&used) || inner.contains(&used) {
                push_attribute(&mut content.xml, &format!("xmlns:{prefix}"), &namespace);
            }
        }
        content.xml += &format!("{root}>{inner}</{name}>");
        if content.xml.len() > PROPERTY_LEN_MAX {
            return Err(RequestError::PropertyTooLong);
        }
        Ok(content)
    }

    /// The namespaces in scope with their prefixes.
    fn bindings_in_scope(&self) -> Result<Vec<(Option<String>, String)>, RequestError> {
        let mut bindings = Vec::new();
        for (prefix, namespace) in self.reader.resolver().bindings() {
            let prefix = match prefix {
                PrefixDeclaration::Default => None,
                PrefixDeclaration::Named(prefix) => Some(prefix.to_owned()),
            };
            let namespace = unescape(namespace.0).map_err(|error| malformed(error.into()))?;
            bindings.push((prefix, namespace.into_owned()));
        }
        Ok(bindings)
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
            return match event {
                Event::Start(start) => {
                    let namespace = resolve(namespace)?;
                    self.depth += 1;
                    if self.depth > DEPTH_MAX {
                        return Err(RequestError::TooDeep);
                    }
                    for attribute in start.attributes() {
                        attribute.map_err(invalid_attribute)?;
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

impl Element<'_> {
    /// The name with the prefix that the body gives it.
    fn qualified(&self) -> Result<&str, RequestError> {
        let name = self.start.name();
        let (local, prefix) = name.decompose();
        let is_prefix = prefix.is_none_or(|prefix| is_name(prefix.into_inner()));
        if !is_prefix || !is_name(local.into_inner()) {
            return Err(RequestError::InvalidName);
        }
        Ok(name.into_inner())
    }

    /// The attributes as they are written, apart from namespace declarations.
    fn attributes(&self, reader: &NsReader<&[u8]>) -> Result<String, RequestError> {
        let mut written = String::new();
        let mut seen = HashSet::new();
        for attribute in self.start.attributes() {
            let attribute = attribute.map_err(invalid_attribute)?;
            if attribute.key.as_namespace_binding().is_some() {
                continue;
            }
            let (local, prefix) = attribute.key.decompose();
            let is_prefix = prefix.is_none_or(|prefix| is_name(prefix.into_inner()));
            if !is_prefix || !is_name(local.into_inner()) {
                return Err(RequestError::InvalidName);
            }
            let (namespace, _) = reader.resolver().resolve_attribute(attribute.key);
            let namespace = resolve(namespace)?.into_owned();
            if !seen.insert((namespace, local.into_inner().to_owned())) {
                return Err(RequestError::InvalidName);
            }
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(malformed)?;
            push_attribute(&mut written, attribute.key.into_inner(), &value);
        }
        Ok(written)
    }

    /// The namespace declarations as they are written.
    fn declarations(&self) -> Result<String, RequestError> {
        let mut written = String::new();
        for attribute in self.start.attributes() {
            let attribute = attribute.map_err(invalid_attribute)?;
            let name = match attribute.key.as_namespace_binding() {
                None => continue,
                Some(PrefixDeclaration::Default) => "xmlns".to_owned(),
                Some(PrefixDeclaration::Named(prefix)) if is_name(prefix) => {
                    format!("xmlns:{prefix}")
                }
                Some(PrefixDeclaration::Named(_)) => return Err(RequestError::InvalidName),
            };
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(malformed)?;
            if value.is_empty() && name != "xmlns" {
                return Err(RequestError::InvalidName);
            }
            push_attribute(&mut written, &name, &value);
        }
        Ok(written)
    }
}

fn push_attribute(out: &mut String, name: &str, value: &str) {
    let mut escaped = Vec::with_capacity(value.len());
    markup::escape_attribute(&mut escaped, value);
    *out += &format!(" {name}=\"{}\"", String::from_utf8_lossy(&escaped));
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
