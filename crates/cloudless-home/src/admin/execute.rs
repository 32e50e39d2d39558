//! Doing a command: pure over the store, with time and randomness as arguments.

use std::fs;
use std::net::SocketAddr;

use cloudless_carddav::{generate_password, hash_password};
use cloudless_proto::Hostname;
use cloudless_store::{AccountError, Store, Timestamp};
use data_encoding::BASE64;

use super::command::Command;
use super::failure::Failure;
use super::history::{self, Listing};
use super::import::import;
use super::reply::{Device, DeviceAdded, ExportCard, Password, Reply, Status, User};
use super::{alarm, book, duplicates, lookup, restore, search};
use crate::status::{
    CertificateStatus, PassthroughStatus, PublicStatus, RelayStatus, RequestStatus, chain,
};
use crate::trust::NameReport;

/// Cards of one page, whatever the command asks for.
const PAGE_CARDS_MAX: usize = 1000;
/// A page ends once it holds this many bytes of cards: its line is in memory, and stays within
/// [`MAX_LINE`](super::MAX_LINE) with the largest card.
const PAGE_BYTES: u64 = 1024 * 1024;

/// What the store does not know and a reply needs.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Whether a home runs.
    pub running: bool,
    /// The names that the home answers for.
    pub hostnames: Vec<Hostname>,
    /// The port visitors reach the relay at; 0 counts as 443.
    pub public_port: u16,
    /// The loopback addresses that are bound, or will be.
    pub local: Vec<SocketAddr>,
    /// The tunnels of a running home.
    pub relays: Vec<RelayStatus>,
    /// Whether phones reach a running home.
    pub public: Vec<PublicStatus>,
    /// The certificates of a running home.
    pub certificates: Vec<CertificateStatus>,
    /// The names of a running home whose TLS another server ends.
    pub passthrough: Vec<PassthroughStatus>,
    /// How well the names of a running home are protected.
    pub trust: Vec<NameReport>,
    /// What was asked of the contacts of a running home.
    pub requests: Vec<RequestStatus>,
}

impl Facts {
    fn public_urls(&self) -> Vec<String> {
        let port = match self.public_port {
            0 | 443 => String::new(),
            port => format!(":{port}"),
        };
        self.hostnames
            .iter()
            .map(|hostname| format!("https://{hostname}{port}/"))
            .collect()
    }

    fn local_urls(&self) -> Vec<String> {
        self.local
            .iter()
            .map(|address| format!("http://{address}/"))
            .collect()
    }
}

/// Does one command on the store, blocking. `random` becomes the password of a new device: fresh
/// bytes of the system's generator for every call.
pub fn execute(
    store: &Store,
    facts: &Facts,
    command: Command,
    now: Timestamp,
    random: [u8; 16],
) -> Reply {
    run(store, facts, command, now, random).unwrap_or_else(|failure| Reply::Error {
        message: chain(&failure),
    })
}

fn run(
    store: &Store,
    facts: &Facts,
    command: Command,
    now: Timestamp,
    random: [u8; 16],
) -> Result<Reply, Failure> {
    match command {
        Command::Status | Command::Check => status(store, facts, now),
        Command::CertificateRenew { .. } => Err(Failure::NotRunning),
        Command::Trust | Command::Doctor => Ok(Reply::Trust {
            names: facts.trust.clone(),
        }),
        Command::TrustAccept { key } => Ok(Reply::TrustAccepted { key }),
        Command::UserAdd { name } => {
            store.create_user(&name, now)?;
            Ok(Reply::UserAdded { user: name })
        }
        Command::Users => users(store),
        Command::DeviceAdd {
            user,
            name,
            create_user,
        } => device_add(store, facts, user, name, create_user, now, random),
        Command::DeviceList { user } => device_list(store, user.as_deref()),
        Command::DeviceRevoke { user, name } => {
            store.revoke_device(&user, &name, now)?;
            Ok(Reply::DeviceRevoked { user, name })
        }
        Command::Books { user } => book::list(store, user.as_deref()),
        Command::Book { user, book, change } => {
            book::change(store, user.as_deref(), &book, change, now)
        }
        Command::CardsPut { user, book, cards } => {
            let book = lookup::book(store, user.as_deref(), &book)?;
            let outcomes = import(store, book.id, cards, now)?;
            Ok(Reply::CardsPut { outcomes })
        }
        Command::CardsGet {
            user,
            book,
            after,
            limit,
        } => cards(store, user.as_deref(), &book, after.as_deref(), limit),
        Command::History {
            user,
            book,
            card,
            since,
            before,
            limit,
        } => {
            let listing = Listing {
                user: user.as_deref(),
                book: book.as_deref(),
                card: card.as_ref(),
                since,
                before,
                limit,
            };
            history::list(store, &listing)
        }
        Command::Version {
            user,
            book,
            card,
            version,
        } => history::version(store, user.as_deref(), &book, &card, version),
        Command::CardsRestore {
            user,
            book,
            cards,
            to,
            dry_run,
        } => {
            let book = lookup::book(store, user.as_deref(), &book)?;
            restore::cards(store, book.id, &cards, to, dry_run, now)
        }
        Command::BookRestore {
            user,
            book,
            at,
            dry_run,
        } => {
            let book = lookup::book(store, user.as_deref(), &book)?;
            restore::book(store, book.id, Timestamp(at), dry_run, now)
        }
        Command::DeletionUndo { alarm } => alarm::undo(store, alarm, now),
        Command::Prune { before, dry_run } => {
            let pruned = match dry_run {
                true => store.prunable(Timestamp(before))?,
                false => store.prune(Timestamp(before))?,
            };
            Ok(Reply::Pruned {
                versions: pruned.versions,
                bytes: pruned.bytes,
            })
        }
        Command::Backup { path } => {
            store.back_up(&path).map_err(Failure::Backup)?;
            let bytes = fs::metadata(&path).map_or(0, |metadata| metadata.len());
            Ok(Reply::BackedUp { bytes })
        }
        Command::Search {
            user,
            book,
            text,
            limit,
        } => search::search(store, user.as_deref(), book.as_deref(), &text, limit),
        Command::Duplicates { user, book, region } => {
            let book = lookup::book(store, user.as_deref(), &book)?;
            duplicates::list(store, book.id, region.as_deref())
        }
        Command::Merge {
            user,
            book,
            cards,
            region,
            dry_run,
        } => {
            let book = lookup::book(store, user.as_deref(), &book)?;
            duplicates::merge(store, book.id, &cards, region.as_deref(), dry_run, now)
        }
    }
}

fn status(store: &Store, facts: &Facts, now: Timestamp) -> Result<Reply, Failure> {
    Ok(Reply::Status(Status {
        running: facts.running,
        hostnames: facts.hostnames.clone(),
        relays: facts.relays.clone(),
        public: facts.public.clone(),
        certificates: facts.certificates.clone(),
        passthrough: facts.passthrough.clone(),
        public_urls: facts.public_urls(),
        local_urls: facts.local_urls(),
        local_addresses: facts.local.clone(),
        alarms: alarm::recent(store, now)?,
        requests: facts.requests.clone(),
        push_registrations: store.push_registrations(now)?,
        migration_copies: store.migration_copies(),
        trust: facts.trust.clone(),
    }))
}

fn users(store: &Store) -> Result<Reply, Failure> {
    let users = store.users()?;
    let user = |user: cloudless_store::User| User {
        name: user.name,
        created_at: user.created_at.0,
    };
    Ok(Reply::Users {
        users: users.into_iter().map(user).collect(),
    })
}

fn device_add(
    store: &Store,
    facts: &Facts,
    user: String,
    name: String,
    create_user: bool,
    now: Timestamp,
    random: [u8; 16],
) -> Result<Reply, Failure> {
    if create_user {
        match store.create_user(&user, now) {
            Ok(_) | Err(AccountError::UserExists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let password = generate_password(random);
    store.add_device(&user, &name, hash_password(&password), now)?;
    Ok(Reply::DeviceAdded(DeviceAdded {
        user,
        device: name,
        password: Password(password),
        public_urls: facts.public_urls(),
        local_urls: facts.local_urls(),
    }))
}

fn device_list(store: &Store, user: Option<&str>) -> Result<Reply, Failure> {
    if let Some(user) = user {
        lookup::user(store, Some(user))?;
    }
    let devices = store.devices(user)?;
    let device = |device: cloudless_store::Device| Device {
        user: device.user,
        name: device.name,
        created_at: device.created_at.0,
        last_seen_at: device.last_seen_at.map(|at| at.0),
        revoked_at: device.revoked_at.map(|at| at.0),
    };
    Ok(Reply::Devices {
        devices: devices.into_iter().map(device).collect(),
    })
}

fn cards(
    store: &Store,
    user: Option<&str>,
    book: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Reply, Failure> {
    let book = lookup::book(store, user, book)?;
    let limit = limit.clamp(1, PAGE_CARDS_MAX);
    let rows = store.card_rows_after(book.id, after.unwrap_or_default(), limit + 1)?;
    let mut cards = Vec::new();
    let (mut told, mut size) = (0, 0);
    for row in rows.iter().take(limit) {
        if size >= PAGE_BYTES {
            break;
        }
        told += 1;
        // It may be gone by then.
        if let Some(card) = store.card(book.id, &row.name)? {
            size += card.row.size;
            cards.push(ExportCard {
                name: card.row.name,
                bytes_base64: BASE64.encode(&card.bytes),
            });
        }
    }
    Ok(Reply::Cards {
        cards,
        more: told < rows.len(),
    })
}
