//! Tells devices that an address book changed: Web Push (RFC 8030) for WebDAV-Push.
//!
//! What is to be told stands in the store, so that nothing is forgotten when the program ends; a
//! message may then be sent twice.

mod delivery;
mod encryption;
mod endpoint;
mod schedule;
mod vapid;

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use cloudless_carddav::Push;
use cloudless_store::{PendingPush, Store, Timestamp};
use data_encoding::BASE64URL_NOPAD;
use rustls::crypto::aws_lc_rs as provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::config::Clock;
use delivery::{Message, Sender};
use encryption::Recipient;
use endpoint::Endpoint;
use schedule::{Outcome, Schedule};
use vapid::Vapid;

pub use schedule::PushTimings;
pub use vapid::PushKeyError;

/// What every message is padded to, in bytes. It is longer than any.
const MESSAGE_LEN: usize = 512;
/// Between two removals of registrations that have expired.
const PURGE: Duration = Duration::from_secs(60 * 60);

/// What home needs to send push messages.
pub struct PushConfig {
    /// A P-256 key that push services know this home by. Devices register anew when it changes.
    pub key: PrivatePkcs8KeyDer<'static>,
    /// A `mailto:` or `https:` URL that push services are told, to reach who runs this home.
    pub contact: Option<String>,
    /// Push services that may have addresses of this machine and of the networks around it: host
    /// names or IP addresses.
    pub private_hosts: Vec<String>,
    /// Whose certificates of push services are taken.
    pub roots: Vec<CertificateDer<'static>>,
    /// All waits and deadlines.
    pub timings: PushTimings,
}

impl fmt::Debug for PushConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushConfig")
            .field("contact", &self.contact)
            .field("private_hosts", &self.private_hosts)
            .field("roots", &self.roots.len())
            .field("timings", &self.timings)
            .finish_non_exhaustive()
    }
}

/// The part of home that sends push messages.
pub(crate) struct Pusher {
    push: Push,
    vapid: Vapid,
    sender: Sender,
    timings: PushTimings,
    clock: Clock,
}

impl Pusher {
    /// # Errors
    /// The key is none of P-256.
    pub(crate) fn new(config: PushConfig, clock: Clock) -> Result<Self, PushKeyError> {
        let vapid = Vapid::new(&config.key, config.contact)?;
        let hosts = config.private_hosts.iter();
        Ok(Self {
            push: Push {
                vapid_public_key: vapid.public_key(),
                topic_secret: vapid.topic_secret(),
            },
            vapid,
            sender: Sender {
                tls: tls(config.roots),
                private_hosts: hosts.map(|host| host.to_ascii_lowercase()).collect(),
                timeout: config.timings.timeout,
            },
            timings: config.timings,
            clock,
        })
    }

    /// What the CardDAV service says about push.
    pub(crate) fn push(&self) -> Push {
        self.push.clone()
    }

    /// Sends what is pending, and what comes, until `stop`. What is on its way then is sent again at
    /// the next start.
    pub(crate) async fn run(self, store: Store, stop: CancellationToken) {
        let committed = Arc::new(Notify::new());
        let notify = committed.clone();
        store.on_commit(move || notify.notify_one());
        let mut schedule = Schedule::new(self.timings.clone());
        let mut under_way = UnderWay::default();
        // What the last run left is told at once.
        let mut look = Some(Instant::now());
        let mut purge = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = committed.notified() => look = earlier(look, self.timings.delay),
                () = at(look) => look = self.look(&store, &mut schedule, &mut under_way).await,
                (push, outcome) = under_way.next() => {
                    schedule.end(push.id, outcome, Instant::now().into_std());
                    self.note(&store, push, outcome).await;
                    look = earlier(look, Duration::ZERO);
                }
                () = sleep_until(purge) => {
                    let now = self.now();
                    on_store(&store, move |store| store.purge_pushes(now)).await;
                    purge = Instant::now() + PURGE;
                    look = earlier(look, Duration::ZERO);
                }
            }
        }
    }

    /// Sends what is due. Returns when to look again.
    async fn look(
        &self,
        store: &Store,
        schedule: &mut Schedule,
        under_way: &mut UnderWay,
    ) -> Option<Instant> {
        let now = self.now();
        let pending = on_store(store, move |store| store.pending_pushes(now)).await?;
        let (due, next) = schedule.begin(pending, Instant::now().into_std());
        for push in due {
            let message = self.message(&push);
            let (sender, now) = (self.sender.clone(), (self.clock)());
            under_way.spawn(push, async move {
                match message {
                    Ok(message) => sender.send(message, now).await,
                    Err(outcome) => outcome,
                }
            });
        }
        next.map(Instant::from_std)
    }

    /// The message that tells a device, or what becomes of it if there is none: to a key that is no
    /// key nothing can ever be sent.
    fn message(&self, push: &PendingPush) -> Result<Message, Outcome> {
        const LATER: Outcome = Outcome::Failed { retry_after: None };
        let endpoint = Endpoint::parse(&push.push_resource).ok_or(Outcome::Gone)?;
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|_| LATER)?;
        let recipient = Recipient {
            public_key: &push.public_key,
            auth_secret: &push.auth_secret,
        };
        let text = self.push.message(push);
        let once = PrivateKey::generate(&ECDH_P256).map_err(|_| LATER)?;
        let body = encryption::encrypt(&text, MESSAGE_LEN, &recipient, salt, &once)
            .map_err(|_| Outcome::Gone)?;
        let since_epoch = (self.clock)().duration_since(SystemTime::UNIX_EPOCH);
        let now = since_epoch.unwrap_or_default().as_secs();
        let authorization = self.vapid.authorization(&endpoint.origin(), now);
        Ok(Message {
            authorization: authorization.ok_or(LATER)?,
            endpoint,
            topic: topic(push),
            body,
        })
    }

    /// Notes in the store what became of a message.
    async fn note(&self, store: &Store, push: PendingPush, outcome: Outcome) {
        match outcome {
            Outcome::Taken | Outcome::Refused => {
                on_store(store, move |store| store.push_told(&push)).await;
            }
            Outcome::Gone => {
                tracing::debug!("A push registration has ended");
                on_store(store, move |store| store.forget_push(push.id)).await;
            }
            Outcome::Failed { .. } => {}
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from((self.clock)())
    }
}

/// Messages on their way, with what they tell.
#[derive(Default)]
struct UnderWay {
    tasks: JoinSet<Outcome>,
    pushes: HashMap<Id, PendingPush>,
}

impl UnderWay {
    fn spawn(&mut self, push: PendingPush, send: impl Future<Output = Outcome> + Send + 'static) {
        let task = self.tasks.spawn(send);
        self.pushes.insert(task.id(), push);
    }

    /// The next one that comes to its end; never, if there is none.
    async fn next(&mut self) -> (PendingPush, Outcome) {
        loop {
            let Some(ended) = self.tasks.join_next_with_id().await else {
                pending::<()>().await;
                continue;
            };
            let (id, outcome) = ended.unwrap_or_else(|error: JoinError| {
                // Nothing cancels these tasks, so that it is a bug; the message is not lost.
                tracing::error!(%error, "Sending a push message failed");
                (error.id(), Outcome::Failed { retry_after: None })
            });
            if let Some(push) = self.pushes.remove(&id) {
                return (push, outcome);
            }
        }
    }
}

/// What a message replaces at the push service: an earlier one for the same registration that said
/// the same. It is another one for each device, so that it does not tell who shares a book.
fn topic(push: &PendingPush) -> String {
    let digest = Sha256::new()
        .chain_update(&push.name)
        .chain_update([u8::from(push.content), u8::from(push.properties)])
        .finalize();
    // 32 characters are the most (RFC 8030 §5.4).
    BASE64URL_NOPAD.encode(&digest[..24])
}

/// Verifies push services by these certificates. Without any, none is trusted.
fn tls(roots: Vec<CertificateDer<'static>>) -> Arc<ClientConfig> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots);
    let config = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has all versions")
        .with_root_certificates(store)
        .with_no_client_auth();
    Arc::new(config)
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

/// The earlier one of a time and of now and `delay`.
fn earlier(time: Option<Instant>, delay: Duration) -> Option<Instant> {
    let soon = Instant::now() + delay;
    Some(time.map_or(soon, |time| time.min(soon)))
}

/// Works on the store where that may block. A failure is told; what is pending stays so.
async fn on_store<T: Send + 'static, E: Error + Send + 'static>(
    store: &Store,
    work: impl FnOnce(&Store) -> Result<T, E> + Send + 'static,
) -> Option<T> {
    let store = store.clone();
    match tokio::task::spawn_blocking(move || work(&store)).await {
        Ok(Ok(done)) => Some(done),
        Ok(Err(error)) => give_up(&error),
        Err(error) => give_up(&error),
    }
}

fn give_up<T>(error: &(dyn Error + 'static)) -> Option<T> {
    tracing::warn!(error, "Push messages wait, as the store failed");
    None
}
