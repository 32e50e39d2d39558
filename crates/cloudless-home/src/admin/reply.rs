//! The answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use cloudless_proto::{Hostname, Redacted, serialize_exposed};
use serde::{Deserialize, Serialize};

use super::alarm::Alarm;
use super::book::{Book, RemovedBook};
use super::duplicates::{DuplicateGroup, Merged};
use super::history::{Change, PastVersion};
use super::renewal::Renewed;
use super::restore::{Difference, RestoredCard};
use super::search::Found;
use crate::silence::SilentDevice;
use crate::status::{
    CertificateStatus, PassthroughStatus, PublicStatus, RelayStatus, ReloadStatus, RequestStatus,
    UpstreamStatus,
};
use crate::trust::NameReport;

/// The answer to one [`Command`](super::Command): a JSON object whose `reply` names the variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// To `Status`.
    Status(Status),
    /// To `Summary`; zeros when no home runs.
    Summary {
        /// Relays that home has joined.
        relays: usize,
        /// Those of them to which a tunnel is up.
        connected: usize,
    },
    /// To `CertificateRenew`.
    CertificatesRenewed {
        /// One for each name that was meant.
        certificates: Vec<Renewed>,
    },
    /// To `Trust` and `Doctor`.
    Trust {
        /// One for each name whose certificate is home's.
        names: Vec<NameReport>,
    },
    /// To `TrustAccept`.
    TrustAccepted {
        /// The key.
        key: String,
    },
    /// To `UserAdd`.
    UserAdded {
        /// The new user's name.
        user: String,
    },
    /// To `Users`.
    Users {
        /// In the order of their names.
        users: Vec<User>,
    },
    /// To `DeviceAdd`.
    DeviceAdded(DeviceAdded),
    /// To `DeviceList`.
    Devices {
        /// Revoked ones included.
        devices: Vec<Device>,
    },
    /// To `DeviceRevoke`.
    DeviceRevoked {
        /// Whose device.
        user: String,
        /// Its name.
        name: String,
    },
    /// To `Books`.
    Books {
        /// The user's address books, the shared ones last.
        books: Vec<Book>,
        /// Those that were removed and can be brought back.
        removed: Vec<RemovedBook>,
    },
    /// To `Book`; absent when it was removed.
    BookChanged {
        /// As it is then.
        book: Option<Book>,
    },
    /// To `CardsPut`.
    CardsPut {
        /// One for each card of the command, in its order.
        outcomes: Vec<CardOutcome>,
    },
    /// To `CardsGet`.
    Cards {
        /// The page, in the order of names.
        cards: Vec<ExportCard>,
        /// Whether another page follows.
        more: bool,
    },
    /// To `History`.
    History {
        /// The page, the newest first.
        changes: Vec<Change>,
        /// Whether another page follows.
        more: bool,
    },
    /// To `Version`.
    Version(PastVersion),
    /// To `CardsRestore`.
    CardsRestored {
        /// When, in Unix milliseconds.
        #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
        at: i64,
        /// One for each card of the command, in its order.
        cards: Vec<RestoredCard>,
        /// What that changed, or would change.
        #[serde(default)]
        difference: Difference,
    },
    /// To `BookRestore`.
    BookRestored {
        /// When, in Unix milliseconds.
        #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
        at: i64,
        /// What that changed, or would change.
        difference: Difference,
    },
    /// To `DeletionUndo`.
    DeletionUndone {
        /// What was undone.
        alarm: Alarm,
        /// What came back.
        difference: Difference,
    },
    /// To `Prune`.
    Pruned {
        /// How many versions went, or would go.
        versions: u64,
        /// How many bytes they had. The room is used again; the file does not shrink.
        bytes: u64,
    },
    /// To `Reload`.
    Reloaded {
        /// What takes a restart to be in force, a sentence each.
        waiting: Vec<String>,
    },
    /// To `Backup`.
    BackedUp {
        /// How large the file is.
        bytes: u64,
    },
    /// To `Search`.
    Found {
        /// The last stored first.
        cards: Vec<Found>,
    },
    /// To `Duplicates`.
    Duplicates {
        /// How many groups there are.
        count: usize,
        /// All of them, or the first.
        groups: Vec<DuplicateGroup>,
    },
    /// To `Merge`.
    Merged(Merged),
    /// The command could not be done.
    Error {
        /// What failed and what to do.
        message: String,
    },
}

/// How the home is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// False when the command line answers for a home that is not running.
    pub running: bool,
    /// The names that this home answers for.
    pub hostnames: Vec<Hostname>,
    /// One row for each relay; empty when not running.
    pub relays: Vec<RelayStatus>,
    /// One row for each hostname; empty when not running.
    pub certificates: Vec<CertificateStatus>,
    /// One row for each hostname whose TLS another server ends; empty when not running.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passthrough: Vec<PassthroughStatus>,
    /// Servers behind home.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<UpstreamStatus>,
    /// What came of the last time that home read its file again; `None` if it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload: Option<ReloadStatus>,
    /// Whether phones reach home: one row for each hostname; empty when not running, or not tested.
    #[serde(default)]
    pub public: Vec<PublicStatus>,
    /// Where phones connect.
    pub public_urls: Vec<String>,
    /// Where programs on this machine connect.
    pub local_urls: Vec<String>,
    /// The bound loopback addresses.
    pub local_addresses: Vec<SocketAddr>,
    /// Devices that deleted a large share of an address book within the last 30 days, and it was not
    /// undone; the newest first.
    #[serde(default)]
    pub alarms: Vec<Alarm>,
    /// Devices with a client certificate that do not come any more: something may be in their way
    /// that imitates this home.
    #[serde(default)]
    pub silent_devices: Vec<SilentDevice>,
    /// What was asked of the contacts; empty when not running.
    #[serde(default)]
    pub requests: Vec<RequestStatus>,
    /// How many visitors, or requests of theirs, were not served, by [class](crate::VisitorRefusal);
    /// empty when not running.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<String, u64>,
    /// How many times a device asked to be told of changes of an address book, and is.
    #[serde(default)]
    pub push_registrations: u64,
    /// Copies of the contacts of before an upgrade of the program that changed their database.
    #[serde(default)]
    pub migration_copies: Vec<PathBuf>,
    /// How well each name is protected; empty when not running.
    #[serde(default)]
    pub trust: Vec<NameReport>,
}

/// A user. Times are Unix milliseconds, and RFC 3339 in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// What devices log in as.
    pub name: String,
    /// When it was created.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
    pub created_at: i64,
}

/// A new device's login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceAdded {
    /// The user name to log in with.
    pub user: String,
    /// The device's name.
    pub device: String,
    /// The password, known to nobody after this reply.
    #[serde(serialize_with = "serialize_exposed")]
    pub password: Redacted<String>,
    /// What to give a phone.
    pub public_urls: Vec<String>,
    /// What to give a program on this machine.
    pub local_urls: Vec<String>,
    /// What the device has to prove as well, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
}

/// A certificate and its key, known to nobody after this reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// PKCS#12 (RFC 7292), in standard base64 with padding.
    #[serde(serialize_with = "serialize_exposed")]
    pub pkcs12_base64: Redacted<String>,
    /// What the file is encrypted with.
    #[serde(serialize_with = "serialize_exposed")]
    pub password: Redacted<String>,
}

/// A device. Times are Unix milliseconds, and RFC 3339 in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Whose.
    pub user: String,
    /// Its name.
    pub name: String,
    /// When it was added.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
    pub created_at: i64,
    /// When it last logged in, to about five minutes.
    #[serde(default, with = "cloudless_proto::rfc3339::milliseconds::option")]
    pub last_seen_at: Option<i64>,
    /// When it was revoked.
    #[serde(default, with = "cloudless_proto::rfc3339::milliseconds::option")]
    pub revoked_at: Option<i64>,
    /// Whether it is refused without its client certificate.
    #[serde(default)]
    pub client_certificate: bool,
}

/// What became of one imported card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardOutcome {
    /// Where it is kept; absent when it was not.
    pub name: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub outcome: ImportOutcome,
}

/// The ways an import of one card ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ImportOutcome {
    /// A new card.
    Created,
    /// A card of the same UID had other bytes, which stay in the history.
    Updated,
    /// The very same bytes were there.
    Unchanged,
    /// Not stored.
    Refused {
        /// Why, and what to do.
        reason: String,
    },
}

/// An exported card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportCard {
    /// Its resource name.
    pub name: String,
    /// Its exact bytes, in standard base64 with padding.
    pub bytes_base64: String,
}
