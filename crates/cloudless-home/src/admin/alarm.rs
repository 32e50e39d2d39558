//! Devices that deleted a large share of an address book.

use cloudless_store::{Actor, AlarmId, BookError, Store, StoreError, Timestamp};
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::reply::Reply;
use super::restore;

/// What is older is in the history, and no news.
const RECENT_MILLIS: i64 = 30 * 24 * 60 * 60 * 1_000;

/// A device deleted a large share of an address book in a short time. It was served. Times are Unix
/// milliseconds, and RFC 3339 in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// What [`Command::DeletionUndo`](super::Command::DeletionUndo) calls it.
    pub alarm: i64,
    /// Whose address book it is.
    pub user: String,
    /// The address book's slug.
    pub book: String,
    /// The device's name.
    pub device: String,
    /// When the first of the cards was deleted.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
    pub first_at: i64,
    /// When the last one was.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
    pub last_at: i64,
    /// How many were.
    pub count: u64,
}

/// Those that a person should know of.
pub(crate) fn recent(store: &Store, now: Timestamp) -> Result<Vec<Alarm>, StoreError> {
    let alarms = store.alarms()?.into_iter();
    let recent = alarms.filter(|alarm| {
        alarm.undone_at.is_none() && now.0.saturating_sub(alarm.last_at.0) < RECENT_MILLIS
    });
    Ok(recent.map(Alarm::from).collect())
}

/// Brings back what was deleted, however long ago.
pub(super) fn undo(store: &Store, alarm: i64, now: Timestamp) -> Result<Reply, Failure> {
    let mut alarms = store.alarms()?.into_iter();
    let found = alarms.find(|it| it.id == AlarmId(alarm));
    let found = found.ok_or(Failure::NoSuchAlarm(alarm))?;
    let actor = Actor {
        device: None,
        at: now,
    };
    let difference = match store.undo_mass_deletion(found.id, actor) {
        Err(BookError::NoSuchAlarm) => return Err(Failure::NoSuchAlarm(alarm)),
        undone => undone?,
    };
    let difference = restore::named(store, found.book, now, difference)?;
    Ok(Reply::DeletionUndone {
        alarm: found.into(),
        difference,
    })
}

impl From<cloudless_store::Alarm> for Alarm {
    fn from(alarm: cloudless_store::Alarm) -> Self {
        Self {
            alarm: alarm.id.0,
            user: alarm.owner,
            book: alarm.slug,
            device: alarm.device_name,
            first_at: alarm.first_at.0,
            last_at: alarm.last_at.0,
            count: alarm.count,
        }
    }
}
