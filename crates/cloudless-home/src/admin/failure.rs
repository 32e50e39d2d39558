//! Why a command could not be done.

use cloudless_store::{AccountError, BackupError, BookError, StoreError, Timestamp};
use cloudless_vcard::UnknownRegion;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::client_certificate::ClientCertificateError;

#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Account(AccountError),
    #[error(transparent)]
    Backup(BackupError),
    #[error(transparent)]
    Book(BookError),
    #[error("home keeps the contacts of several users; say whose with --user: {}", several(.0))]
    ManyUsers(Vec<String>),
    #[error(
        "the user {user} has no address book {book:?}; the first one of every user is \"contacts\""
    )]
    NoSuchBook { user: String, book: String },
    #[error(
        "there never was a card {0:?}; find its name with: cloudless contacts search, or cloudless \
         contacts history"
    )]
    NoSuchCard(String),
    #[error("the card {0} is not there; bring it back with: cloudless contacts restore {0}")]
    CardDeleted(String),
    #[error(transparent)]
    ClientCertificate(ClientCertificateError),
    #[error(
        "no name demands client certificates yet: join with a name for such devices alone (on the \
         relay run `cloudless relay invite NAME`, here `cloudless home join CODE`), add to home.toml \
         the lines [hostname.\"NAME\"] and client_certificates = true, and start home again"
    )]
    NoDemand,
    #[error("the system gives no random bytes")]
    Random(#[source] getrandom::Error),
    #[error("a merge needs two cards or more")]
    FewCards,
    #[error(
        "the joined card would have more than 10 MiB, and no device could store it again; take a \
         picture out of one of the cards first"
    )]
    MergedTooLarge,
    #[error("these cards have more than 64 MiB; name fewer of them")]
    MergeTooMuch,
    #[error(
        "there is no group {0}, or a card in it has changed; list them again with: cloudless \
         contacts duplicates; or name two cards or more"
    )]
    NoSuchGroup(String),
    #[error("the address book {book} is not shared with {with}")]
    NoSuchShare { book: String, with: String },
    #[error("no address book {book:?} of {user} was removed")]
    NotRemoved { user: String, book: String },
    #[error("home is not running; start it with: cloudless home run")]
    NotRunning,
    #[error("the address book {book} belongs to {owner}, who alone can change that")]
    NotTheOwner { book: String, owner: String },
    #[error("the region {region:?} is not known")]
    Region {
        region: String,
        #[source]
        source: UnknownRegion,
    },
    #[error("there is no version {number} of {name}; see: cloudless contacts history {name}")]
    NoSuchVersion { name: String, number: u64 },
    #[error("the card could not be stored: {0}; try again")]
    Merge(String),
    #[error(
        "there is no alarm {0} that could be undone; the alarms are listed by: cloudless home status"
    )]
    NoSuchAlarm(i64),
    #[error("there is no user {0:?}; create it with: cloudless user add {0}")]
    NoSuchUser(String),
    #[error("there is no user yet; create one with: cloudless user add NAME")]
    NoUser,
    #[error("the history before {} is not kept any more; name that moment or a later one", utc(*.0))]
    Pruned(Timestamp),
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::HistoryPruned { since } => Self::Pruned(since),
            error => Self::Store(error),
        }
    }
}

impl From<BookError> for Failure {
    fn from(error: BookError) -> Self {
        match error {
            BookError::Store(error) => error.into(),
            error => Self::Book(error),
        }
    }
}

impl From<AccountError> for Failure {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::NoSuchUser { name } => Self::NoSuchUser(name),
            error => Self::Account(error),
        }
    }
}

/// Names for a sentence, not all of very many.
fn several(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let mut list = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN {
        list.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    list
}

/// A moment as a person reads it, and as `--at` takes it.
fn utc(at: Timestamp) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    // The second that has begun by then.
    OffsetDateTime::from_unix_timestamp(at.0.saturating_add(999).div_euclid(1000))
        .ok()
        .and_then(|moment| moment.format(format).ok())
        .unwrap_or_else(|| format!("{} ms after 1970", at.0))
}
