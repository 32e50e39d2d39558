//! Doing a command: pure over the store, with time and randomness as arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use cloudless_carddav::{generate_password, hash_password};
use cloudless_proto::{Hostname, Redacted};
use cloudless_store::{AccountError, Store, Timestamp};
use data_encoding::BASE64;

use super::command::Command;
use super::failure::Failure;
use super::history::{self, Listing};
use super::import::import;
use super::reply::{ClientCertificate, Device, DeviceAdded, ExportCard, Reply, Status, User};
use super::{alarm, book, duplicates, lookup, restore, search};
use crate::client_certificate::{Authority, pkcs12};
use crate::silence::SilentDevice;
use crate::status::{
    CertificateStatus, PassthroughStatus, PublicStatus, RelayState, RelayStatus, ReloadStatus,
    RequestStatus, UpstreamStatus, chain,
};
use crate::trust::{self, NameReport};

/// Cards of one page, whatever the command asks for.
const PAGE_CARDS_MAX: usize = 1000;
/// A page ends once it holds this many bytes of cards: its line is in memory, and stays within
/// [`MAX_LINE`](super::MAX_LINE) with the largest card.
const PAGE_BYTES: u64 = 1024 * 1024;

/// Short enough to be typed on a phone; 50 bits, for a file that is there for a moment.
const PKCS12_PASSWORD_LENGTH: usize = 10;

/// A device that is to be added.
struct NewDevice {
    user: String,
    name: String,
    create_user: bool,
    client_certificate: bool,
}

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
    /// Those of `hostnames` that demand a client certificate.
    pub client_certificates: BTreeSet<Hostname>,
    /// Where the authority that signs these is, or will be.
    pub state_dir: PathBuf,
    /// Devices that a running home has not heard of for long.
    pub silent: Vec<SilentDevice>,
    /// The tunnels of a running home.
    pub relays: Vec<RelayStatus>,
    /// Whether phones reach a running home.
    pub public: Vec<PublicStatus>,
    /// The certificates of a running home.
    pub certificates: Vec<CertificateStatus>,
    /// The names of a running home whose TLS another server ends.
    pub passthrough: Vec<PassthroughStatus>,
    /// What came of the last time that a running home read its file again.
    pub reload: Option<ReloadStatus>,
    /// The servers behind a running home.
    pub upstreams: Vec<UpstreamStatus>,
    /// How well the names of a running home are protected.
    pub trust: Vec<NameReport>,
    /// What was asked of the contacts of a running home.
    pub requests: Vec<RequestStatus>,
    /// How many visitors, or requests of theirs, a running home did not serve, by
    /// [class](crate::VisitorRefusal).
    pub refused: BTreeMap<String, u64>,
}

impl Facts {
    /// Where a device connects that has a client certificate, or that has none.
    fn urls_for(&self, has_certificate: bool) -> Vec<String> {
        let demands = |hostname: &&Hostname| self.client_certificates.contains(*hostname);
        let hostnames = self.hostnames.iter();
        self.urls(hostnames.filter(|it| demands(it) == has_certificate))
    }

    fn public_urls(&self) -> Vec<String> {
        self.urls(self.hostnames.iter())
    }

    fn urls<'a>(&self, hostnames: impl Iterator<Item = &'a Hostname>) -> Vec<String> {
        let port = match self.public_port {
            0 | 443 => String::new(),
            port => format!(":{port}"),
        };
        hostnames
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
        Command::Summary => Ok(summary(facts)),
        Command::CertificateRenew { .. } | Command::Reload => Err(Failure::NotRunning),
        Command::Trust | Command::Doctor => {
            let mut names = facts.trust.clone();
            trust::assign(&mut names, &store.devices(None)?);
            Ok(Reply::Trust { names })
        }
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
            client_certificate,
        } => {
            let new = NewDevice {
                user,
                name,
                create_user,
                client_certificate,
            };
            device_add(store, facts, new, now, random)
        }
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

fn summary(facts: &Facts) -> Reply {
    let states = facts.relays.iter().map(|relay| relay.state);
    Reply::Summary {
        relays: facts.relays.len(),
        connected: states.filter(|it| *it == RelayState::Connected).count(),
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
        upstreams: facts.upstreams.clone(),
        reload: facts.reload.clone(),
        public_urls: facts.public_urls(),
        local_urls: facts.local_urls(),
        local_addresses: facts.local.clone(),
        alarms: alarm::recent(store, now)?,
        silent_devices: facts.silent.clone(),
        requests: facts.requests.clone(),
        refused: facts.refused.clone(),
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
    new: NewDevice,
    now: Timestamp,
    random: [u8; 16],
) -> Result<Reply, Failure> {
    let NewDevice {
        user,
        name,
        create_user,
        client_certificate,
    } = new;
    if client_certificate && facts.client_certificates.is_empty() {
        return Err(Failure::NoDemand);
    }
    if create_user {
        match store.create_user(&user, now) {
            Ok(_) | Err(AccountError::UserExists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let password = generate_password(random);
    let secret_hash = hash_password(&password);
    let (certificate_hash, certificate) = match client_certificate {
        false => (None, None),
        true => {
            let (hash, certificate) = certificate(facts, &format!("{user} {name}"))?;
            (Some(hash), Some(certificate))
        }
    };
    store.add_device_with_certificate(&user, &name, secret_hash, certificate_hash, now)?;
    // Programs on this machine prove no certificate.
    let local_urls = match client_certificate {
        false => facts.local_urls(),
        true => Vec::new(),
    };
    Ok(Reply::DeviceAdded(DeviceAdded {
        user,
        device: name,
        password: Redacted::new(password),
        public_urls: facts.urls_for(client_certificate),
        local_urls,
        client_certificate: certificate,
    }))
}

/// A new certificate with its hash.
fn certificate(facts: &Facts, name: &str) -> Result<([u8; 32], ClientCertificate), Failure> {
    let authority =
        Authority::open_or_create(&facts.state_dir).map_err(Failure::ClientCertificate)?;
    let issued = authority.issue(name).map_err(Failure::ClientCertificate)?;
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(Failure::Random)?;
    let mut password = generate_password(random);
    password.truncate(PKCS12_PASSWORD_LENGTH);
    let packed =
        pkcs12(&issued, &authority, name, &password).map_err(Failure::ClientCertificate)?;
    let certificate = ClientCertificate {
        pkcs12_base64: Redacted::new(BASE64.encode(&packed)),
        password: Redacted::new(password),
    };
    Ok((issued.hash(), certificate))
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
        client_certificate: device.has_certificate,
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
