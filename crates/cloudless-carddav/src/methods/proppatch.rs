//! PROPPATCH (RFC 4918 §9.2).

use std::fmt::Display;

use bytes::Bytes;
use cloudless_dav_proto::error::Condition;
use cloudless_dav_proto::multistatus::{PropStat, Status};
use cloudless_dav_proto::request::{PropertyUpdate, parse_proppatch};
use cloudless_dav_proto::{DAV, Name};
use cloudless_store::{
    BookError, DeadProperty, PROPERTY_BYTES_MAX, PropertiesOutcome, PropertyTarget,
};
use http::Response;

use super::read_xml;
use crate::access::{Privilege, need};
use crate::multistatus::{self, Row};
use crate::properties::dead::{holder, is_description, is_protected};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::target::Target;
use crate::{Body, blocking};

/// The longest name or description of an address book, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 16 * 1024;

/// Sets and removes properties of an address book or a card, all of them or none.
pub(super) async fn respond<B>(request: Request, body: B) -> Result<Response<Body>, Refusal>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Display,
{
    let body = read_xml(&request.headers, body).await?;
    let row = blocking::run(move || {
        let updates = parse_proppatch(&body)?;
        let target = request.target()?.ok_or_else(Refusal::not_found)?;
        let propstats = update(&request, &target, updates)?;
        Ok(Row::PropStats {
            href: target.href(&request.login.user_name),
            propstats,
        })
    })
    .await?;
    multistatus::respond(Box::new(std::iter::once(Ok(row))), None, false).await
}

fn update(
    request: &Request,
    target: &Target,
    updates: Vec<PropertyUpdate>,
) -> Result<Vec<PropStat>, Refusal> {
    let names: Vec<Name> = unique(updates.iter().map(PropertyUpdate::name));
    let Some(holder) = holder(target) else {
        return Err(Refusal::not_found());
    };
    match target {
        Target::Card(book, _) => need(request, book, Privilege::WriteCardProperties)?,
        Target::AddressBook(book) => need(request, book, Privilege::WriteBookProperties)?,
        _ => {}
    }
    let refused = |is_refused: &dyn Fn(&Name) -> bool, status, condition: Option<Condition>| {
        let (refused, others): (Vec<Name>, Vec<Name>) =
            names.iter().cloned().partition(|name| is_refused(name));
        let refused = PropStat::new(status, refused);
        let refused = condition.into_iter().fold(refused, PropStat::because);
        let others = (!others.is_empty()).then(|| PropStat::new(Status::FailedDependency, others));
        [refused].into_iter().chain(others).collect()
    };
    if names.iter().any(is_protected) {
        let condition = Condition::CannotModifyProtectedProperty;
        return Ok(refused(&is_protected, Status::Forbidden, Some(condition)));
    }
    let description = Description::of(target, &updates);
    let too_large = |name: &Name| {
        updates
            .iter()
            .any(|it| it.name() == name && is_too_large(it))
    };
    if names.iter().any(too_large) {
        return Ok(refused(&too_large, Status::InsufficientStorage, None));
    }
    let dead = updates
        .iter()
        .filter(|update| !description.has(update.name()))
        .map(dead)
        .collect();
    match request.store.set_properties(&holder, dead)? {
        PropertiesOutcome::Updated => {}
        PropertiesOutcome::NoSuchResource => return Err(Refusal::not_found()),
        PropertiesOutcome::TooLarge => {
            return Ok(refused(&|_| true, Status::InsufficientStorage, None));
        }
    }
    description.write(request, &holder)?;
    Ok(vec![PropStat::new(Status::Ok, names)])
}

fn unique<'a>(names: impl Iterator<Item = &'a Name>) -> Vec<Name> {
    let mut unique: Vec<Name> = Vec::new();
    for name in names {
        if !unique.contains(name) {
            unique.push(name.clone());
        }
    }
    unique
}

/// What people read of an address book, as far as a request changes it.
#[derive(Default)]
struct Description {
    is_book: bool,
    display_name: Option<String>,
    description: Option<String>,
}

impl Description {
    fn of(target: &Target, updates: &[PropertyUpdate]) -> Self {
        let mut description = Self {
            is_book: matches!(target, Target::AddressBook(_)),
            ..Self::default()
        };
        for update in updates {
            if description.has(update.name()) {
                let text = match update {
                    PropertyUpdate::Remove(_) => String::new(),
                    PropertyUpdate::Set(property) => property.text.trim().to_owned(),
                };
                match update.name().namespace() {
                    DAV => description.display_name = Some(text),
                    _ => description.description = Some(text),
                }
            }
        }
        description
    }

    /// Whether it is not a dead property of the resource.
    fn has(&self, name: &Name) -> bool {
        self.is_book && is_description(name)
    }

    fn write(&self, request: &Request, holder: &PropertyTarget) -> Result<(), BookError> {
        let PropertyTarget::Book(book) = holder else {
            return Ok(());
        };
        let (display_name, description) = (&self.display_name, &self.description);
        if display_name.is_none() && description.is_none() {
            return Ok(());
        }
        request
            .store
            .describe_book(*book, display_name.as_deref(), description.as_deref())
    }
}

fn is_too_large(update: &PropertyUpdate) -> bool {
    let PropertyUpdate::Set(property) = update else {
        return false;
    };
    let name = property.name.namespace().len() + property.name.local().len();
    name + property.xml.len() > PROPERTY_BYTES_MAX
        || (is_description(&property.name) && property.text.len() > DESCRIPTION_BYTES_MAX)
}

/// A property for the store, which keeps it as the client is to get it back.
fn dead(update: &PropertyUpdate) -> DeadProperty {
    DeadProperty {
        namespace: update.name().namespace().to_owned(),
        local: update.name().local().to_owned(),
        value: match update {
            PropertyUpdate::Remove(_) => None,
            PropertyUpdate::Set(property) => Some(property.xml.clone()),
        },
    }
}
