//! What the command line asks of a home.
//!
//! With a home running, each [`Command`] is one JSON line on its admin socket and each [`Reply`]
//! one JSON line back, so that what a command changes is in force at once. With none running the
//! command line opens the store itself and calls [`execute`].

mod alarm;
mod book;
mod command;
mod duplicates;
mod execute;
mod failure;
mod history;
mod import;
mod lookup;
mod renewal;
mod reply;
mod restore;
mod search;
mod socket;

pub use alarm::Alarm;
pub(crate) use alarm::recent as recent_alarms;
pub use book::{Access, Book, BookChange, RemovedBook, Share};
pub use command::{Command, ImportCard};
pub use duplicates::{DuplicateGroup, MergeChoice, Merged, SameBecause};
pub use execute::{Facts, execute};
pub use history::{Change, ChangeKind, PastVersion};
pub use lookup::CardChoice;
pub(crate) use renewal::Renewal;
pub use renewal::Renewed;
pub use reply::{
    CardOutcome, ClientCertificate, Device, DeviceAdded, ExportCard, ImportOutcome, Reply, Status,
    User,
};
pub use restore::{CardRestore, Cards, Difference, NamedCard, RestoreTo, RestoredCard};
pub use search::Found;
pub(crate) use socket::{Admin, serve};

/// The longest line on the admin socket, either way, in bytes.
pub const MAX_LINE: usize = 32 * 1024 * 1024;
