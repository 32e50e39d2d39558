//! A user's address books, and who shares them.

use cloudless_store::{Actor, AddressBook, Precondition, Store, Timestamp};
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::lookup;
use super::reply::Reply;

/// An address book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    /// The last segment of its URL.
    pub slug: String,
    /// What clients show.
    pub display_name: String,
    /// Grows with every change.
    pub revision: u64,
    /// How many cards it has.
    pub cards: u64,
    /// Whose it is.
    pub owner: String,
    /// What the user may do with it.
    pub access: Access,
    /// Whom the owner shares it with; nobody in the list of another user.
    pub shares: Vec<Share>,
}

/// What a user may do with an address book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Everything.
    Owner,
    /// Read and write its cards.
    ReadWrite,
    /// Read its cards.
    ReadOnly,
}

/// Somebody whom an address book is shared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The user.
    pub user: String,
    /// The last segment of the book's URL for that user.
    pub slug: String,
    /// What that user may do.
    pub access: Access,
}

/// An address book that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedBook {
    /// What its slug was.
    pub slug: String,
    /// What clients showed.
    pub display_name: String,
    /// When, in Unix milliseconds.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
    pub removed_at: i64,
}

/// What to do with an address book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BookChange {
    /// Make it.
    Add {
        /// What clients show.
        display_name: String,
    },
    /// Let clients show another name. Its URL stays.
    Rename {
        /// What clients show.
        display_name: String,
    },
    /// Delete it with its cards, which stay in the history.
    Remove,
    /// Bring it back with its cards after it was removed.
    Restore,
    /// Let another user of this home use it, or change what that user may do.
    Share {
        /// The other user.
        with: String,
        /// Not `Owner`.
        access: Access,
    },
    /// Let the other user use it no more.
    Unshare {
        /// The other user.
        with: String,
    },
}

pub(super) fn list(store: &Store, user: Option<&str>) -> Result<Reply, Failure> {
    let user = lookup::user(store, user)?;
    let books = store.address_books(user.id)?;
    let books = books.into_iter().map(|book| describe(store, book));
    let books = books.collect::<Result<_, Failure>>()?;
    let removed = store.deleted_books(user.id)?.into_iter();
    let removed = removed.map(|book| RemovedBook {
        slug: book.slug,
        display_name: book.display_name,
        removed_at: book.deleted_at.0,
    });
    Ok(Reply::Books {
        books,
        removed: removed.collect(),
    })
}

pub(super) fn change(
    store: &Store,
    user: Option<&str>,
    slug: &str,
    change: BookChange,
    now: Timestamp,
) -> Result<Reply, Failure> {
    let user = lookup::user(store, user)?;
    let actor = Actor {
        device: None,
        at: now,
    };
    let own = || {
        let book = lookup::book(store, Some(&user.name), slug)?;
        if book.access == cloudless_store::Access::Owner {
            return Ok(book.id);
        }
        Err(Failure::NotTheOwner {
            book: book.slug,
            owner: book.owner,
        })
    };
    match change {
        BookChange::Add { display_name } => {
            store.create_book(user.id, slug, &display_name, "")?;
        }
        BookChange::Rename { display_name } => {
            store.describe_book(own()?, Some(&display_name), None)?;
        }
        BookChange::Remove => {
            store.delete_book(own()?, Precondition::None, actor)?;
            return Ok(Reply::BookChanged { book: None });
        }
        BookChange::Restore => {
            let mut removed = store.deleted_books(user.id)?.into_iter();
            let removed = removed.find(|book| book.slug == slug);
            let removed = removed.ok_or_else(|| Failure::NotRemoved {
                user: user.name.clone(),
                book: slug.to_owned(),
            })?;
            store.undelete_book(removed.id, actor)?;
        }
        BookChange::Share { with, access } => {
            let with = lookup::user(store, Some(&with))?.name;
            store.share_book(own()?, &with, access.into())?;
        }
        BookChange::Unshare { with } => {
            if !store.unshare_book(own()?, &with)? {
                return Err(Failure::NoSuchShare {
                    book: slug.to_owned(),
                    with,
                });
            }
        }
    }
    let book = lookup::book(store, Some(&user.name), slug)?;
    Ok(Reply::BookChanged {
        book: Some(describe(store, book)?),
    })
}

fn describe(store: &Store, book: AddressBook) -> Result<Book, Failure> {
    let shares = match book.access {
        cloudless_store::Access::Owner => store.shares(book.id)?,
        _ => Vec::new(),
    };
    let share = |share: cloudless_store::Share| Share {
        user: share.user,
        slug: share.slug,
        access: share.access.into(),
    };
    Ok(Book {
        slug: book.slug,
        display_name: book.display_name,
        revision: book.revision,
        cards: book.card_count,
        owner: book.owner,
        access: book.access.into(),
        shares: shares.into_iter().map(share).collect(),
    })
}

impl From<cloudless_store::Access> for Access {
    fn from(access: cloudless_store::Access) -> Self {
        match access {
            cloudless_store::Access::Owner => Self::Owner,
            cloudless_store::Access::ReadWrite => Self::ReadWrite,
            cloudless_store::Access::ReadOnly => Self::ReadOnly,
        }
    }
}

impl From<Access> for cloudless_store::Access {
    fn from(access: Access) -> Self {
        match access {
            Access::Owner => Self::Owner,
            Access::ReadWrite => Self::ReadWrite,
            Access::ReadOnly => Self::ReadOnly,
        }
    }
}
