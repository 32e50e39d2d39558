//! What a command's words name in the store.

use cloudless_store::{AddressBook, BookId, HistoryQuery, HistoryRow, HistoryScope, Store, User};
use serde::{Deserialize, Serialize};

use super::failure::Failure;

/// A card, there or deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CardChoice {
    /// That of this name; the `.vcf` at its end may be left out.
    Name(String),
    /// The last one that had this UID.
    Uid(String),
}

/// The user of that name, or the only one.
pub(super) fn user(store: &Store, name: Option<&str>) -> Result<User, Failure> {
    let mut users = store.users()?;
    let Some(name) = name else {
        return match users.len() {
            0 => Err(Failure::NoUser),
            1 => Ok(users.remove(0)),
            _ => Err(Failure::ManyUsers(
                users.into_iter().map(|user| user.name).collect(),
            )),
        };
    };
    let found = users.into_iter().find(|user| user.name == name);
    found.ok_or_else(|| Failure::NoSuchUser(name.to_owned()))
}

/// The user's address book of that slug, their own or a shared one.
pub(super) fn book(store: &Store, name: Option<&str>, slug: &str) -> Result<AddressBook, Failure> {
    let user = user(store, name)?;
    let book = store.address_book(user.id, slug)?;
    book.ok_or_else(|| Failure::NoSuchBook {
        user: user.name,
        book: slug.to_owned(),
    })
}

/// Where to look for what happened: also in a deleted address book, or in all of them.
pub(super) fn scope(
    store: &Store,
    name: Option<&str>,
    slug: Option<&str>,
) -> Result<HistoryScope, Failure> {
    let user = user(store, name)?;
    let Some(slug) = slug else {
        return Ok(HistoryScope::User(user.id));
    };
    if let Some(book) = store.address_book(user.id, slug)? {
        return Ok(HistoryScope::Book(book.id));
    }
    let deleted = store.deleted_books(user.id)?;
    let deleted = deleted.into_iter().find(|book| book.slug == slug);
    deleted
        .map(|book| HistoryScope::Book(book.id))
        .ok_or_else(|| Failure::NoSuchBook {
            user: user.name,
            book: slug.to_owned(),
        })
}

/// The condition on a history that leaves only this card.
pub(super) fn card(
    store: &Store,
    scope: HistoryScope,
    choice: &CardChoice,
) -> Result<HistoryQuery, Failure> {
    let name = match choice {
        CardChoice::Uid(uid) => {
            let query = HistoryQuery {
                uid: Some(uid.clone()),
                limit: 1,
                ..HistoryQuery::default()
            };
            let last = store.history(scope, &query)?.pop();
            let last: HistoryRow = last.ok_or_else(|| Failure::NoSuchCard(uid.clone()))?;
            last.name
        }
        CardChoice::Name(name) => {
            let with_extension = format!("{name}.vcf");
            let mut found = None;
            for name in [name, &with_extension] {
                let query = HistoryQuery {
                    name: Some(name.clone()),
                    limit: 1,
                    ..HistoryQuery::default()
                };
                if !store.history(scope, &query)?.is_empty() {
                    found = Some(name.clone());
                    break;
                }
            }
            found.ok_or_else(|| Failure::NoSuchCard(name.clone()))?
        }
    };
    Ok(HistoryQuery {
        name: Some(name),
        ..HistoryQuery::default()
    })
}

/// The name of a card that is or was in an address book.
pub(super) fn card_name(
    store: &Store,
    book: BookId,
    choice: &CardChoice,
) -> Result<String, Failure> {
    let query = card(store, HistoryScope::Book(book), choice)?;
    Ok(query.name.unwrap_or_default())
}
