use rusqlite::Connection;

use crate::{BookId, ETag, UserId, address_book, current, resource};

/// What must be true of the stored state for a write to happen (RFC 9110 section 13.1).
///
/// It is checked inside the transaction of the write, so of two writers that name the same
/// current tag exactly one succeeds. Address books and plain collections have no tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Write whatever is there.
    #[default]
    None,
    /// `If-None-Match: *`: nothing of that name.
    MustNotExist,
    /// `If-Match: *`: something of that name.
    MustExist,
    /// `If-Match`: the current tag is one of these. An empty list never holds.
    Match(Vec<ETag>),
    /// `If-None-Match`: there is nothing, or its tag is none of these.
    NoneMatch(Vec<ETag>),
    /// `If` (RFC 4918 section 10.4): all conditions of one of these lists hold.
    If(Vec<Vec<Condition>>),
}

/// A condition on the state of any resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The state.
    pub state: State,
    /// Whether it must be another one.
    pub negate: bool,
}

/// A state that a resource may be in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The address book has this revision: no card of it was changed since.
    Book(BookId, u64),
    /// The card of this name has this tag.
    Card(BookId, String, ETag),
    /// The plain resource at this path has this tag.
    Resource(UserId, Vec<String>, ETag),
    /// Nothing is ever in it: that of a lock, or of what cannot exist.
    Never,
}

/// What a write found under the name that it is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<'a> {
    Nothing,
    Collection,
    Tagged(&'a ETag),
}

impl<'a> From<Option<&'a ETag>> for Found<'a> {
    fn from(tag: Option<&'a ETag>) -> Self {
        tag.map_or(Self::Nothing, Self::Tagged)
    }
}

impl Precondition {
    pub(crate) fn holds<'a>(
        &self,
        connection: &Connection,
        found: impl Into<Found<'a>>,
    ) -> rusqlite::Result<bool> {
        let found = found.into();
        let is_one_of = |tags: &[ETag]| match found {
            Found::Tagged(tag) => tags.contains(tag),
            Found::Nothing | Found::Collection => false,
        };
        Ok(match self {
            Self::None => true,
            Self::MustNotExist => matches!(found, Found::Nothing),
            Self::MustExist => !matches!(found, Found::Nothing),
            Self::Match(tags) => is_one_of(tags),
            Self::NoneMatch(tags) => !is_one_of(tags),
            Self::If(lists) => {
                for list in lists {
                    if all_hold(connection, list)? {
                        return Ok(true);
                    }
                }
                false
            }
        })
    }
}

fn all_hold(connection: &Connection, list: &[Condition]) -> rusqlite::Result<bool> {
    for condition in list {
        if condition.state.is_current(connection)? == condition.negate {
            return Ok(false);
        }
    }
    Ok(true)
}

impl State {
    fn is_current(&self, connection: &Connection) -> rusqlite::Result<bool> {
        Ok(match self {
            Self::Book(book, revision) => {
                address_book::revision(connection, *book)? == Some(*revision)
            }
            Self::Card(book, name, tag) => {
                current::find(connection, *book, name)?.is_some_and(|card| card.etag == *tag)
            }
            Self::Resource(user, path, tag) => resource::find(connection, *user, path)?
                .and_then(|resource| resource.content)
                .is_some_and(|content| content.etag == *tag),
            Self::Never => false,
        })
    }
}
