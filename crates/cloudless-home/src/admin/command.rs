//! The questions.

use std::path::PathBuf;

use cloudless_proto::Hostname;
use serde::{Deserialize, Serialize};

use super::book::BookChange;
use super::duplicates::MergeChoice;
use super::lookup::CardChoice;
use super::restore::RestoreTo;

/// One request to a home: a JSON object whose `command` names the variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Tunnels, certificates, addresses.
    Status,
    /// Shows that home lives, and answers without the disk.
    Summary,
    /// How well each name is protected, as far as it is known.
    Trust,
    /// The same after a new look at each name.
    Doctor,
    /// Says that a key that home did not make is the owner's.
    TrustAccept {
        /// SHA-256 of its SubjectPublicKeyInfo, in hexadecimal.
        key: String,
    },
    /// Tries now whether phones reach home, then answers as to `Status`.
    Check,
    /// Puts in force what home's file says now. Only a running home can.
    Reload,
    /// Makes new certificates now, whether they are due or not. Only a running home can.
    CertificateRenew {
        /// For this name; for all but those that devices have pinned if absent.
        #[serde(default)]
        hostname: Option<Hostname>,
    },
    /// Creates a user with an empty address book.
    UserAdd {
        /// Lower-case letters, digits, `.`, `_`, `-`.
        name: String,
    },
    /// Lists the users.
    Users,
    /// Creates a device with a generated password, which is shown this once.
    DeviceAdd {
        /// Whose device.
        user: String,
        /// What to call it.
        name: String,
        /// Creates the user first if there is none of that name.
        #[serde(default)]
        create_user: bool,
        /// Makes a client certificate, without which the device is then refused.
        #[serde(default)]
        client_certificate: bool,
    },
    /// Lists devices, of one user or of all.
    DeviceList {
        /// All users if absent.
        #[serde(default)]
        user: Option<String>,
    },
    /// Refuses the device's password from this moment on.
    DeviceRevoke {
        /// Whose device.
        user: String,
        /// Its name.
        name: String,
    },
    /// Lists a user's address books.
    Books {
        /// Whose; the only user if absent.
        #[serde(default)]
        user: Option<String>,
    },
    /// Changes which address books there are and who uses them.
    Book {
        /// Whose; the only user if absent.
        #[serde(default)]
        user: Option<String>,
        /// The address book's slug.
        book: String,
        /// What to do.
        change: BookChange,
    },
    /// Imports cards; each has an outcome of its own.
    CardsPut {
        /// Whose; the only user if absent.
        #[serde(default)]
        user: Option<String>,
        /// The address book's slug, usually `contacts`.
        book: String,
        /// One vCard each.
        cards: Vec<ImportCard>,
    },
    /// Exports cards in the order of their names, a page at a time.
    CardsGet {
        /// Whose; the only user if absent.
        #[serde(default)]
        user: Option<String>,
        /// The address book's slug.
        book: String,
        /// The last name of the previous page.
        #[serde(default)]
        after: Option<String>,
        /// At most so many cards; a page may be shorter when the cards are large.
        limit: usize,
    },
    /// Lists what happened to cards, the newest first, a page at a time.
    History {
        /// Whose; the only user if absent.
        #[serde(default)]
        user: Option<String>,
        /// The address book's slug; all of the user's if absent.
        #[serde(default)]
        book: Option<String>,
        /// Only this card.
        #[serde(default)]
        card: Option<CardChoice>,
        /// Only what happened then or later, in Unix milliseconds.
        #[serde(default)]
        since: Option<i64>,
        /// The id of the last row of the previous page.
        #[serde(default)]
        before: Option<u64>,
        /// At most so many rows.
        limit: usize,
    },
    /// Gives the bytes of a card or of one of its versions.
    Version {
        /// Whose; the only user if absent.
        #[serde(default)]
        user: Option<String>,
        /// The address book's slug.
        book: String,
        /// The card, there or deleted.
        card: CardChoice,
        /// The version; the last one with bytes if absent.
        #[serde(default)]
        version: Option<u64>,
    },
    /// Restores cards; each has an outcome of its own.
    CardsRestore {
        /// Whose; the only user if absent.
        #[serde(default)]
        user: Option<String>,
        /// The address book's slug.
        book: String,
        /// The cards.
        cards: Vec<CardChoice>,
        /// What to restore them to.
        to: RestoreTo,
        /// Only says what that would change.
        #[serde(default)]
        dry_run: bool,
    },
    /// Makes an address book what it was at a moment.
    BookRestore {
        /// Whose; the only user if absent.
        #[serde(default)]
        user: Option<String>,
        /// The address book's slug.
        book: String,
        /// The moment in Unix milliseconds.
        at: i64,
        /// Only says what that would change.
        dry_run: bool,
    },
    /// Brings back what a device deleted when it raised an alarm.
    DeletionUndo {
        /// The alarm, as the status names it.
        alarm: i64,
    },
    /// Removes versions that were replaced or deleted before a moment.
    Prune {
        /// The moment in Unix milliseconds.
        before: i64,
        /// Only says what would go.
        dry_run: bool,
    },
    /// Copies all that the store holds to a new file.
    Backup {
        /// Its absolute path.
        path: PathBuf,
    },
    /// Finds cards by their text.
    Search {
        /// Whose; the only user if absent.
        #[serde(default)]
        user: Option<String>,
        /// The address book's slug; all that the user has if absent, the shared ones too.
        #[serde(default)]
        book: Option<String>,
        /// Words that all have to be in a card.
        text: String,
        /// At most so many cards.
        limit: usize,
    },
    /// Finds cards that are the same person.
    Duplicates {
        /// Whose; the only user if absent.
        #[serde(default)]
        user: Option<String>,
        /// The address book's slug.
        book: String,
        /// The region of telephone numbers without a country, in two letters.
        #[serde(default)]
        region: Option<String>,
    },
    /// Joins cards into the first of them and deletes the others, into the history.
    Merge {
        /// Whose; the only user if absent.
        #[serde(default)]
        user: Option<String>,
        /// The address book's slug.
        book: String,
        /// Which cards.
        cards: MergeChoice,
        /// As for `Duplicates`, whose groups are meant.
        #[serde(default)]
        region: Option<String>,
        /// Changes nothing and only gives the joined card.
        dry_run: bool,
    },
}

impl Command {
    /// Whether cards come back that are not indexed.
    pub(super) fn restores(&self) -> bool {
        matches!(
            self,
            Self::CardsRestore { dry_run: false, .. }
                | Self::BookRestore { dry_run: false, .. }
                | Self::DeletionUndo { .. }
                | Self::Book { .. }
        )
    }
}

/// A card to import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportCard {
    /// The resource name to give it; made from its UID if absent or unfit.
    #[serde(default)]
    pub name: Option<String>,
    /// The vCard's exact bytes, in standard base64 with padding.
    pub bytes_base64: String,
}
