use std::collections::HashSet;

use quick_xml::XmlVersion;
use quick_xml::escape::unescape;
use quick_xml::name::PrefixDeclaration;
use quick_xml::reader::NsReader;

use super::{Document, Element, Step, invalid_attribute, malformed, resolve};
use crate::name::is_name;
use crate::request::{PROPERTY_LEN_MAX, RequestError};
use crate::{Name, markup};

/// What an element holds, and itself as a document of its own.
pub(in crate::request) struct Content {
    /// The text in it, without that of its children.
    pub(in crate::request) text: String,
    /// The names of its children.
    pub(in crate::request) children: Vec<Name>,
    /// The element as XML that stands alone: with every namespace that it uses.
    pub(in crate::request) xml: String,
}

impl<'a> Document<'a> {
    /// The content of the current element, which `start` is the start of. Comments and processing
    /// instructions are left out (RFC 4918 §4.3).
    ///
    /// `language` is the `xml:lang` in scope, which belongs to the content.
    pub(in crate::request) fn content_of(
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
