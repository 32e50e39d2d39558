use super::document::{Document, Element};
use super::{PROPERTIES_MAX, RequestError};
use crate::{DAV, Name};

/// Parses the body of a PROPPATCH (RFC 4918 §9.2): what to set and to remove, in the order of the
/// request, in which it has to be carried out, all or nothing.
///
/// # Errors
///
/// One variant per cause; all but the caps are the client's 400.
pub fn parse_proppatch(body: &[u8]) -> Result<Vec<PropertyUpdate>, RequestError> {
    if body.trim_ascii().is_empty() {
        return Err(RequestError::EmptyBody);
    }
    parse(body, "propertyupdate")
}

/// Parses the body of an extended MKCOL (RFC 5689 §5.1): the properties of the new collection. An
/// empty body is a plain MKCOL, which sets none.
///
/// # Errors
///
/// One variant per cause; all but the caps are the client's 400. RFC 4918 §9.3 asks for 415 where
/// the body is something else.
pub fn parse_mkcol(body: &[u8]) -> Result<Vec<SetProperty>, RequestError> {
    if body.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let updates = parse(body, "mkcol")?;
    let set = updates.into_iter().filter_map(|update| match update {
        PropertyUpdate::Set(property) => Some(property),
        PropertyUpdate::Remove(_) => None,
    });
    Ok(set.collect())
}

/// One step of a PROPPATCH (RFC 4918 §14.23, §14.26).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PropertyUpdate {
    /// The property is to be gone; it need not have been there.
    Remove(Name),
    /// The property is to have this value.
    Set(SetProperty),
}

/// A property with the value that a client gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetProperty {
    /// The name of the property.
    pub name: Name,
    /// The text of its value, such as the name in `DAV:displayname`, white space included.
    pub text: String,
    /// The elements in its value, such as the types in `DAV:resourcetype`.
    pub children: Vec<Name>,
    /// The property as a client is to get it back when the server does not know it (RFC 4918 §4.3):
    /// one element that stands alone, with the namespaces that it uses and the language in scope.
    /// [`Value::Xml`](crate::multistatus::Value::Xml) takes it.
    pub xml: String,
}

impl PropertyUpdate {
    /// The name of the property.
    pub fn name(&self) -> &Name {
        match self {
            Self::Remove(name) => name,
            Self::Set(property) => &property.name,
        }
    }
}

fn parse(body: &[u8], root_local: &str) -> Result<Vec<PropertyUpdate>, RequestError> {
    let mut document = Document::new(body)?;
    let root = document.root()?;
    if !root.is(DAV, root_local) {
        return Err(RequestError::UnexpectedRoot(root.name()?));
    }
    let language = language(&root, None)?;
    let mut updates = Vec::new();
    while let Some(child) = document.child()? {
        match child.dav() {
            Some("set") => read(
                &child,
                true,
                language.as_deref(),
                &mut document,
                &mut updates,
            )?,
            Some("remove") => {
                read(
                    &child,
                    false,
                    language.as_deref(),
                    &mut document,
                    &mut updates,
                )?;
            }
            _ => document.skip()?,
        }
    }
    document.end()?;
    Ok(updates)
}

/// Reads the properties in a `DAV:set` or `DAV:remove`.
fn read<'a>(
    element: &Element<'a>,
    is_set: bool,
    outer: Option<&str>,
    document: &mut Document<'a>,
    updates: &mut Vec<PropertyUpdate>,
) -> Result<(), RequestError> {
    let outer = language(element, outer)?;
    while let Some(child) = document.child()? {
        if !child.is(DAV, "prop") {
            document.skip()?;
            continue;
        }
        let language = language(&child, outer.as_deref())?;
        while let Some(property) = document.child()? {
            if updates.len() == PROPERTIES_MAX {
                return Err(RequestError::TooManyProperties);
            }
            let name = property.name()?;
            updates.push(if is_set {
                let content = document.content_of(&property, language.as_deref())?;
                PropertyUpdate::Set(SetProperty {
                    name,
                    text: content.text,
                    children: content.children,
                    xml: content.xml,
                })
            } else {
                document.skip()?;
                PropertyUpdate::Remove(name)
            });
        }
    }
    Ok(())
}

/// The language of what is in an element.
fn language(element: &Element<'_>, outer: Option<&str>) -> Result<Option<String>, RequestError> {
    let own = element.attribute("xml:lang")?;
    Ok(own.or_else(|| outer.map(str::to_owned)))
}
