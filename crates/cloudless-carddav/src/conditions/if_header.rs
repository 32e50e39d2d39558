//! The `If` header (RFC 4918 §10.4), about any resource of the user.
//!
//! There are no locks here. The states that a resource may be in are its entity tag, and for an
//! address book its sync token (RFC 6578 §5).

use cloudless_dav_proto::header::{self, If, List};
use cloudless_store::{Condition, ETag, Precondition, State, StoreError};

use crate::destination::is_here;
use crate::request::Request;
use crate::resource::Resource;
use crate::sync_token;

/// What the header asks of the store. Blocks on the store.
pub(super) fn precondition(header: &If, request: &Request) -> Result<Precondition, StoreError> {
    let lists = header.lists.iter().map(|list| conditions(list, request));
    Ok(Precondition::If(lists.collect::<Result<_, _>>()?))
}

fn conditions(list: &List, request: &Request) -> Result<Vec<Condition>, StoreError> {
    let resource = match list.resource.as_deref() {
        None => Some(request.resource.clone()),
        Some(url) if is_here(request, url) => Resource::parse(url),
        Some(_) => None,
    };
    // What another user has is in no state that this one could know.
    let resource = resource.filter(|it| it.user() == Some(&request.login.user_name));
    let conditions = list.conditions.iter().map(|condition| {
        Ok(Condition {
            state: state(resource.as_ref(), &condition.state, request)?,
            negate: condition.negate,
        })
    });
    conditions.collect()
}

/// Tags are compared strongly, as for If-Match.
fn state(
    resource: Option<&Resource>,
    state: &header::State,
    request: &Request,
) -> Result<State, StoreError> {
    let known = match (resource, state) {
        (Some(Resource::Card { book, card, .. }), header::State::ETag { tag, weak: false }) => {
            let book = request.address_book(book)?;
            book.map(|book| State::Card(book.id, card.clone(), ETag::from(tag.as_str())))
        }
        (Some(Resource::Plain { path, .. }), header::State::ETag { tag, weak: false }) => {
            let tag = ETag::from(tag.as_str());
            Some(State::Resource(request.login.user, path.clone(), tag))
        }
        (Some(Resource::AddressBook { book, .. }), header::State::Token(token)) => {
            request.address_book(book)?.and_then(|book| {
                let revision = sync_token::revision(&book, token)?;
                Some(State::Book(book.id, revision))
            })
        }
        _ => None,
    };
    Ok(known.unwrap_or(State::Never))
}
