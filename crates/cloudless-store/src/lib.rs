//! Accounts, address books, cards, changes and history, kept in one SQLite file.
//!
//! The store knows no DAV, HTTP or vCard: a card is a name, its bytes and a few columns that the
//! caller found in them. Every operation is one transaction, and a write that returned `Ok` is on
//! disk: it survives a killed process and a power cut. Nothing is ever overwritten: each earlier
//! version of a card, and the body of each refused write, stays in its history.
//!
//! All calls block. Open a directory once with [`Store::open`] and clone the [`Store`]; many
//! threads may use it at the same time. Writes that wait at the same moment share one commit, so
//! many callers together are much faster than one.

mod account;
mod address_book;
mod alarm;
mod backup;
mod card;
mod changes;
mod checkpoint;
mod commits;
mod current;
mod delete;
mod device;
mod directory;
mod error;
mod etag;
mod generation;
mod history;
mod index;
mod login;
mod precondition;
mod properties;
mod push;
mod put;
mod readers;
mod refused;
mod resource;
mod restore;
mod retention;
mod schema;
mod search;
mod setting;
mod sharing;
mod store;
mod timestamp;
mod transfer;
mod version;
mod writer;

pub use account::{User, UserId};
pub use address_book::edit::DeletedBook;
pub use address_book::{Access, AddressBook, BookId};
pub use alarm::{Alarm, AlarmId};
pub use backup::BackupError;
pub use card::{Card, CardRow};
pub use changes::Changes;
pub use delete::DeleteOutcome;
pub use device::{Device, DeviceId};
pub use error::{AccountError, BookError, OpenError, ResourceError, StoreError};
pub use etag::ETag;
pub use history::{Actor, HistoryQuery, HistoryRow, HistoryScope};
pub use index::scan::{Candidate, Judge, Verdict};
pub use index::{IndexEntry, IndexedCard, NewIndex, UnindexedCard};
pub use login::{KnownLogin, Login};
pub use precondition::{Condition, Precondition, State};
pub use properties::{
    DeadProperty, PROPERTIES_MAX, PROPERTY_BYTES_MAX, PropertiesOutcome, PropertyChanges,
    PropertyTarget,
};
pub use push::{
    NewPushRegistration, PUSH_REGISTRATIONS_MAX, PUSH_REGISTRATIONS_OF_BOOK_MAX, PendingPush,
    PushId, PushOutcome, Untold,
};
pub use put::{NewCard, PutOutcome};
pub use refused::is_card_name;
pub use resource::edit::{NewContent, ResourceOutcome};
pub use resource::transfer::{ResourceTransfer, ResourceTransferKind};
pub use resource::{
    Content, RESOURCE_BYTES_MAX, RESOURCE_DEPTH_MAX, RESOURCES_MAX, Resource, ResourceId,
    ResourceUsage,
};
pub use restore::{Conflict, Difference, PastCard, RestoreOutcome};
pub use retention::Pruned;
pub use search::{Hit, SearchScope};
pub use sharing::Share;
pub use store::Store;
pub use timestamp::Timestamp;
pub use transfer::{Transfer, TransferOutcome};
pub use version::{Version, VersionKind};
