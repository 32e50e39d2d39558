//! Runs a home: the one place that owns all of its tasks.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use cloudless_carddav::CardDav;
use cloudless_proto::Hostname;
use cloudless_proto::takeover::Instance;
use cloudless_store::{Store, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Facts};
use crate::certificate::acme::{self, Acme, Validations};
use crate::certificate::{self, Certificates};
use crate::client_certificate::{ClientCertificateError, Demand};
use crate::config::{Clock, Config, Listeners, unix_ms};
use crate::index;
use crate::local;
use crate::passthrough::Passthroughs;
use crate::probe::Prober;
use crate::push::{PushKeyError, Pusher};
use crate::relay_keys::{RelayKeys, RelayKeysError};
use crate::reload::Reload;
use crate::retention;
use crate::silence::{self, Silence};
use crate::status::{Board, RequestStatus, chain};
use crate::surroundings::{self, Happened};
use crate::termination::Termination;
use crate::trust::{Alarm, Trust, TrustError};
use crate::tunnel::{
    self, Context, Identity, IdentityError, Known, OwnRelay, Pinning, Portals, Process, Resolver,
    Transport, Visits, ssh,
};
use crate::upstream::{Current, RouteError};
use crate::visitor::{Refusals, Visitors};

/// What is left after the drain is given this long to notice that it is over.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why a home could not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Client certificates are demanded, and cannot be.
    #[error(transparent)]
    ClientCertificate(ClientCertificateError),
    /// The home's key is of no use.
    #[error(transparent)]
    Identity(IdentityError),
    /// A local listener has no address.
    #[error("a local listener is not usable")]
    Listener(#[source] io::Error),
    /// A listener is reachable from other machines, and its passwords are not encrypted.
    #[error("{0} is not a loopback address: the local listeners speak plain HTTP")]
    NotLoopback(SocketAddr),
    /// The key for push messages is of no use.
    #[error(transparent)]
    PushKey(PushKeyError),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random(#[source] getrandom::Error),
    /// It is not known by which keys relays are trusted.
    #[error(transparent)]
    RelayKeys(RelayKeysError),
    /// A part of home ended although nobody asked it to.
    #[error("a part of home stopped; restart it and report its log")]
    Stopped,
    /// TLS could not be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    /// The servers behind home cannot be set up.
    #[error("cannot set up the servers behind home ([[upstream]])")]
    Upstream(#[source] RouteError),
    /// The names cannot be watched.
    #[error("cannot watch over the names of this home")]
    Trust(#[source] TrustError),
}

/// Runs a home until `shutdown` is cancelled, then lets requests under way finish, for
/// `Timings::drain` at most. Certificates that cannot be made and relays that cannot be reached
/// are told by the status and tried again; they do not end the run.
///
/// # Errors
/// [`RunError`], before anything is served or when a part of home fails for good.
pub async fn run(
    mut config: Config,
    store: Store,
    listeners: Listeners,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let local_addresses = loopback_addresses(&listeners)?;
    let identity = Identity::new(&config.identity).map_err(RunError::Identity)?;
    let trust = Trust::of(&config).map_err(RunError::Trust)?.map(Arc::new);
    if let Some(trust) = &trust {
        config.gate = trust.clone();
    }
    let transparency = config
        .trust
        .as_ref()
        .and_then(|it| it.transparency.as_ref());
    let no_relay_after = transparency.and_then(|it| it.no_relay_after);
    let relay_addresses = config.relay_addresses();
    let relay_keys = RelayKeys::open(&config.state_dir).map_err(RunError::RelayKeys)?;
    let relay_keys = Arc::new(relay_keys);
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(RunError::Random)?;
    let instance = Instance::new(random);
    let epochs = Arc::new(AtomicU64::new(0));
    let timings = config.timings;
    let carddav = CardDav::new(store.clone(), config.clock.clone()).with_settings(config.carddav);
    let push = config
        .push
        .map(|push| Pusher::new(push, config.clock.clone()));
    let push = push.transpose().map_err(RunError::PushKey)?;
    let carddav = match &push {
        Some(push) => carddav.with_push(push.push()),
        None => carddav,
    };
    let refusals = Refusals::default();
    let passthroughs = Passthroughs::new(config.passthrough, &refusals);
    let upstreams = Current::new(config.upstreams, &config.clock).map_err(RunError::Upstream)?;
    let upstreams = Arc::new(upstreams);
    let reload = Reload::new(config.source, upstreams.clone(), config.clock.clone());
    let reload = Arc::new(reload);
    let own = |hostname: &&Hostname| passthroughs.tls(hostname).is_none();
    let own: Vec<_> = config.hostnames.iter().filter(own).cloned().collect();
    let demanding = config.client_certificates.clone();
    let demand = Demand::new(&config.state_dir, demanding, store.clone());
    let demand = demand.map_err(RunError::ClientCertificate)?;
    let sources: Vec<_> = own
        .into_iter()
        .map(|hostname| {
            let source = config.certificates.get(&hostname).cloned();
            (hostname, source.unwrap_or_default())
        })
        .collect();
    let (state_dir, clock) = (config.state_dir, config.clock.clone());
    let boot_clock = config.boot_clock.clone();
    let certificates = Certificates::new(state_dir.clone(), &sources, clock, boot_clock);
    let certificates = Arc::new(certificates.map_err(RunError::Tls)?);
    // Before the first visitor can come.
    certificate::refresh(&certificates).await;
    let board = Board::new(&config.relays, &config.ssh_relays, config.clock.clone());
    if let Some(trust) = &trust {
        trust.follow(board.clone());
    }
    let proxy = config.proxy.as_ref();
    let mut addresses = relay_addresses.iter();
    let is_proxied = proxy.is_some_and(|proxy| addresses.any(|address| proxy.is_for(address)));
    let validations = Arc::new(Validations::default());
    let acme = config.acme.map(|acme| {
        let surroundings = acme::Surroundings {
            state_dir: state_dir.clone(),
            gate: config.gate,
            certificates: certificates.clone(),
            validations: validations.clone(),
            board: board.clone(),
            clock: config.clock.clone(),
        };
        Acme::new(acme, config.proxy.clone(), surroundings)
    });
    let (acme, orders) = acme.transpose().map_err(RunError::Tls)?.unzip();
    let prober = |probe| {
        let hostnames = config.hostnames.clone();
        Prober::new(
            probe,
            hostnames,
            config.public_port,
            is_proxied,
            board.clone(),
            config.clock.clone(),
        )
    };
    let prober = config.probe.map(prober).transpose();
    let prober = prober.map_err(RunError::Tls)?.map(Arc::new);
    let arrivals = prober.as_ref().map(|prober| prober.arrivals());
    let visitors = Arc::new(Visitors {
        termination: Termination {
            certificates: certificates.clone(),
            validations,
            trust: trust.clone(),
            carddav: carddav.clone(),
            demand,
            upstreams: upstreams.clone(),
            public_port: config.public_port,
            timings: timings.clone(),
            refusals: refusals.clone(),
        },
        passthroughs,
        arrivals: arrivals.unwrap_or_default(),
        refusals,
    });

    // A part that ends or panics stops the others.
    let stop = shutdown.child_token();
    let mut parts = JoinSet::new();
    parts.spawn(certificate::keep_fresh(
        certificates.clone(),
        timings.clone(),
        stop.clone(),
    ));
    let (happened_sender, happened) = watch::channel(Happened::default());
    parts.spawn(surroundings::watch(
        config.boot_clock,
        happened_sender,
        stop.clone(),
    ));
    if let Some(acme) = acme {
        parts.spawn(acme.run(happened.clone(), stop.clone()));
    }
    let proxy_for = |addresses: &[String]| {
        let proxy = config.proxy.clone();
        proxy.filter(|proxy| addresses.iter().any(|it| proxy.is_for(it)))
    };
    let mut transports = Vec::new();
    let probes = prober.is_some();
    for (index, relay) in config.relays.into_iter().enumerate() {
        let proxy = proxy_for(&relay.addresses);
        let pinning = Pinning::new(identity.clone(), relay.key, relay_keys.clone());
        let pinning = pinning.map_err(RunError::Identity)?;
        board.keys(index, &pinning.keys());
        let relay = OwnRelay {
            relay,
            pinning,
            portals: Portals::default(),
            process: Process::new(instance, epochs.clone()),
            // They would have to leave this network another way.
            legs: config.legs && proxy.is_none(),
            probes,
        };
        transports.push((Transport::Own(Arc::new(relay)), proxy));
    }
    for relay in config.ssh_relays {
        let proxy = proxy_for(&[relay.address()]);
        let server = ssh::Server::new(relay, config.hostnames.clone(), epochs.clone());
        transports.push((Transport::Ssh(Arc::new(server)), proxy));
    }
    let resolver = Arc::new(Resolver::new(happened.clone()));
    for (index, (transport, proxy)) in transports.into_iter().enumerate() {
        if let Some(proxy) = &proxy {
            board.proxied(index, proxy.address());
        }
        let context = Context {
            index,
            transport,
            proxy,
            known: Known::new(resolver.clone()),
            timings: timings.clone(),
            visits: Visits::new(stop.clone()),
            board: board.clone(),
            happened: happened.clone(),
            visitors: visitors.clone(),
        };
        parts.spawn(tunnel::run(context, stop.clone()));
    }
    let restored = Arc::new(Notify::new());
    parts.spawn(index::keep_up(
        store.clone(),
        restored.clone(),
        stop.clone(),
    ));
    let silence = config.silent_after.map(|it| Silence::open(it, &state_dir));
    if let Some(silence) = &silence {
        parts.spawn(silence::watch(
            silence.clone(),
            store.clone(),
            board.clone(),
            timings.silence_check,
            stop.clone(),
        ));
    }
    if let Some(trust) = &trust {
        trust.tell_also(alarms(
            store.clone(),
            certificates.clone(),
            silence.clone(),
            (board.clone(), no_relay_after),
            config.clock.clone(),
        ));
        parts.spawn(trust.clone().keep(happened.clone(), stop.clone()));
    }
    if let Some(keep) = config.keep_history {
        parts.spawn(retention::prune_daily(
            store.clone(),
            keep,
            config.clock.clone(),
            timings.prune,
            stop.clone(),
        ));
    }
    let (watched, interval, until) = (upstreams.clone(), timings.upstream_check, stop.clone());
    parts.spawn(async move { watched.watch(interval, until).await });
    if let Some(prober) = &prober {
        parts.spawn(prober.clone().run(stop.clone()));
    }
    if let Some(push) = push {
        parts.spawn(push.run(store.clone(), stop.clone()));
    }
    for listener in listeners.local {
        parts.spawn(local::serve(
            listener,
            carddav.clone().without_tls(),
            timings.clone(),
            stop.clone(),
        ));
    }
    if let Some(listener) = listeners.admin {
        let facts = Facts {
            running: true,
            hostnames: config.hostnames,
            public_port: config.public_port,
            local: local_addresses,
            client_certificates: config.client_certificates,
            state_dir,
            ..Facts::default()
        };
        let public = prober.clone();
        let counts = carddav.request_counts();
        let requests = move || {
            let rows = counts.rows().into_iter();
            let row = |(method, class, count): (&str, u8, u64)| RequestStatus {
                method: method.to_owned(),
                class,
                count,
            };
            rows.map(row).collect()
        };
        let renewal = admin::Renewal {
            certificates: certificates.clone(),
            orders: orders.unwrap_or_default(),
        };
        let watch = trust.clone();
        let (watched, reloaded) = (upstreams.clone(), reload.clone());
        let facts = move || Facts {
            reload: reloaded.status(),
            trust: watch.as_ref().map(|it| it.reports()).unwrap_or_default(),
            relays: board.relays(),
            public: public.as_ref().map(|it| it.status()).unwrap_or_default(),
            certificates: certificates.status(),
            passthrough: visitors.passthroughs.status(),
            upstreams: watched.status(),
            requests: requests(),
            refused: visitors.refusals.counts(),
            silent: silence.as_ref().map(Silence::devices).unwrap_or_default(),
            ..facts.clone()
        };
        let admin = admin::Admin {
            store,
            clock: config.clock,
            facts: Box::new(facts),
            restored,
            prober,
            renewal,
            reload,
            trust,
        };
        parts.spawn(admin::serve(listener, admin, stop.clone()));
    }

    let early = tokio::select! {
        // Parts that end because of the shutdown do not end early.
        biased;
        () = shutdown.cancelled() => None,
        ended = parts.join_next() => ended,
    };
    stop.cancel();
    let drained = timeout(timings.drain + LAST_WORDS, async {
        while let Some(ended) = parts.join_next().await {
            resume_panic(ended);
        }
    });
    if drained.await.is_err() {
        tracing::warn!("Requests were cut off at the end of the drain");
        parts.shutdown().await;
    }
    upstreams.close().await;
    match early {
        None => Ok(()),
        Some(ended) => {
            resume_panic(ended);
            Err(RunError::Stopped)
        }
    }
}

/// What somebody has to look at, beside the protection of the names.
fn alarms(
    store: Store,
    certificates: Arc<Certificates>,
    silence: Option<Silence>,
    (board, no_relay_after): (Board, Option<Duration>),
    clock: Clock,
) -> Arc<dyn Fn() -> Vec<Alarm> + Send + Sync> {
    Arc::new(move || {
        let now = unix_ms(clock());
        let deletions = admin::recent_alarms(&store, Timestamp(now)).unwrap_or_else(|error| {
            tracing::warn!(error = chain(&error), "Cannot read the alarms");
            Vec::new()
        });
        let silent = silence.as_ref().map(Silence::devices).unwrap_or_default();
        let certificates = certificates.status().into_iter();
        let ending = certificates.filter_map(|it| Alarm::of_certificate(it, now));
        let deletions = deletions.into_iter().map(Alarm::CardsDeleted);
        let silent = silent.into_iter().map(Alarm::SilentDevice);
        let alone = no_relay_after.and_then(|after| Alarm::of_relays(&board, after));
        let alarms = deletions.chain(silent).chain(ending);
        alarms.chain(alone).collect()
    })
}

fn resume_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Some(panic) = ended.err().and_then(|error| error.try_into_panic().ok()) {
        std::panic::resume_unwind(panic);
    }
}

fn loopback_addresses(listeners: &Listeners) -> Result<Vec<SocketAddr>, RunError> {
    let address = |listener: &tokio::net::TcpListener| {
        let address = listener.local_addr().map_err(RunError::Listener)?;
        if address.ip().is_loopback() {
            Ok(address)
        } else {
            Err(RunError::NotLoopback(address))
        }
    };
    listeners.local.iter().map(address).collect()
}
