//! Whether a home that is an SSH client answers its visitors: the relay asks as one of them, up to the
//! end of a TLS handshake. That it is connected says nothing of what is behind it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use cloudless_proto::Hostname;
use cloudless_proto::ssh::Port;
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use super::channel::{Channel, Received};
use super::link::{Link, NotOpened};
use crate::onlooker;
use crate::run::Relay;
use crate::session::{self, Session};
use crate::status::{ProbeStatus, unix_now};

/// Homes that are asked at the same moment; of each one name.
const AT_ONCE: usize = 64;
/// While something is wrong the next look comes so much earlier.
const HASTE: u32 = 10;
/// What was found out within this part of the time between two looks is not asked again.
const FRESH: u32 = 30;
/// Nobody who asks for the status waits longer for the homes.
const PATIENCE: Duration = Duration::from_secs(3);
/// No server says more in its handshake.
const HANDSHAKE_LEN_MAX: usize = 128 * 1024;
/// Who the home is told to visit it.
const VISITOR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What all probes have in common.
#[derive(Debug)]
pub(crate) struct Prober {
    tls: Arc<ClientConfig>,
    turns: Semaphore,
}

impl Prober {
    pub(crate) fn new() -> Result<Self, rustls::Error> {
        Ok(Self {
            tls: Arc::new(onlooker::client(Vec::new())?),
            turns: Semaphore::new(AT_ONCE),
        })
    }
}

/// What the probes of one session's names have found out.
#[derive(Debug, Default)]
pub(super) struct Probes {
    asked: Notify,
    rows: watch::Sender<BTreeMap<Hostname, Row>>,
}

#[derive(Debug)]
struct Row {
    /// When the probe began, so that it tells nothing of what was later.
    begun: Instant,
    status: ProbeStatus,
}

impl Probes {
    /// Has the names looked at of which nothing new is known.
    pub(super) fn ask(&self) {
        self.asked.notify_one();
    }

    /// A visitor was not taken.
    pub(super) fn failed(&self, hostname: &Hostname, error: String) {
        self.set(hostname, Instant::now(), Some(error));
    }

    pub(super) fn forget(&self, hostname: &Hostname) {
        self.rows.send_modify(|rows| {
            rows.remove(hostname);
        });
    }

    pub(super) fn status(&self, hostname: &Hostname) -> Option<ProbeStatus> {
        let rows = self.rows.borrow();
        rows.get(hostname).map(|row| row.status.clone())
    }

    fn set(&self, hostname: &Hostname, begun: Instant, error: Option<String>) {
        let is_well = error.is_none();
        let at = unix_now();
        let status = ProbeStatus { at, error };
        let mut was_well = None;
        self.rows.send_modify(|rows| {
            let before = rows.insert(hostname.clone(), Row { begun, status });
            was_well = before.map(|row| row.status.error.is_none());
        });
        match (was_well, is_well) {
            (None | Some(true), false) => tracing::warn!(
                "A home that came by SSH does not answer its visitors; `cloudless relay status` says why"
            ),
            (Some(false), true) => {
                tracing::info!("A home that came by SSH answers its visitors again")
            }
            _ => {}
        }
    }

    fn is_known_since(&self, hostname: &Hostname, oldest: Option<Instant>) -> bool {
        let rows = self.rows.borrow();
        rows.get(hostname)
            .is_some_and(|row| Some(row.begun) >= oldest)
    }

    fn is_all_well(&self) -> bool {
        let rows = self.rows.borrow();
        rows.values().all(|row| row.status.error.is_none())
    }

    /// Drops what was found out before.
    fn forget_before(&self, oldest: Option<Instant>) {
        self.rows
            .send_modify(|rows| rows.retain(|_, row| Some(row.begun) >= oldest));
    }
}

/// Looks at the names of a session, one after the other, when that is due.
pub(super) async fn watch(relay: &Relay, session: &Arc<Session>) -> Infallible {
    let period = relay.config().timings.ssh_probe;
    let (Some(period), session::Link::Ssh(link)) = (period, &session.link) else {
        return pending().await;
    };
    loop {
        for hostname in link.names() {
            let begun = Instant::now();
            if link
                .probes
                .is_known_since(&hostname, begun.checked_sub(period / FRESH))
            {
                continue;
            }
            let error = probe(relay, session, link, &hostname).await.err();
            let error = error.map(|unanswered| unanswered.advice(&hostname));
            if let Some(error) = &error {
                relay.counters.of(&hostname).failed(error);
            }
            link.probes.set(&hostname, begun, error);
        }
        let is_well = link.probes.is_all_well();
        tokio::select! {
            () = link.probes.asked.notified() => {}
            () = sleep(if is_well { period } else { period / HASTE }) => {}
        }
    }
}

/// Has all homes looked at again of which nothing new is known, for somebody who wants to know. What
/// takes too long is not known then.
pub(crate) async fn refresh(relay: &Relay) {
    let Some(period) = relay.config().timings.ssh_probe else {
        return;
    };
    let oldest = Instant::now().checked_sub(period / FRESH);
    let sessions = relay.sessions.all();
    let links = || {
        let links = sessions.iter().map(|session| (session, &session.link));
        links.filter_map(|(session, link)| match link {
            session::Link::Ssh(link) => Some((session, link)),
            session::Link::Tunnel(_) => None,
        })
    };
    let known = async {
        links().for_each(|(_, link)| link.probes.ask());
        for (session, link) in links() {
            let mut rows = link.probes.rows.subscribe();
            let is_known = |rows: &BTreeMap<Hostname, Row>| {
                let is_new = |name| {
                    rows.get(name)
                        .is_some_and(|it: &Row| Some(it.begun) >= oldest)
                };
                link.names().iter().all(is_new)
            };
            tokio::select! {
                () = session.closed.cancelled() => {}
                _ = rows.wait_for(is_known) => {}
            }
        }
    };
    if relay.in_time(PATIENCE, known).await.is_err() {
        links().for_each(|(_, link)| link.probes.forget_before(oldest));
    }
}

/// Why a visitor of a name gets no answer.
#[derive(Debug)]
enum Unanswered {
    /// The client takes no visitor.
    Refused,
    /// Nothing comes, or too little.
    Silent,
    /// The connection ends before the handshake is done.
    Closed,
    Tls(rustls::Error),
    OtherNames,
    NotInForce,
}

impl Unanswered {
    /// What is wrong and what to look at.
    fn advice(&self, hostname: &Hostname) -> String {
        let behind = format!("what its -R {hostname}:443 leads to");
        match self {
            Self::Refused => refusal(hostname, Port::Https),
            Self::Silent => format!("{behind} does not answer"),
            Self::Closed => format!("{behind} closes connections before the TLS handshake is done"),
            Self::Tls(rustls::Error::InvalidMessage(_)) => {
                format!("{behind} does not speak TLS: is it the port for https?")
            }
            Self::Tls(error) => format!("{behind} fails in the TLS handshake: {error}"),
            Self::OtherNames => format!("{behind} has a certificate for other names"),
            Self::NotInForce => {
                format!("{behind} has a certificate that has ended, or does not hold yet")
            }
        }
    }
}

/// What a client means that takes no visitor.
pub(super) fn refusal(hostname: &Hostname, port: Port) -> String {
    format!(
        "home refuses visitors: does something listen where its -R {hostname}:{} leads?",
        port.number()
    )
}

/// Asks as a visitor of this name would.
async fn probe(
    relay: &Relay,
    session: &Arc<Session>,
    link: &Link,
    hostname: &Hostname,
) -> Result<(), Unanswered> {
    // The semaphore is never closed.
    let _turn = relay.prober.turns.acquire().await;
    let answered = async {
        let opened = link.open(session, VISITOR, hostname, Port::Https).await;
        let channel = opened.map_err(|error| match error {
            NotOpened::Refused(_) => Unanswered::Refused,
            NotOpened::Lost | NotOpened::NotForwarded => Unanswered::Silent,
        })?;
        let certificate = handshake(channel, &relay.prober.tls, hostname).await?;
        if !onlooker::covers(&certificate, hostname) {
            return Err(Unanswered::OtherNames);
        }
        is_in_force(&certificate)
            .then_some(())
            .ok_or(Unanswered::NotInForce)
    };
    let limit = relay.config().timings.connect;
    timeout(limit, answered)
        .await
        .unwrap_or(Err(Unanswered::Silent))
}

/// Returns the server's certificate. The channel is closed however this ends.
async fn handshake(
    mut channel: Channel,
    tls: &Arc<ClientConfig>,
    hostname: &Hostname,
) -> Result<CertificateDer<'static>, Unanswered> {
    let name = ServerName::try_from(hostname.to_string()).map_err(|_| Unanswered::OtherNames)?;
    let mut tls = ClientConnection::new(Arc::clone(tls), name).map_err(Unanswered::Tls)?;
    let (mut receiver, mut sender) = channel.halves();
    let mut len = 0;
    loop {
        let is_done = !tls.is_handshaking();
        if is_done {
            tls.send_close_notify();
        }
        let mut said = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut said).map_err(|_| Unanswered::Closed)?;
        }
        if !said.is_empty() {
            let sent = sender.send(said.into()).await;
            sent.map_err(|_| Unanswered::Closed)?;
        }
        if is_done {
            let certificates = tls.peer_certificates().unwrap_or_default();
            let own = certificates.first().ok_or(Unanswered::OtherNames)?;
            return Ok(own.clone());
        }
        let heard = match receiver.receive().await {
            Received::Bytes(bytes) => bytes,
            Received::Eof | Received::Closed => return Err(Unanswered::Closed),
        };
        len += heard.len();
        if len > HANDSHAKE_LEN_MAX {
            return Err(Unanswered::Silent);
        }
        let mut heard = &heard[..];
        // What comes behind the handshake is left: of what follows a close_notify nothing is ever read.
        while tls.is_handshaking() && !heard.is_empty() {
            tls.read_tls(&mut heard).map_err(|_| Unanswered::Closed)?;
            tls.process_new_packets().map_err(Unanswered::Tls)?;
        }
    }
}

/// Whether it holds by the relay's clock.
fn is_in_force(certificate: &CertificateDer<'_>) -> bool {
    let now = i64::try_from(unix_now()).unwrap_or(i64::MAX);
    let Ok(now) = ASN1Time::from_timestamp(now) else {
        return false;
    };
    X509Certificate::from_der(certificate)
        .is_ok_and(|(_, certificate)| certificate.validity().is_valid_at(now))
}
