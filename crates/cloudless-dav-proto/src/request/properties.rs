use super::document::{Document, Element};
use super::{
    AddressData, ChosenProperty, PROPERTIES_MAX, Props, PropsKind, RequestError, property_name,
};
use crate::{CARDDAV, DAV, Name};

/// Collects property names, each once.
#[derive(Default)]
pub(super) struct Names {
    names: Vec<Name>,
    count: usize,
}

impl Names {
    pub(super) fn read(&mut self, document: &mut Document<'_>) -> Result<(), RequestError> {
        while let Some(property) = document.child()? {
            self.push(&property)?;
            document.skip()?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Vec<Name> {
        self.names
    }

    fn push(&mut self, property: &Element<'_>) -> Result<(), RequestError> {
        self.count += 1;
        if self.count > PROPERTIES_MAX {
            return Err(RequestError::TooManyProperties);
        }
        let name = property.name()?;
        if !self.names.contains(&name) {
            self.names.push(name);
        }
        Ok(())
    }
}

/// Collects the properties of a report.
#[derive(Default)]
pub(super) struct PropsReader {
    kind: PropsKind,
    names: Names,
    address_data: Option<AddressData>,
}

impl PropsReader {
    /// Reads a child of the report when it says what to tell of each card; whether it did.
    pub(super) fn take(
        &mut self,
        child: &Element<'_>,
        document: &mut Document<'_>,
    ) -> Result<bool, RequestError> {
        if child.is(DAV, "prop") {
            self.read(document)?;
        } else if child.is(DAV, "allprop") {
            self.kind = PropsKind::AllProp;
            document.skip()?;
        } else if child.is(DAV, "propname") {
            self.kind = PropsKind::PropName;
            document.skip()?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn read(&mut self, document: &mut Document<'_>) -> Result<(), RequestError> {
        while let Some(property) = document.child()? {
            if property.is(CARDDAV, "address-data") {
                self.address_data = Some(address_data(&property, document)?);
            } else {
                self.names.push(&property)?;
                document.skip()?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Props {
        Props {
            kind: self.kind,
            names: self.names.finish(),
            address_data: self.address_data,
        }
    }
}

fn address_data(
    element: &Element<'_>,
    document: &mut Document<'_>,
) -> Result<AddressData, RequestError> {
    let mut address_data = AddressData {
        content_type: element.attribute("content-type")?,
        version: element.attribute("version")?,
        properties: Vec::new(),
    };
    let mut all = false;
    while let Some(child) = document.child()? {
        if child.is(CARDDAV, "allprop") {
            all = true;
        } else if child.is(CARDDAV, "prop")
            && let Some(name) = child.attribute("name")?
        {
            if address_data.properties.len() == PROPERTIES_MAX {
                return Err(RequestError::TooManyProperties);
            }
            if name.len() > Name::LOCAL_LEN_MAX {
                return Err(RequestError::InvalidName);
            }
            let (group, name) = property_name(&name);
            let no_value = child.attribute("novalue")?.as_deref() == Some("yes");
            address_data.properties.push(ChosenProperty {
                group,
                name,
                no_value,
            });
        }
        document.skip()?;
    }
    if all {
        address_data.properties.clear();
    }
    Ok(address_data)
}
