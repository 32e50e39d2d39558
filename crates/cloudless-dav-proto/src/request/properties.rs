use super::document::{Document, Element};
use super::{AddressData, PROPERTIES_MAX, Props, RequestError};
use crate::{CARDDAV, Name};

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
    names: Names,
    address_data: Option<AddressData>,
}

impl PropsReader {
    pub(super) fn read(&mut self, document: &mut Document<'_>) -> Result<(), RequestError> {
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
    while let Some(child) = document.child()? {
        if child.is(CARDDAV, "prop")
            && let Some(name) = child.attribute("name")?
        {
            if address_data.properties.len() == PROPERTIES_MAX {
                return Err(RequestError::TooManyProperties);
            }
            address_data.properties.push(name);
        }
        document.skip()?;
    }
    Ok(address_data)
}
