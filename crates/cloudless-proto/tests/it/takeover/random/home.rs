//! A process of a home: the real rules, and what its shell does around them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use cloudless_proto::control::Refusal;
use cloudless_proto::redial::{Due, Liveness, Pace, Pings, Tunnel};
use cloudless_proto::takeover::{Instance, Process, SessionId};

use super::network::{ConnectionId, Message, Network, Random, To};

/// What cloudless-home ships with.
const DIAL: Duration = Duration::from_secs(20);
const ATTEMPTS_MAX: usize = 10;
const RETRY_AFTER_DRAIN: Duration = Duration::from_secs(1);

pub(super) struct Home {
    number: usize,
    tunnel: Tunnel,
    process: Process,
    epochs: Arc<AtomicU64>,
    /// What the process calls itself now.
    instance: Instance,
    sessions: BTreeMap<u64, Session>,
    last: u64,
    /// The machine sleeps.
    pub(super) sleeps: bool,
    random: Random,
}

struct Session {
    connection: ConnectionId,
    state: State,
    heard: Instant,
    /// The visitors that it serves, and until when.
    visitors: Vec<(usize, Instant)>,
}

enum State {
    Dialing { until: Instant },
    Greeting { id: SessionId, until: Instant },
    Open(Liveness),
}

impl Home {
    pub(super) fn start(number: usize, now: Instant, seed: u64) -> Self {
        let mut random = Random(seed);
        let instance = fresh(&mut random);
        Self::with(number, instance, Arc::default(), now, random)
    }

    /// A copy of this running machine, which has no connection but its own.
    pub(super) fn copy(&self, number: usize, now: Instant, seed: u64) -> Self {
        let epochs = self.epochs.load(std::sync::atomic::Ordering::Relaxed);
        let epochs = Arc::new(AtomicU64::new(epochs));
        Self::with(number, self.instance, epochs, now, Random(seed))
    }

    fn with(
        number: usize,
        instance: Instance,
        epochs: Arc<AtomicU64>,
        now: Instant,
        random: Random,
    ) -> Self {
        Self {
            number,
            tunnel: Tunnel::new(Pace::default(), now),
            process: Process::new(instance, epochs.clone()),
            epochs,
            instance,
            sessions: BTreeMap::new(),
            last: 0,
            sleeps: false,
            random,
        }
    }

    pub(super) fn instance(&self) -> Instance {
        self.instance
    }

    /// The connection of the session that counts for this process.
    pub(super) fn current(&self) -> Option<ConnectionId> {
        Some(self.sessions.get(&self.tunnel.current()?)?.connection)
    }

    /// The process ends, and its system tells the relay if it still can.
    pub(super) fn stop(&mut self, says_so: bool, now: Instant, network: &mut Network) {
        for session in std::mem::take(&mut self.sessions).into_values() {
            if says_so {
                network.send(session.connection, To::Relay, now, Message::Closed);
            } else {
                network.forget(session.connection);
            }
        }
    }

    /// The network has changed, or the machine has woken up.
    pub(super) fn shaken(&mut self, may_survive: bool, now: Instant) {
        let survivor = self.tunnel.shaken(may_survive, now);
        if let Some(session) = survivor.and_then(|number| self.sessions.get_mut(&number))
            && let State::Open(liveness) = &mut session.state
        {
            liveness.probe(now);
        }
    }

    pub(super) fn hear(
        &mut self,
        connection: ConnectionId,
        message: Message,
        now: Instant,
        network: &mut Network,
    ) {
        let of_connection =
            |it: (&u64, &mut Session)| (it.1.connection == connection).then_some(*it.0);
        let Some(number) = self.sessions.iter_mut().find_map(of_connection) else {
            return;
        };
        let session = self.sessions.get_mut(&number).unwrap();
        session.heard = now;
        match (message, &mut session.state) {
            (Message::Answer, State::Dialing { until }) => {
                let (id, until) = (self.process.next_session(), *until);
                session.state = State::Greeting { id, until };
                network.send(connection, To::Relay, now, Message::Hello(id));
                self.tunnel.answered(number, now);
            }
            (Message::Welcome, State::Greeting { id, .. }) => {
                let epoch = id.epoch;
                session.state = State::Open(Liveness::new(Pings::default()));
                let previous = self.tunnel.current();
                if self.tunnel.welcomed(number, epoch, now) {
                    self.stop_dialing(now, network);
                    if let Some(previous) = previous {
                        self.end(previous, true, now, network);
                    }
                }
            }
            (Message::Refused(reason), State::Greeting { id, .. }) => {
                let (id, fresh) = (*id, fresh(&mut self.random));
                self.end(number, false, now, network);
                if reason != Refusal::OldEpoch {
                    let (wait, random) = (Pace::default().backoff_max, self.random.fraction());
                    self.tunnel.retry_after(wait, now, random);
                } else if self.process.outdated(id, fresh) {
                    self.instance = fresh;
                }
            }
            (Message::Drain, State::Open(liveness)) => {
                liveness.ending();
                let random = self.random.fraction();
                self.tunnel.draining(number, RETRY_AFTER_DRAIN, now, random);
            }
            (Message::Ping, _) => network.send(connection, To::Relay, now, Message::Pong),
            (Message::Pong, State::Open(liveness)) => {
                let pong = liveness.answered(now);
                if pong.is_trusted_again && self.tunnel.trusted(number) {
                    self.stop_dialing(now, network);
                }
            }
            (Message::Visitor(visitor), State::Open(liveness)) => {
                liveness.visited(now);
                let talk = Duration::from_millis(self.random.below(20_000));
                session.visitors.push((visitor, now + talk));
                network.send(connection, To::Relay, now, Message::First(visitor));
            }
            (Message::Closed, _) => self.end(number, false, now, network),
            _ => {}
        }
    }

    fn end(&mut self, number: u64, is_retired: bool, now: Instant, network: &mut Network) {
        if let Some(session) = self.sessions.remove(&number) {
            match session.state {
                // The relay knows nothing of it yet.
                State::Dialing { .. } => network.forget(session.connection),
                _ => network.send(session.connection, To::Relay, now, Message::Closed),
            }
        }
        let random = self.random.fraction();
        self.tunnel.ended(number, is_retired, now, random);
    }

    /// The dials that have not said their Hello.
    fn dials(&self) -> Vec<u64> {
        let sessions = self.sessions.iter();
        let dialing = sessions.filter(|(_, it)| matches!(it.state, State::Dialing { .. }));
        dialing.map(|(number, _)| *number).collect()
    }

    fn stop_dialing(&mut self, now: Instant, network: &mut Network) {
        for number in self.dials() {
            self.end(number, true, now, network);
        }
    }

    /// When something is due next.
    pub(super) fn next(&mut self, now: Instant) -> Option<Instant> {
        let dial = self.tunnel.next_dial();
        let sessions = self.sessions.values_mut().flat_map(|session| {
            let due = match &mut session.state {
                State::Dialing { until } | State::Greeting { until, .. } => *until,
                State::Open(liveness) => match liveness.clone().due(now, session.heard) {
                    Due::Nothing(until) => until,
                    Due::Ping | Due::Doubt | Due::Death => now,
                },
            };
            let said = session.visitors.iter().map(|(_, until)| *until);
            said.chain([due])
        });
        sessions.chain(dial).min()
    }

    pub(super) fn pass(&mut self, now: Instant, network: &mut Network) {
        for number in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.look_at(number, now, network);
        }
        if self.tunnel.next_dial().is_some_and(|at| at <= now) {
            let random = self.random.fraction();
            self.tunnel.dialed(now, random);
            if let Some(oldest) = self.dials().first()
                && self.sessions.len() >= ATTEMPTS_MAX
            {
                self.end(*oldest, true, now, network);
            }
            self.last += 1;
            let connection = network.open(self.number);
            network.send(connection, To::Relay, now, Message::Connect);
            let session = Session {
                connection,
                state: State::Dialing { until: now + DIAL },
                heard: now,
                visitors: Vec::new(),
            };
            self.sessions.insert(self.last, session);
        }
    }

    fn look_at(&mut self, number: u64, now: Instant, network: &mut Network) {
        let Some(session) = self.sessions.get_mut(&number) else {
            return;
        };
        let connection = session.connection;
        session.visitors.retain(|(visitor, until)| {
            if *until <= now {
                network.send(connection, To::Relay, now, Message::Last(*visitor));
            }
            *until > now
        });
        let is_over = match &mut session.state {
            State::Dialing { until } | State::Greeting { until, .. } => *until <= now,
            State::Open(liveness) => loop {
                if !session.visitors.is_empty() {
                    liveness.visited(now);
                }
                match liveness.due(now, session.heard) {
                    Due::Nothing(_) => break false,
                    Due::Ping => {
                        network.send(connection, To::Relay, now, Message::Ping);
                        liveness.pinged(now);
                    }
                    Due::Doubt => {
                        self.tunnel.doubted(number, now);
                    }
                    Due::Death => break true,
                }
            },
        };
        if is_over {
            self.end(number, false, now, network);
        }
    }
}

fn fresh(random: &mut Random) -> Instance {
    Instance::new(std::array::from_fn(|_| {
        u8::try_from(random.below(256)).unwrap()
    }))
}
