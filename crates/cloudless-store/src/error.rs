use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{ErrorCode, ffi};

use crate::Timestamp;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The state directory is missing and could not be made.
    #[error("cannot create the directory {path}: check its owner and permissions")]
    CreateDirectory {
        /// The state directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file of the store could not be made, or kept from other users.
    #[error("cannot prepare {path} for this user alone: check its owner and permissions")]
    PrepareFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The lock file could not be locked for another reason than somebody holding it.
    #[error("cannot lock {path}: check that the file system supports locks")]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process, or another `Store` of this one, has the directory open.
    #[error("{path} is in use by another process: stop it first, or ask it to do the work")]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// What is there is no database any more.
    #[error(
        "the database {path} is damaged: move it and the files {path}-wal and {path}-shm away, and \
         put a copy in its place: one made by `cloudless home backup`, or {path}.before-version-N"
    )]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// SQLite could not open the file.
    #[error("cannot open the database {path}: check its disk, its owner and its permissions")]
    Database {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The file system cannot do what write-ahead logging needs.
    #[error(
        "cannot use write-ahead logging for {path} (got {journal_mode:?}): \
         put it on a local file system"
    )]
    NoWriteAheadLog {
        /// The database file.
        path: PathBuf,
        /// The journal mode that SQLite fell back to.
        journal_mode: String,
    },
    /// The database was written by a newer program.
    #[error(
        "{path} has schema version {found}, and this program knows versions up to {known}: \
         use the newer program that wrote it"
    )]
    TooNew {
        /// The database file.
        path: PathBuf,
        /// The version found in the file.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The copy that is made before a migration failed. The database is unchanged.
    #[error("cannot copy {path} before migrating it: make room for a copy beside it")]
    CopyBeforeMigration {
        /// The database file.
        path: PathBuf,
        /// What the system or SQLite said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A schema migration failed. The database is unchanged by it.
    #[error("cannot migrate {path} to schema version {version}: the database is left as it was")]
    Migrate {
        /// The database file.
        path: PathBuf,
        /// The version that could not be reached.
        version: i64,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The file can be read and not be written.
    #[error("cannot write to the database {path}: check its owner, its permissions and the disk")]
    ReadOnly {
        /// The database file.
        path: PathBuf,
    },
    /// The system refused a thread for the writer.
    #[error("cannot start the writer thread for {path}")]
    StartWriter {
        /// The database file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    /// What SQLite said of the database at this path.
    pub(crate) fn of_database(path: &Path) -> impl Fn(rusqlite::Error) -> Self + Copy {
        |source| {
            let path = path.to_owned();
            match source.sqlite_error_code() {
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                    Self::Damaged { path, source }
                }
                _ => Self::Database { path, source },
            }
        }
    }
}

/// Why a read or a write failed. A write that failed has changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// All database connections for reading were in use for too long. Try again.
    #[error("all readers of the store are busy: try again later")]
    Busy,
    /// The commit that this write shared with others failed, so none of them happened.
    #[error("cannot commit to the database: check the disk")]
    Commit(#[source] Arc<rusqlite::Error>),
    /// The device was revoked, perhaps while its request was under way.
    #[error("the device is revoked: it may change nothing")]
    DeviceRevoked,
    /// The address book is not shared with the device's user any more, or only to be read.
    #[error("the address book is no longer shared with you to be written: ask its owner")]
    ShareWithdrawn,
    /// A card name is not 1 to 255 bytes, has a `/` or NUL, or is `.` or `..`.
    #[error("a card name must have 1 to 255 bytes, no '/' and no NUL, and be neither '.' nor '..'")]
    InvalidCardName,
    /// The state at that moment is not known any more.
    #[error("the history before {} was pruned", .since.0)]
    HistoryPruned {
        /// The history is whole from here on.
        since: Timestamp,
    },
    /// There is no address book of that id.
    #[error("the address book does not exist")]
    NoSuchBook,
    /// A read failed.
    #[error("cannot read from the database: check the disk")]
    Read(#[source] rusqlite::Error),
    /// A write failed on its own; others of the same moment may have succeeded.
    #[error("cannot write to the database: check the disk")]
    Write(#[source] rusqlite::Error),
    /// The writer thread has ended. Restart the program.
    #[error("the store's writer has stopped: restart the program")]
    WriterStopped,
}

impl StoreError {
    /// Whether the disk, or the space allowed to the database, is full.
    pub fn is_full(&self) -> bool {
        let source = match self {
            Self::Commit(source) => source,
            Self::Read(source) | Self::Write(source) => source,
            _ => return false,
        };
        source.sqlite_error().is_some_and(|error| {
            // The index of the write-ahead log needs room too, and fails with a code of its own.
            error.code == ErrorCode::DiskFull || error.extended_code == ffi::SQLITE_IOERR_SHMSIZE
        })
    }
}

/// Calls a failure for want of room by its name. SQLite does so itself when a write finds the disk
/// full, but not when a quota is used up, nor when a file cannot be made, or a file system that puts
/// off finding room, such as one over a network, says it at the fsync.
///
/// Call it in the thread in which SQLite failed and before anything else: it asks for the error of
/// the last call of the system there.
pub(crate) fn named(error: rusqlite::Error) -> rusqlite::Error {
    let of_system = [ErrorCode::SystemIoFailure, ErrorCode::CannotOpen];
    match (error, io::Error::last_os_error().kind()) {
        (
            rusqlite::Error::SqliteFailure(failure, message),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded,
        ) if of_system.contains(&failure.code) => {
            let code = ErrorCode::DiskFull;
            rusqlite::Error::SqliteFailure(ffi::Error { code, ..failure }, message)
        }
        (error, _) => error,
    }
}

/// Why an operation on users or devices failed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The user already has a device of that name that is not revoked.
    #[error(
        "the user {user} already has a device {name:?}: revoke it first or choose another name"
    )]
    DeviceExists {
        /// The user's name.
        user: String,
        /// The device's name.
        name: String,
    },
    /// A user or device name is not allowed.
    #[error("the name {name:?} cannot be used: {rule}")]
    InvalidName {
        /// The refused name.
        name: String,
        /// What a name must be.
        rule: &'static str,
    },
    /// The user has no device of that name that could be revoked.
    #[error("the user {user} has no device {name:?} in use")]
    NoSuchDevice {
        /// The user's name.
        user: String,
        /// The device's name.
        name: String,
    },
    /// There is no user of that name.
    #[error("there is no user {name:?}: create it first")]
    NoSuchUser {
        /// The name that was looked for.
        name: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is a user of that name.
    #[error("the user {name} already exists")]
    UserExists {
        /// The user's name.
        name: String,
    },
}

/// Why an operation on an address book failed.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// A slug is not 1 to 255 bytes, has a `/` or NUL, or is `.` or `..`.
    #[error(
        "an address book's slug must have 1 to 255 bytes, no '/' and no NUL, and be neither '.' nor '..'"
    )]
    InvalidSlug,
    /// There is no alarm of that id, or it was undone before.
    #[error("there is no such alarm, or it was undone already")]
    NoSuchAlarm,
    /// There is no address book of that id, or it is deleted.
    #[error("the address book does not exist")]
    NoSuchBook,
    /// There is no such user.
    #[error("the user does not exist: create it first")]
    NoSuchUser,
    /// A book cannot be shared with its owner, and nobody else can be made an owner.
    #[error("an address book is shared with another user, to read or to read and write")]
    NotShareable,
    /// A condition of the request does not hold.
    #[error("the address book is not in the state that was asked for")]
    PreconditionFailed,
    /// Each user keeps the personal address book.
    #[error("the personal address book cannot be deleted or renamed")]
    Personal,
    /// The user has an address book of that slug.
    #[error("there is already an address book {slug:?}: rename or delete it first")]
    SlugTaken {
        /// The slug.
        slug: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The display name or the description is too large, or the dead properties are.
    #[error(
        "an address book's name or description has more than 16 KiB, or its other properties are \
         too many or too large: shorten them"
    )]
    TooLarge,
    /// The cards of a book that is to be copied have more than 256 MiB.
    #[error(
        "the cards of this address book have more than 256 MiB, too much to copy at once: copy them \
         card by card"
    )]
    TooMuch,
    /// The user has 256 address books.
    #[error("a user has at most 256 address books: delete one first")]
    TooMany,
}

/// Why an operation on a plain resource failed. Nothing is changed then.
#[derive(Debug, thiserror::Error)]
pub enum ResourceError {
    /// There is something at the destination that may not be replaced.
    #[error("there is something at the destination, and it may not be replaced")]
    DestinationExists,
    /// A collection is where only something new, or a resource, can be.
    #[error("there is something of this name already: delete it first")]
    Exists,
    /// A name is not 1 to 255 bytes, has a `/` or NUL, or is `.` or `..`.
    #[error("a name must have 1 to 255 bytes, no '/' and no NUL, and be neither '.' nor '..'")]
    InvalidName,
    /// A resource cannot go to where it is, below itself, or in the place of what it is in.
    #[error("a resource cannot be put in its own place, below itself, or above itself")]
    IntoItself,
    /// There is no collection to put it into.
    #[error("there is no collection to put it into: make that first")]
    NoCollection,
    /// There is nothing at the path.
    #[error("there is nothing here")]
    NotFound,
    /// A condition of the request does not hold.
    #[error("the resource is not in the state that was asked for: fetch it again first")]
    PreconditionFailed,
    /// The user would have too many resources, or too many bytes in them.
    #[error("there is no room left for plain resources: delete some first")]
    QuotaExceeded,
    /// The root of the tree stays where it is.
    #[error("the root of the tree cannot be replaced or removed")]
    Root,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There would be too many collections in one another.
    #[error("a path has at most 32 names: make fewer collections in one another")]
    TooDeep,
}
