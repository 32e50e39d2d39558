//! PROPPATCH (RFC 4918 §9.2).

use std::fmt::Display;

use bytes::Bytes;
use cloudless_dav_proto::Name;
use cloudless_dav_proto::error::Condition;
use cloudless_dav_proto::multistatus::{PropStat, Status};
use cloudless_dav_proto::request::{PropertyUpdate, parse_proppatch};
use cloudless_store::{PROPERTY_BYTES_MAX, PropertiesOutcome};
use http::Response;

use super::{changed_meanwhile, read_xml};
use crate::access::{Privilege, need};
use crate::conditions::precondition;
use crate::multistatus::{self, Row};
use crate::properties::dead::{changes, holder, is_description, is_protected};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::target::Target;
use crate::{Body, blocking};

/// The longest name or description of an address book, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 16 * 1024;

/// Sets and removes properties of a resource, all of them or none.
pub(super) async fn respond<B>(request: Request, body: B) -> Result<Response<Body>, Refusal>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Display,
{
    let body = read_xml(&request, body).await?;
    let reader = request.reader();
    blocking::run(move || {
        let updates = parse_proppatch(&body)?;
        let target = request.target()?.ok_or_else(Refusal::not_found)?;
        let propstats = update(&request, &target, updates)?;
        let row = Row::PropStats {
            href: target.href(&request.login.user_name),
            propstats,
        };
        multistatus::respond(reader, Box::new(std::iter::once(Ok(row))), false)
    })
    .await
}

fn update(
    request: &Request,
    target: &Target,
    updates: Vec<PropertyUpdate>,
) -> Result<Vec<PropStat>, Refusal> {
    let names: Vec<Name> = unique(updates.iter().map(PropertyUpdate::name));
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
    let forbid = |is_refused: &dyn Fn(&Name) -> bool| {
        let condition = Condition::CannotModifyProtectedProperty;
        refused(is_refused, Status::Forbidden, Some(condition))
    };
    let Some(holder) = holder(target) else {
        // What the server makes up, such as a home set, takes no property at all.
        return Ok(forbid(&|_| true));
    };
    if names.iter().any(is_protected) {
        return Ok(forbid(&is_protected));
    }
    let no_room =
        |is_refused: &dyn Fn(&Name) -> bool| refused(is_refused, Status::InsufficientStorage, None);
    let too_large = |name: &Name| {
        updates
            .iter()
            .any(|it| it.name() == name && is_too_large(it))
    };
    if names.iter().any(too_large) {
        return Ok(no_room(&too_large));
    }
    let changes = changes(matches!(target, Target::AddressBook(_)), updates);
    let precondition = precondition(request)?;
    let outcome =
        request
            .store
            .change_properties(holder, changes, precondition, request.actor())?;
    match outcome {
        PropertiesOutcome::Updated => Ok(vec![PropStat::new(Status::Ok, names)]),
        PropertiesOutcome::NoSuchResource => Err(Refusal::not_found()),
        PropertiesOutcome::PreconditionFailed => Err(changed_meanwhile()),
        PropertiesOutcome::TooLarge => Ok(no_room(&|_| true)),
        PropertiesOutcome::QuotaExceeded => {
            let condition = Some(Condition::QuotaNotExceeded);
            Ok(refused(&|_| true, Status::InsufficientStorage, condition))
        }
    }
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

fn is_too_large(update: &PropertyUpdate) -> bool {
    let PropertyUpdate::Set(property) = update else {
        return false;
    };
    let name = property.name.namespace().len() + property.name.local().len();
    name + property.xml.len() > PROPERTY_BYTES_MAX
        || (is_description(&property.name) && property.text.len() > DESCRIPTION_BYTES_MAX)
}
