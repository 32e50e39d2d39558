use std::net::IpAddr;
use std::time::Duration;

use cloudless_proto::Hostname;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::net::{TcpListener, UnixListener};

use crate::crowd::Room;
use crate::network::Network;
use crate::reload::Source;
use crate::routes::{Routes, Servers};
use crate::run::PIPES_MAX;
use crate::ssh::Ssh;

/// Files beside those of peers, with room to spare: listeners, the runtimes' own, the lock, looks at
/// servers, readers of metrics.
const OTHER_FILES: usize = 128;

/// What one relay is and how far it lets its peers go.
///
/// Every field is already validated: reading and checking a configuration file is the caller's.
#[derive(Debug)]
pub struct Config {
    /// The relay's own name. A ClientHello with this server name and ALPN `cloudless/1` opens a
    /// tunnel.
    pub server_name: Hostname,
    /// The relay's Ed25519 key, PKCS #8 DER. Homes pin its public half.
    pub identity: PrivatePkcs8KeyDer<'static>,
    /// Where homes dial, `host:port`, put into join codes: one to eight of them.
    pub addresses: Vec<String>,
    /// Load balancers before the relay. Each of their connections must start with a PROXY protocol
    /// header, and counts for the address in it; no other connection may have one.
    pub load_balancers: Vec<Network>,
    /// The servers that get what is for no home and has no route.
    pub fallback: Servers,
    /// Further names, and the servers that they lead to. A home's name always leads to its home.
    pub routes: Routes,
    /// Whether bulk bytes of visitors may go past the tunnel, on TCP connections that their homes
    /// make: see [`cloudless_proto::leg`].
    pub legs: bool,
    /// How homes that are plain SSH clients reach the relay; `None` when it takes none.
    pub ssh: Option<Ssh>,
    /// How long a visitor waits for a home whose tunnel is down before it gets a TLS alert, and then
    /// for its turn, where too many strangers begin.
    pub hold: Duration,
    /// Caps on what peers may take.
    pub limits: Limits,
    /// Deadlines and intervals.
    pub timings: Timings,
    /// Reads the configuration again while the relay runs; `None` when it came from nowhere.
    pub source: Option<Source>,
}

impl Config {
    /// How long a visitor of an offline home waits unless configured: five seconds.
    pub const DEFAULT_HOLD: Duration = Duration::from_secs(5);

    /// A relay with default limits and timings and no fallback.
    pub fn new(
        server_name: Hostname,
        identity: PrivatePkcs8KeyDer<'static>,
        addresses: Vec<String>,
    ) -> Self {
        Self {
            server_name,
            identity,
            addresses,
            load_balancers: Vec::new(),
            fallback: Servers::default(),
            routes: Routes::default(),
            legs: true,
            ssh: None,
            hold: Self::DEFAULT_HOLD,
            limits: Limits::default(),
            timings: Timings::default(),
            source: None,
        }
    }

    pub(crate) fn is_load_balancer(&self, address: IpAddr) -> bool {
        let mut networks = self.load_balancers.iter();
        networks.any(|network| network.contains(address))
    }
}

/// The sockets that [`run`](crate::run) serves, bound by the caller.
#[derive(Debug, Default)]
pub struct Listeners {
    /// TLS: visitors and tunnels, usually port 443 on IPv4 and IPv6.
    pub https: Vec<TcpListener>,
    /// Plain HTTP, usually port 80 on IPv4 and IPv6.
    pub http: Vec<TcpListener>,
    /// SSH: homes that are plain SSH clients. Needs [`Config::ssh`].
    pub ssh: Vec<TcpListener>,
    /// The command line's socket; see [`admin::bind`](crate::admin::bind).
    pub admin: Option<UnixListener>,
}

/// Caps on what peers may take. Beyond a cap a connection is closed, never queued without end.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of one listener that have not said yet what they want, and as many tunnels in their
    /// handshake. Beyond it one of the source address with most of them is closed.
    pub handshakes: usize,
    /// Connections of one source address, an IPv4 address or an IPv6 /64: those of one listener that
    /// have not said yet what they want, as many tunnels whose handshake the relay has yet to begin,
    /// and as many visitors. Beyond it one of the same source is closed for the newcomer. Tunnels that
    /// are up, and legs, do not count: they have limits of their own.
    pub connections_per_source: usize,
    /// Visitors in total, at most half of them passed to servers beside the relay. Beyond it one of
    /// those that have said hello and nothing since is closed, as long as these are more than an eighth
    /// of all, and otherwise one of the others; of the source with most of them.
    pub visitors: usize,
    /// Visitors of one home at a time, whatever the number of its names. Beyond it one of them is
    /// closed, as for `visitors`. Homes take 1,023.
    pub visitors_per_home: usize,
    /// Visitors of one home at a time from sources that it does not know, which are not in a talk with
    /// it yet: each counts for [`Timings::stranger`] at most, and 16 of one source. Others wait, and are
    /// the first to make room.
    pub strangers_per_home: usize,
    /// Legs of one home at a time, those included that are offered but not made yet.
    pub legs_per_home: usize,
    /// Legs in total. A visitor on a leg takes two sockets, and up to two pipes.
    pub legs: usize,
    /// Homes online in total; and tunnels whose handshake the relay has yet to begin, if `handshakes` are
    /// not more: after its restart all homes come at once, and one that is closed for another comes again
    /// at once.
    pub sessions: usize,
    /// Bytes that may wait in the relay for one home's visitors, and as many for the home from them,
    /// beside the first message of each. Beyond it the stream with most bytes waiting for its visitor
    /// is reset, and no more is read from visitors until the home takes some.
    pub queued_bytes_per_home: usize,
    /// Wrong join codes in a minute from one source address.
    pub joins_per_minute_per_source: u32,
    /// Connections to the admin socket at a time.
    pub admin_connections: usize,
}

impl Limits {
    /// How many files the process may have open at a time with so many listeners: a socket is one. It is
    /// an estimate from above, as all limits are seldom reached together.
    pub fn open_files(&self, n_listeners: usize) -> usize {
        [
            self.handshakes.saturating_mul(n_listeners),
            // Tunnels before their handshake, in it, and up.
            self.waiting().all,
            self.handshakes,
            self.sessions,
            // A visitor has its own socket, and a second one to a server or on a leg.
            self.visitors,
            self.visitors / 2,
            self.legs,
            // Each has two ends.
            PIPES_MAX * 2,
            self.admin_connections,
            OTHER_FILES,
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }

    /// For connections of a listener that have not said yet what they want.
    pub(crate) fn undecided(&self) -> Room {
        Room {
            all: self.handshakes,
            per_source: self.connections_per_source,
        }
    }

    /// For tunnels whose handshake waits for its turn.
    pub(crate) fn waiting(&self) -> Room {
        Room {
            all: self.sessions.max(self.handshakes),
            per_source: self.connections_per_source,
        }
    }

    /// For visitors, wherever they go.
    pub(crate) fn visitors(&self) -> Room {
        Room {
            all: self.visitors,
            per_source: self.connections_per_source,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes: 1024,
            connections_per_source: 256,
            visitors: 8192,
            visitors_per_home: 1000,
            strangers_per_home: 128,
            legs_per_home: 256,
            legs: 2048,
            sessions: 16_384,
            queued_bytes_per_home: 64 * 1024 * 1024,
            joins_per_minute_per_source: 10,
            admin_connections: 16,
        }
    }
}

/// Deadlines and intervals. The defaults fit the internet; tests shrink them.
#[derive(Clone, Debug)]
pub struct Timings {
    /// A load balancer's header, a visitor's whole ClientHello, or a whole HTTP request head, must be here after this long.
    pub client_hello: Duration,
    /// A home's TLS handshake, and then again its first control line, must be done after this long.
    pub handshake: Duration,
    /// An SSH client must have proven a key after this long, which its owner may have to type a
    /// passphrase for.
    pub ssh_login: Duration,
    /// A home must answer a visitor's `CONNECT`, and a server must accept, within this time.
    pub connect: Duration,
    /// How long a stranger that is not in a talk with its home keeps others waiting, also when it
    /// has gone.
    pub stranger: Duration,
    /// A connection of which one direction has ended is reset after this much silence.
    pub half_closed_silence: Duration,
    /// A connection open both ways is reset after this much silence.
    pub idle: Duration,
    /// A tunnel quiet for this long is pinged.
    pub ping_interval: Duration,
    /// A tunnel quiet for this long is dead.
    pub dead_after: Duration,
    /// A visitor that arrives on a tunnel quiet for this long triggers a ping at once.
    pub quiet: Duration,
    /// How long a tunnel has to answer a ping when another instance of its home asks for its place.
    pub probe: Duration,
    /// Between two looks at whether the servers beside the relay can be reached.
    pub health_check: Duration,
    /// Between two looks at whether the certificate of a server beside the relay covers a home's
    /// name; `None` never looks.
    pub certificates: Option<Duration>,
    /// Between two looks at whether a home that is an SSH client answers visitors of its names, a tenth
    /// of it while it does not; whoever asks for the status is told what was found out within a
    /// thirtieth of it. `None` never looks.
    pub ssh_probe: Option<Duration>,
    /// How long a relay that has started lets homes learn its next key, though the overlap is over.
    pub rotation_grace: Duration,
    /// How long visitors may go on after shutdown began,
    pub drain: Duration,
    /// and how long one for which nothing moves: those who come meanwhile wait for the next process.
    pub drain_idle: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            client_hello: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            ssh_login: Duration::from_secs(60),
            connect: Duration::from_secs(5),
            stranger: Duration::from_secs(2),
            half_closed_silence: Duration::from_secs(60),
            idle: Duration::from_secs(60 * 60),
            ping_interval: Duration::from_secs(20),
            dead_after: Duration::from_secs(45),
            quiet: Duration::from_secs(5),
            probe: Duration::from_secs(2),
            health_check: Duration::from_secs(10),
            certificates: Some(Duration::from_secs(10 * 60)),
            ssh_probe: Some(Duration::from_secs(5 * 60)),
            rotation_grace: Duration::from_secs(60 * 60),
            drain: Duration::from_secs(10),
            drain_idle: Duration::from_secs(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What docs/decisions/0006-timings.md says is shipped.
    #[test]
    fn shipped_liveness_is_as_documented() {
        let timings = Timings::default();
        let pings = [
            timings.ping_interval,
            timings.quiet,
            timings.probe,
            timings.dead_after,
        ];
        assert_eq!(pings.map(|it| it.as_secs()), [20, 5, 2, 45]);
        let patience = [timings.client_hello, timings.handshake, timings.connect];
        assert_eq!(patience.map(|it| it.as_secs()), [10, 10, 5]);
        assert_eq!(Config::DEFAULT_HOLD.as_secs(), 5);
        // Who comes while nobody but the idle are there is not held longer by a restart.
        assert!(timings.drain_idle * 3 < Config::DEFAULT_HOLD);
        // Whoever asks for the place of a dead home gets it while its visitors are still held.
        assert!(timings.probe < Config::DEFAULT_HOLD);
    }

    #[test]
    fn all_homes_may_wait_at_once_and_never_fewer_than_are_under_way() {
        for (sessions, handshakes, all) in [(16_384, 1024, 16_384), (2, 1024, 1024)] {
            let limits = Limits {
                sessions,
                handshakes,
                ..Limits::default()
            };
            assert_eq!(limits.waiting().all, all);
        }
    }

    /// Each limit moves the estimate by what one more takes.
    #[test]
    fn the_files_that_a_relay_may_open_are_counted_by_its_limits() {
        let before = Limits::default().open_files(3);
        let more = |change: fn(&mut Limits)| {
            let mut limits = Limits::default();
            change(&mut limits);
            limits.open_files(3) - before
        };
        assert_eq!(more(|it| it.handshakes += 10), 3 * 10 + 10);
        assert_eq!(more(|it| it.sessions += 10), 2 * 10);
        assert_eq!(more(|it| it.visitors += 10), 10 + 5);
        assert_eq!(more(|it| it.legs += 10), 10);
        assert_eq!(Limits::default().open_files(4) - before, 1024);
        let endless = Limits {
            handshakes: usize::MAX,
            ..Limits::default()
        };
        assert_eq!(endless.open_files(3), usize::MAX);
    }

    #[test]
    fn shipped_limits_leave_room_in_what_the_shipped_unit_may_open() {
        let unit = include_str!("../../../packaging/systemd/system/cloudless-relay.service");
        let mut lines = unit.lines();
        let may_open = lines.find_map(|line| line.strip_prefix("LimitNOFILE="));
        let may_open: usize = may_open.unwrap().parse().unwrap();
        // On both ports by IPv4 and IPv6 apart, and for SSH.
        assert!(Limits::default().open_files(6) * 4 <= may_open);
    }

    #[test]
    fn shipped_limits_of_one_source_or_home_are_a_small_part_of_those_of_all() {
        let limits = Limits::default();
        assert!(limits.connections_per_source * 4 <= limits.handshakes);
        assert!(limits.visitors_per_home * 4 <= limits.visitors);
        assert!(limits.legs_per_home * 4 <= limits.legs);
        assert!(limits.joins_per_minute_per_source <= 60);
    }
}
