//! Paths that delay, lose and swallow, and connections over them that deliver in order or never.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How soon a sender repeats what was not acknowledged, doubled with each failure: TCP's numbers.
const RETRANSMIT: Duration = Duration::from_millis(200);
const RETRANSMIT_SYN: Duration = Duration::from_secs(1);
const RETRANSMIT_MAX: Duration = Duration::from_secs(16);

pub(super) type ConnectionId = u64;

/// What a home and the relay say to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Connect,
    /// The relay's half of the handshake.
    Answer,
    Hello(cloudless_proto::takeover::SessionId),
    Welcome,
    Refused(cloudless_proto::control::Refusal),
    Drain,
    Ping,
    Pong,
    /// A visitor comes,
    Visitor(usize),
    /// and is answered,
    First(usize),
    /// and all is said.
    Last(usize),
    /// The other end is gone.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum To {
    Home,
    Relay,
}

/// The way between the relay and one home.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    pub(super) is_open: bool,
    /// Home's address changes with it: what was begun before goes nowhere, and nobody is told.
    pub(super) generation: u32,
    pub(super) delay: Duration,
    /// In percent.
    pub(super) loss: u64,
}

struct Connection {
    home: usize,
    generation: u32,
    ways: BTreeMap<To, Queue>,
}

struct Queue {
    messages: VecDeque<(Instant, Message)>,
    retransmit: Duration,
}

pub(super) struct Network {
    pub(super) paths: Vec<Path>,
    connections: BTreeMap<ConnectionId, Connection>,
    last: ConnectionId,
    random: Random,
}

impl Network {
    pub(super) fn new(n_homes: usize, seed: u64) -> Self {
        let path = Path {
            is_open: true,
            generation: 0,
            delay: Duration::from_millis(20),
            loss: 0,
        };
        Self {
            paths: vec![path; n_homes],
            connections: BTreeMap::new(),
            last: 0,
            random: Random(seed),
        }
    }

    pub(super) fn open(&mut self, home: usize) -> ConnectionId {
        let queue = |retransmit| Queue {
            messages: VecDeque::new(),
            retransmit,
        };
        self.last += 1;
        let connection = Connection {
            home,
            generation: self.paths[home].generation,
            ways: BTreeMap::from([
                (To::Home, queue(RETRANSMIT)),
                (To::Relay, queue(RETRANSMIT_SYN)),
            ]),
        };
        self.connections.insert(self.last, connection);
        self.last
    }

    /// Nobody listens any more at either end.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.connections.remove(&connection);
    }

    /// The home whose connection this is, if it still leads there.
    pub(super) fn home_of(&self, connection: ConnectionId) -> Option<usize> {
        let connection = self.connections.get(&connection)?;
        let path = self.paths[connection.home];
        let leads_there = path.is_open && path.generation == connection.generation;
        leads_there.then_some(connection.home)
    }

    pub(super) fn send(&mut self, connection: ConnectionId, to: To, now: Instant, what: Message) {
        let id = connection;
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let path = self.paths[connection.home];
        if (what, to) == (Message::Closed, To::Relay) && path.generation != connection.generation {
            return self.forget(id);
        }
        // TCP's and TLS's own round trip come before the first message of either side.
        let n_ways = if what == Message::Connect { 3 } else { 1 };
        let mut due = now + path.delay * n_ways;
        if self.random.below(100) < path.loss {
            due += RETRANSMIT + Duration::from_millis(self.random.below(800));
        }
        let queue = connection.ways.get_mut(&to).unwrap();
        // What was sent later does not arrive before.
        let due = due.max(queue.messages.back().map_or(due, |(last, _)| *last));
        queue.messages.push_back((due, what));
    }

    /// When something arrives next, or may.
    pub(super) fn next(&self) -> Option<Instant> {
        let queues = self.connections.values().flat_map(|it| it.ways.values());
        queues
            .filter_map(|queue| queue.messages.front())
            .map(|(due, _)| *due)
            .min()
    }

    /// What arrives until now, of which the ends for which `hears` says no get nothing yet.
    pub(super) fn arrived(
        &mut self,
        now: Instant,
        hears: impl Fn(usize, To) -> bool,
    ) -> Vec<(ConnectionId, usize, To, Message)> {
        let mut arrived = Vec::new();
        let mut over = Vec::new();
        for (id, connection) in &mut self.connections {
            let path = self.paths[connection.home];
            for (to, queue) in &mut connection.ways {
                while let Some((due, what)) = queue.messages.front().copied() {
                    if due > now {
                        break;
                    }
                    if path.generation != connection.generation {
                        queue.messages.clear();
                    } else if path.is_open && hears(connection.home, *to) {
                        queue.messages.pop_front();
                        queue.retransmit = RETRANSMIT;
                        arrived.push((*id, connection.home, *to, what));
                        if what == Message::Closed {
                            over.push(*id);
                        }
                    } else {
                        let again = now + queue.retransmit;
                        queue.retransmit = (queue.retransmit * 2).min(RETRANSMIT_MAX);
                        for (due, _) in &mut queue.messages {
                            *due = (*due).max(again);
                        }
                    }
                }
            }
        }
        for id in over {
            self.forget(id);
        }
        arrived
    }
}

/// Numbers that look random and depend on the seed alone (SplitMix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ (it >> 31)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// A number in `[0, 1)`.
    pub(super) fn fraction(&mut self) -> f64 {
        f64::from(u32::try_from(self.below(1 << 32)).unwrap()) / 2_f64.powi(32)
    }
}
