//! One name's certificate: ordered, renewed, and what is told of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cloudless_proto::Hostname;
use instant_acme::{Account, CertificateIdentifier};
use rcgen::{KeyPair, PublicKeyData};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::authority::Authority;
use super::failure::OrderError;
use super::order::Ordering;
use super::schedule::{Life, Schedule, Step, Window};
use super::{account_uri, stored};
use crate::certificate::ledger::{self, KeyOrigin, KeyRecord, SpkiHash};
use crate::certificate::{CertificateError, IntendedOrder};
use crate::config::unix_ms;
use crate::status::{AcmeStatus, chain};
use crate::surroundings::Happened;

/// A whole order, from the look at the clock to the certificate.
const ORDER: Duration = Duration::from_secs(5 * 60);
/// A gate's answer.
const GATE: Duration = Duration::from_secs(2 * 60);
/// The longest wait after the account could not be opened only for the gate to hear of it.
const TELL_GATE_MAX: Duration = Duration::from_secs(60 * 60);
/// Between two looks at the time of day, which may be set and stands still for no sleep.
const LOOK: Duration = Duration::from_secs(60);

/// Somebody who wants a certificate now and waits for what comes of it.
pub(super) type Request = oneshot::Sender<Result<(), String>>;

/// One name.
pub(super) struct Name {
    authority: Arc<Authority>,
    hostname: Hostname,
    schedule: Schedule,
    /// Who waits for the order under way.
    waiting: Vec<Request>,
    /// The URL of the account that the gate was told last.
    told: Option<String>,
    /// When the gate may be told, after it could not, and how long to wait then.
    tell_gate_at: Instant,
    tell_gate_wait: Duration,
}

impl Name {
    pub(super) fn new(authority: Arc<Authority>, hostname: Hostname) -> Self {
        let trouble = stored::read_trouble(&authority.state_dir, &hostname);
        Self {
            schedule: Schedule::new(trouble),
            authority,
            hostname,
            waiting: Vec::new(),
            told: None,
            tell_gate_at: Instant::now(),
            tell_gate_wait: LOOK,
        }
    }

    /// Keeps the name in a valid certificate until `stop`, which gives an order up that is under way.
    pub(super) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut happened: watch::Receiver<Happened>,
        stop: CancellationToken,
    ) {
        if let Some((_, life)) = self.authority.certificates.held(&self.hostname) {
            self.schedule.found(life, random());
        }
        let mut sessions = self.authority.board.sessions();
        loop {
            let step = self.schedule.next(self.now());
            // The authority comes through a relay; only whoever asks is told that there is none.
            let is_ready = self.authority.board.is_connected() || !self.waiting.is_empty();
            let is_ordering = step == Step::Order && is_ready;
            self.tell(is_ordering);
            match step {
                Step::Order if is_ready => {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = self.order() => {}
                    }
                    self.answer(&mut requests);
                }
                Step::AskRenewalInfo => tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.ask_renewal_info() => {}
                },
                Step::Order | Step::Wait(_) if self.must_tell_gate() => tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.tell_gate() => {}
                },
                Step::Order | Step::Wait(_) => {
                    let left = match step {
                        Step::Wait(until) => until.duration_since(self.now()).unwrap_or_default(),
                        _ => LOOK,
                    };
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = sleep(left.min(LOOK)) => {}
                        Ok(()) = sessions.changed() => {}
                        Ok(()) = happened.changed() => self.schedule.woke(),
                        Some(request) = requests.recv() => {
                            self.waiting.push(request);
                            self.schedule.ask();
                        }
                    }
                }
            }
        }
    }

    /// Tells everybody who waits what came of the order. Whoever asked meanwhile wanted this one.
    fn answer(&mut self, requests: &mut mpsc::Receiver<Request>) {
        while let Ok(request) = requests.try_recv() {
            self.waiting.push(request);
        }
        let result = self
            .schedule
            .message()
            .map_or(Ok(()), |message| Err(message.to_owned()));
        for request in self.waiting.drain(..) {
            // Nobody may be left to hear it.
            let _ = request.send(result.clone());
        }
    }

    /// Whether the gate has not heard yet of the account that the next order is made with: home was
    /// started, maybe with another level, method or authority, or an account was imported. A name
    /// without certificate and account orders anyway, once there is a relay.
    fn must_tell_gate(&self) -> bool {
        let authority = &self.authority;
        if Instant::now() < self.tell_gate_at {
            return false;
        }
        let kept = account_uri(&authority.state_dir, &authority.config.directory);
        match kept.ok().flatten() {
            Some(uri) => self.told.as_ref() != Some(&uri),
            None => authority.certificates.held(&self.hostname).is_some(),
        }
    }

    /// Opens the account so that the gate hears of it.
    async fn tell_gate(&mut self) {
        match self.account().await {
            Ok(_) => self.tell_gate_wait = LOOK,
            Err(error) => {
                let error = error.message();
                tracing::debug!(error, "The account could not be opened");
                self.tell_gate_at = Instant::now() + self.tell_gate_wait;
                self.tell_gate_wait = (2 * self.tell_gate_wait).min(TELL_GATE_MAX);
            }
        }
    }

    /// The account, of which the gate is told.
    async fn account(&mut self) -> Result<Account, OrderError> {
        let account = self.authority.account().await?;
        // Only an order fails by it.
        let _ = self.authority.check_clock();
        self.authority.gate.learn(&self.intended(&account));
        self.told = Some(account.id().to_owned());
        Ok(account)
    }

    fn intended(&self, account: &Account) -> IntendedOrder {
        let authority = &self.authority;
        IntendedOrder {
            hostname: self.hostname.clone(),
            account_uri: account.id().to_owned(),
            method: authority.config.method,
            caa_identities: authority.client.heard().about.caa_identities,
            directory: authority.config.directory.clone(),
        }
    }

    async fn ask_renewal_info(&mut self) {
        let now = self.now();
        match self.renewal_info().await {
            Ok((window, holds)) => self.schedule.suggested(window, holds, now, random()),
            Err(error) => {
                let error = error.message();
                tracing::debug!(error, "The authority does not say when to renew");
                self.schedule.not_suggested(now);
            }
        }
    }

    async fn renewal_info(&mut self) -> Result<(Window, Duration), OrderError> {
        let held = self.authority.certificates.held(&self.hostname);
        let (leaf, _) = held.ok_or(OrderError::Invalid)?;
        let id = CertificateIdentifier::try_from(&leaf)
            .map_err(|error| OrderError::Acme(instant_acme::Error::Other(error.into())))?;
        let account = self.account().await?;
        let asked = account.renewal_info(&id).await;
        let (info, holds) = asked.map_err(OrderError::Acme)?;
        let window = Window {
            start: info.suggested_window.start.into(),
            end: info.suggested_window.end.into(),
        };
        Ok((window, holds))
    }

    /// Orders once, whatever comes of it.
    async fn order(&mut self) {
        let authority = self.authority.clone();
        authority.client.forget_retry_after();
        let ordered = timeout(ORDER, self.ordered()).await;
        let ordered = ordered.unwrap_or(Err(OrderError::Deadline(ORDER.as_secs() / 60)));
        let now = self.now();
        match ordered {
            Ok(life) => {
                self.schedule.issued(life, random());
                tracing::info!("The certificate authority has issued a certificate");
            }
            Err(error) => {
                let failure = error.failure();
                let message = error.message();
                tracing::warn!(
                    ?failure,
                    "No certificate from the authority; see `cloudless home certificate show`"
                );
                tracing::debug!(hostname = %self.hostname, message, "No certificate");
                let retry_after = authority.client.heard().retry_after;
                self.schedule
                    .failed(failure, message, retry_after, now, random());
            }
        }
        let kept = stored::write_trouble(
            &authority.state_dir,
            &self.hostname,
            self.schedule.trouble(),
        );
        if let Err(error) = kept {
            tracing::warn!(
                "What went wrong with a certificate cannot be kept; check the disk and the owner of the \
                 state directory"
            );
            // The path has the name in it.
            tracing::debug!(hostname = %self.hostname, error = chain(&error), "Cannot keep it");
        }
    }

    async fn ordered(&mut self) -> Result<Life, OrderError> {
        let authority = self.authority.clone();
        if !authority.board.is_connected() {
            return Err(OrderError::NoRelay);
        }
        let account = self.account().await?;
        authority.check_clock()?;
        let intended = self.intended(&account);
        let permission = timeout(GATE, authority.gate.may_order(&intended)).await;
        permission
            .map_err(|_| OrderError::GateTimedOut)?
            .map_err(OrderError::Gate)?;
        let key = self.new_key().await?;
        let held = authority.certificates.held(&self.hostname);
        let ordering = Ordering {
            hostname: &self.hostname,
            key: &key,
            method: authority.config.method,
            profile: authority.config.profile.as_deref(),
            replaces: held.as_ref().map(|(leaf, _)| leaf),
            validations: &authority.validations,
        };
        let sessions = authority.board.sessions();
        let ordered = ordering.run(&account).await;
        let is_lost = !authority.board.is_connected() || sessions.has_changed().unwrap_or(false);
        let chain = ordered.map_err(|error| error.with_relay_lost(is_lost))?;
        let key = Zeroizing::new(key.serialize_pem());
        let pem = Zeroizing::new([key.as_str(), &chain].concat());
        let (certificates, hostname) = (authority.certificates.clone(), self.hostname.clone());
        on_disk(move || certificates.install(&hostname, &pem)).await
    }

    /// A new key, which is in the ledger before anybody hears of it.
    async fn new_key(&self) -> Result<KeyPair, OrderError> {
        let key = KeyPair::generate().map_err(OrderError::Key)?;
        let record = KeyRecord {
            at: unix_ms(self.now()),
            hostname: self.hostname.clone(),
            spki_sha256: SpkiHash::of_spki(&key.subject_public_key_info()),
            origin: KeyOrigin::Acme,
        };
        let state_dir = self.authority.state_dir.clone();
        on_disk(move || ledger::record(&state_dir, &record)).await?;
        Ok(key)
    }

    fn tell(&self, is_ordering: bool) {
        let authority = &self.authority;
        let now = self.now();
        let status = AcmeStatus {
            directory: authority.config.directory.clone(),
            account: authority.account_uri(),
            method: authority.config.method.to_string(),
            is_ordering,
            next_order: (!is_ordering).then(|| unix_ms(self.schedule.planned(now))),
            failures: self.schedule.failures(),
        };
        let error = self.schedule.message().map(str::to_owned);
        authority
            .certificates
            .set_acme(&self.hostname, status, error);
    }

    fn now(&self) -> SystemTime {
        (self.authority.clock)()
    }
}

/// Works on the disk, off the threads that serve.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CertificateError> + Send + 'static,
) -> Result<T, OrderError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(OrderError::Task)?
        .map_err(OrderError::Certificate)
}

/// A number in `[0, 1)` for spreading out, where nothing depends on its quality.
fn random() -> f64 {
    getrandom::u32().map_or(0.5, |random| {
        f64::from(random) / (f64::from(u32::MAX) + 1.0)
    })
}
