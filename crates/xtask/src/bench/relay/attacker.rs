//! Those who mean harm, in a process of their own: each attack at a fixed rate or size, so that
//! every target gets the same.

use std::io::{BufRead, stdin};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use cloudless_proto::leg::{Ticket, Token};
use cloudless_proto::{Hostname, PublicKey};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::backend::HOSTNAME;
use super::evil_home::{self, Offered};
use super::home;
use super::visitor::hello;

/// The name of the attackers' own home.
pub(crate) const EVIL: &str = "evil.example.org";
/// A name of no home.
const STRANGE: &str = "strange.example.org";
/// Nobody waits longer for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between attempts at a rate, of which several are begun at a time.
const TICK: Duration = Duration::from_millis(5);
const N_AT_ONCE_MAX: usize = 5_000;
/// Half-open connections and slow ones.
const N_HELD: usize = 5_000;
const N_SLOW: usize = 1_000;
const N_UPLOADS: usize = 64;
/// All of them have begun by then.
const BEGIN_WITHIN: Duration = Duration::from_secs(1);
/// One that was closed comes again after this, on average.
const AGAIN: Duration = Duration::from_secs(5);
const BYTE_EVERY: Duration = Duration::from_millis(200);
/// What the listener that does nothing takes of a connection.
const TAKEN_MAX: usize = 16 * 1024;

/// Whom to attack, and how.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The relay's name.
    pub(crate) server_name: Hostname,
    pub(crate) attack: Attack,
}

/// What attackers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub(crate) enum Attack {
    /// Silent connections
    HalfOpen,
    /// Tunnel handshakes left half done
    HalfTunnels,
    /// Bytes that are no protocol
    Garbage,
    /// A byte of a ClientHello every 200 ms
    SlowHellos,
    /// Connections from one address
    FloodFromOne,
    /// Connections from many addresses
    FloodFromMany,
    /// Tunnels with unknown keys
    TunnelGuesses,
    /// Legs with wrong tickets
    LegGuesses,
    /// A home that makes each leg that it is offered, and goes on on none
    Legs,
    /// A home that does not read
    DeafHome,
    /// A home that resets its visitors
    ResettingHome,
    /// Visitors of the others' home that say hello and stay
    HeldVisitors,
    /// The same for the fallback
    HeldStrangers,
}

/// What they have done.
#[derive(Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) n_attempts: u64,
    pub(crate) seconds: f64,
    /// Their home, if they have one, never lost its tunnel.
    pub(crate) is_home_up: bool,
}

impl Attack {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HalfOpen => "5,000 silent connections",
            Self::HalfTunnels => "5,000 tunnel handshakes left half done",
            Self::Garbage => "garbage",
            Self::SlowHellos => "1,000 ClientHellos, a byte every 200 ms",
            Self::FloodFromOne => "connections from one address",
            Self::FloodFromMany => "connections from 65,536 addresses",
            Self::TunnelGuesses => "tunnels with unknown keys",
            Self::LegGuesses => "legs with wrong tickets",
            Self::Legs => "a home that makes legs without end",
            Self::DeafHome => "64 uploads to a home that does not read",
            Self::ResettingHome => "visitors of a home that resets them",
            Self::HeldVisitors => "5,000 visitors of the same home that say hello and stay",
            Self::HeldStrangers => "5,000 connections for the fallback that say hello and stay",
        }
    }

    /// Attempts in a second, where the attack is one of many short ones.
    fn rate(self) -> usize {
        match self {
            Self::Garbage | Self::LegGuesses | Self::Legs => 2_000,
            Self::FloodFromOne | Self::FloodFromMany => 4_000,
            Self::TunnelGuesses | Self::ResettingHome => 400,
            Self::HalfOpen
            | Self::HalfTunnels
            | Self::SlowHellos
            | Self::DeafHome
            | Self::HeldVisitors
            | Self::HeldStrangers => 0,
        }
    }

    pub(super) fn has_home(self) -> bool {
        matches!(self, Self::Legs | Self::DeafHome | Self::ResettingHome)
    }

    /// What becomes of its connections: the relay counts them under one of these classes, and not so
    /// those who do no harm.
    pub(super) fn classes(self) -> &'static [&'static str] {
        match self {
            Self::HalfOpen => &["handshake_limit"],
            Self::HalfTunnels => &[
                "handshake_limit",
                "tunnel_handshake_failed",
                "tunnel_handshake_timeout",
            ],
            Self::Garbage => &["not_tls"],
            Self::SlowHellos => &["client_hello_timeout", "closed_early"],
            Self::FloodFromOne => &["closed_early", "source_limit"],
            Self::FloodFromMany => &["closed_early", "handshake_limit"],
            Self::TunnelGuesses => &["refused_unknown_key"],
            Self::LegGuesses => &["leg_refused"],
            Self::Legs => &["leg"],
            // It is as good as offline.
            Self::DeafHome => &["home_offline"],
            Self::ResettingHome => &["home_reset"],
            Self::HeldVisitors => &["home_limit", "stranger_limit"],
            Self::HeldStrangers => &["unknown_name"],
        }
    }
}

/// Prints the key of the attackers' home, if they have one; begins at the first line of standard
/// input and ends at the second one, with what was done.
pub(crate) async fn run(target: Target) -> Result<()> {
    let home = target.attack.has_home().then(home::key).transpose()?;
    let public = home.as_ref().map(public_key).transpose()?;
    print(&public)?;
    let mut orders = orders();
    orders.recv().await.context("no order")?;
    let started = Instant::now();
    let attackers = Arc::new(Attackers::new(target)?);
    tokio::select! {
        attacked = attack(&attackers, home) => attacked?,
        _ = orders.recv() => {}
    }
    print(&Count {
        n_attempts: attackers.n_attempts.load(Ordering::Relaxed),
        seconds: started.elapsed().as_secs_f64(),
        is_home_up: !attackers.has_lost_home.load(Ordering::Relaxed),
    })
}

/// Listens, takes the first bytes of each connection, and does nothing with them.
pub(crate) async fn be_nothing(ip: IpAddr) -> Result<()> {
    let listener = TcpListener::bind((ip, 0)).await.context("listen")?;
    print(&listener.local_addr().context("read the address")?)?;
    let mut connections = JoinSet::new();
    loop {
        let (mut stream, _) = listener.accept().await.context("accept")?;
        connections.spawn(async move {
            let mut taken = 0;
            let mut buffer = [0; 4096];
            while taken < TAKEN_MAX {
                match stream.read(&mut buffer).await {
                    Ok(n @ 1..) => taken += n,
                    _ => return,
                }
            }
            sleep(AGAIN).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

fn print(value: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(value).context("write JSON")?);
    Ok(())
}

fn public_key(key: &Arc<CertifiedKey>) -> Result<PublicKey> {
    let spki = key
        .end_entity_cert()
        .context("a key without its public half")?;
    PublicKey::from_spki(spki).context("a key of another kind")
}

/// Lines of standard input, read on a thread that ends with the process.
fn orders() -> tokio::sync::mpsc::Receiver<()> {
    let (sender, orders) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        for line in stdin().lock().lines() {
            if line.is_err() || sender.blocking_send(()).is_err() {
                return;
            }
        }
    });
    orders
}

struct Attackers {
    target: Target,
    n_attempts: AtomicU64,
    next_source: AtomicU32,
    /// A key of nobody, for guesses.
    key: Arc<CertifiedKey>,
    /// Of a tunnel.
    hello: Vec<u8>,
    /// To their home.
    offered: Offered,
    has_lost_home: AtomicBool,
}

impl Attackers {
    fn new(target: Target) -> Result<Self> {
        let key = home::key()?;
        Ok(Self {
            hello: home::hello(&target.server_name, &key)?,
            target,
            n_attempts: AtomicU64::new(0),
            next_source: AtomicU32::new(0),
            key,
            offered: Offered::default(),
            has_lost_home: AtomicBool::new(false),
        })
    }

    /// A connection from one address for all, or from the next of 65,536.
    async fn connect(&self, is_from_one: bool) -> Option<TcpStream> {
        self.n_attempts.fetch_add(1, Ordering::Relaxed);
        let source = if is_from_one {
            Ipv4Addr::new(127, 0, 0, 2)
        } else {
            let [.., high, low] = self
                .next_source
                .fetch_add(1, Ordering::Relaxed)
                .to_be_bytes();
            Ipv4Addr::new(127, 1, high, low)
        };
        let socket = TcpSocket::new_v4().ok()?;
        socket.bind((source, 0).into()).ok()?;
        let connect = socket.connect(self.target.address);
        timeout(PATIENCE, connect).await.ok()?.ok()
    }

    /// One short attempt.
    async fn attempt(&self) -> Option<()> {
        let attack = self.target.attack;
        if attack == Attack::Legs {
            return self.make_leg().await;
        }
        let mut stream = self.connect(attack == Attack::FloodFromOne).await?;
        match attack {
            Attack::Garbage => stream.write_all(&[0xa5; 1024]).await.ok()?,
            Attack::LegGuesses => {
                // Of nobody.
                let (number, token) = (1, Token::new([7; 16]));
                let ticket = Ticket { number, token };
                stream.write_all(&ticket.preface()).await.ok()?;
            }
            Attack::TunnelGuesses => {
                let dial = home::dial_over(stream, &self.target.server_name, &self.key);
                // It is refused, and that is all.
                let _ = timeout(PATIENCE, dial).await;
                return Some(());
            }
            Attack::ResettingHome => stream.write_all(&hello(EVIL)?).await.ok()?,
            // A reset leaves no port waiting.
            _ => {
                return stream.set_zero_linger().ok();
            }
        }
        let ended = timeout(PATIENCE, stream.read(&mut [0; 64])).await;
        stream.set_zero_linger().ok()?;
        ended.ok().map(drop)
    }

    /// A leg for the ticket that was offered first, if there is one. It ends with its visitor: where
    /// some break under theirs the relay offers none for a while.
    async fn make_leg(&self) -> Option<()> {
        let ticket = self.offered.next()?;
        let mut leg = self.connect(false).await?;
        leg.write_all(&ticket.preface()).await.ok()?;
        let ended = timeout(AGAIN, copy(&mut leg, &mut sink())).await;
        ended.ok().map(drop)
    }

    /// A connection that says little and stays, again and again. `part` of the way from the first of such
    /// attackers to the last, who neither begin nor come again all at once.
    async fn hold(&self, part: f64) {
        sleep(BEGIN_WITHIN.mul_f64(part)).await;
        loop {
            let held = self.hold_once().await;
            // Who has come for a leg comes for the next one at once.
            if self.target.attack != Attack::Legs || held.is_none() {
                sleep(AGAIN.mul_f64(0.5 + part)).await;
            }
        }
    }

    async fn hold_once(&self) -> Option<()> {
        let mut stream = self.connect(false).await?;
        match self.target.attack {
            Attack::HalfTunnels => stream.write_all(&self.hello).await.ok()?,
            Attack::HeldVisitors => stream.write_all(&hello(HOSTNAME)?).await.ok()?,
            Attack::HeldStrangers => stream.write_all(&hello(STRANGE)?).await.ok()?,
            Attack::SlowHellos => {
                for byte in hello(HOSTNAME)? {
                    stream.write_all(&[byte]).await.ok()?;
                    sleep(BYTE_EVERY).await;
                }
            }
            Attack::Legs => {
                stream.write_all(&hello(EVIL)?).await.ok()?;
                // Enough for the offer of a leg. The next visitor comes for the next one.
                stream.write_all(&[0; 128 * 1024]).await.ok()?;
                sleep(AGAIN / 10).await;
                return stream.set_zero_linger().ok();
            }
            Attack::DeafHome => {
                stream.write_all(&hello(EVIL)?).await.ok()?;
                while stream.write_all(&[0; 64 * 1024]).await.is_ok() {}
            }
            _ => {}
        }
        // Until the other side ends it.
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).await.ok()? > 0 {}
        Some(())
    }
}

async fn attack(attackers: &Arc<Attackers>, home: Option<Arc<CertifiedKey>>) -> Result<()> {
    let attack = attackers.target.attack;
    let mut tasks = JoinSet::new();
    if let Some(key) = home {
        let attackers = Arc::clone(attackers);
        tasks.spawn(async move {
            let (target, offered) = (&attackers.target, &attackers.offered);
            let Err(error) = evil_home::serve(target, &key, offered).await;
            attackers.has_lost_home.store(true, Ordering::Relaxed);
            eprintln!("the attackers' home ends: {error:#}");
        });
    }
    let n_held = match attack {
        Attack::HalfOpen | Attack::HalfTunnels | Attack::HeldVisitors | Attack::HeldStrangers => {
            N_HELD
        }
        Attack::SlowHellos => N_SLOW,
        Attack::DeafHome | Attack::Legs => N_UPLOADS,
        _ => 0,
    };
    for n in 0..n_held {
        let attackers = Arc::clone(attackers);
        let part = n as f64 / n_held as f64;
        tasks.spawn(async move { attackers.hold(part).await });
    }
    let mut tick = interval(TICK);
    // What could not be done in time is done later, so that the rate is true.
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let per_tick = attack.rate() / 200;
    loop {
        tick.tick().await;
        while tasks.try_join_next().is_some() {}
        for _ in 0..per_tick {
            if tasks.len() < N_AT_ONCE_MAX {
                let attackers = Arc::clone(attackers);
                tasks.spawn(async move { attackers.attempt().await.unwrap_or_default() });
            }
        }
    }
}
