//! The relay: the real rules, and what its shell does around them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cloudless_proto::takeover::{Newcomer, PROBE_TIMEOUT, Places, Ruling, SessionId};

use super::KEYS;
use super::network::{ConnectionId, Message, Network, To};

const SESSIONS_MAX: usize = 4;
/// What cloudless-relay ships with.
const HOLD: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(5);
const DEAD: Duration = Duration::from_secs(45);
const DRAIN: Duration = Duration::from_secs(10);

pub(super) type Key = u8;

pub(super) struct Relay {
    pub(super) is_up: bool,
    places: Places<Key>,
    sessions: BTreeMap<u64, Session>,
    probing: Vec<Probing>,
    pub(super) visitors: Vec<Visitor>,
    drained: Option<Instant>,
    /// Who had each key's place last.
    last: BTreeMap<Key, SessionId>,
    /// How many sessions have ever had a place.
    pub(super) n_entered: u64,
}

struct Session {
    connection: ConnectionId,
    key: Key,
    id: SessionId,
    heard: Instant,
}

struct Probing {
    newcomer: Newcomer<Key>,
    connection: ConnectionId,
    asked: u64,
    until: Instant,
}

#[derive(Debug)]
pub(super) struct Visitor {
    key: Key,
    hold_ends: Instant,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting { lost: Option<u64> },
    Opening { number: u64, until: Instant },
    On(u64),
    Ended,
}

impl Relay {
    pub(super) fn new() -> Self {
        Self {
            is_up: true,
            places: Places::default(),
            sessions: BTreeMap::new(),
            probing: Vec::new(),
            visitors: Vec::new(),
            drained: None,
            last: BTreeMap::new(),
            n_entered: 0,
        }
    }

    /// The connection and the home's own name of the session that serves a key.
    pub(super) fn live(&self, key: Key) -> Option<(ConnectionId, SessionId)> {
        let session = self.sessions.get(&self.places.live(&key)?)?;
        Some((session.connection, session.id))
    }

    pub(super) fn visit(&mut self, key: Key, now: Instant, network: &mut Network) {
        if self.is_up && self.drained.is_none() {
            self.visitors.push(Visitor {
                key,
                hold_ends: now + HOLD,
                state: State::Waiting { lost: None },
            });
            self.look(now, network);
        }
    }

    pub(super) fn all_visitors_have_ended(&self) -> bool {
        self.visitors.iter().all(|it| it.state == State::Ended)
    }

    pub(super) fn drain(&mut self, now: Instant, network: &mut Network) {
        if self.is_up && self.drained.is_none() {
            self.drained = Some(now + DRAIN);
            for session in self.sessions.values() {
                network.send(session.connection, To::Home, now, Message::Drain);
            }
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.drained.is_some()
    }

    /// The process ends, and its system tells whom it can.
    pub(super) fn stop(&mut self, now: Instant, network: &mut Network) {
        for session in self.sessions.values() {
            network.send(session.connection, To::Home, now, Message::Closed);
        }
        for probing in &self.probing {
            network.send(probing.connection, To::Home, now, Message::Closed);
        }
        let mut visitors = std::mem::take(&mut self.visitors);
        for visitor in &mut visitors {
            visitor.state = State::Ended;
        }
        *self = Self {
            is_up: false,
            visitors,
            n_entered: self.n_entered,
            ..Self::new()
        };
    }

    pub(super) fn hear(
        &mut self,
        (connection, home): (ConnectionId, usize),
        message: Message,
        now: Instant,
        network: &mut Network,
    ) {
        let key = KEYS[home];
        let of_connection =
            |it: (&u64, &mut Session)| (it.1.connection == connection).then_some(*it.0);
        let number = self.sessions.iter_mut().find_map(of_connection);
        if let Some(session) = number.and_then(|number| self.sessions.get_mut(&number)) {
            session.heard = now;
        }
        match message {
            Message::Connect if self.is_up && self.drained.is_none() => {
                network.send(connection, To::Home, now, Message::Answer);
            }
            Message::Hello(id) if self.is_up => {
                let newcomer = self.places.newcomer(key, id);
                self.consider(newcomer, connection, now, network);
            }
            Message::Closed => {
                self.probing.retain(|it| it.connection != connection);
                if let Some(number) = number {
                    self.end(number, now, network);
                }
            }
            _ if number.is_none() => {
                network.send(connection, To::Home, now, Message::Closed);
            }
            Message::Ping => network.send(connection, To::Home, now, Message::Pong),
            Message::Pong => self.probed(number, true, now, network),
            Message::First(visitor) => {
                let state = &mut self.visitors[visitor].state;
                if let State::Opening { number: on, .. } = *state
                    && Some(on) == number
                {
                    *state = State::On(on);
                }
            }
            Message::Last(visitor) => {
                let state = &mut self.visitors[visitor].state;
                if number.is_some_and(|number| *state == State::On(number)) {
                    *state = State::Ended;
                }
            }
            _ => {}
        }
    }

    /// Those who wait for this session's answer hear of it.
    fn probed(&mut self, asked: Option<u64>, answered: bool, now: Instant, network: &mut Network) {
        let waiting = std::mem::take(&mut self.probing);
        let (told, rest) = waiting.into_iter().partition(|it| Some(it.asked) == asked);
        self.probing = rest;
        for mut probing in Vec::from_iter::<Vec<Probing>>(told) {
            probing.newcomer.probed(probing.asked, answered);
            self.consider(probing.newcomer, probing.connection, now, network);
        }
    }

    fn consider(
        &mut self,
        newcomer: Newcomer<Key>,
        connection: ConnectionId,
        now: Instant,
        network: &mut Network,
    ) {
        match self.places.consider(&newcomer, SESSIONS_MAX) {
            Ruling::Enter => {
                let (key, id) = (newcomer.key, newcomer.id);
                if let Some(before) = self.last.insert(key, id) {
                    let is_newer = before.instance != id.instance || before.epoch < id.epoch;
                    assert!(is_newer, "an old epoch wins: {id:?} after {before:?}");
                }
                self.n_entered += 1;
                let replaced = self.places.enter(&newcomer);
                let session = Session {
                    connection,
                    key,
                    id,
                    heard: now,
                };
                self.sessions.insert(newcomer.number, session);
                network.send(connection, To::Home, now, Message::Welcome);
                if let Some(replaced) = replaced {
                    self.end(replaced, now, network);
                }
                self.look(now, network);
            }
            Ruling::Probe(asked) => {
                let session = &self.sessions[&asked];
                network.send(session.connection, To::Home, now, Message::Ping);
                self.probing.push(Probing {
                    newcomer,
                    connection,
                    asked,
                    until: now + PROBE_TIMEOUT,
                });
            }
            Ruling::Refuse(refusal) => {
                network.send(connection, To::Home, now, Message::Refused(refusal));
            }
            Ruling::Full => unreachable!("there are fewer keys"),
        }
    }

    /// Ends a session with its visitors.
    fn end(&mut self, number: u64, now: Instant, network: &mut Network) {
        let Some(session) = self.sessions.remove(&number) else {
            return;
        };
        network.send(session.connection, To::Home, now, Message::Closed);
        self.places.leave(&session.key, number);
        for visitor in &mut self.visitors {
            match visitor.state {
                State::On(on) if on == number => visitor.state = State::Ended,
                State::Opening { number: on, .. } if on == number => {
                    visitor.state = State::Waiting { lost: Some(number) };
                }
                _ => {}
            }
        }
        self.look(now, network);
        self.probed(Some(number), false, now, network);
    }

    /// Whoever waits goes to a session that is there.
    fn look(&mut self, now: Instant, network: &mut Network) {
        for (index, visitor) in self.visitors.iter_mut().enumerate() {
            if let State::Waiting { lost } = visitor.state
                && let Some(number) = self.places.live(&visitor.key)
                && Some(number) != lost
            {
                let until = now + CONNECT;
                visitor.state = State::Opening { number, until };
                let connection = self.sessions[&number].connection;
                network.send(connection, To::Home, now, Message::Visitor(index));
            }
        }
    }

    /// When a deadline passes next.
    pub(super) fn next(&self) -> Option<Instant> {
        let visitors = self.visitors.iter().filter_map(|it| match it.state {
            State::Waiting { .. } => Some(it.hold_ends),
            State::Opening { until, .. } => Some(until),
            State::On(_) | State::Ended => None,
        });
        let probing = self.probing.iter().map(|it| it.until);
        let dead = self.sessions.values().map(|it| it.heard + DEAD);
        visitors
            .chain(probing)
            .chain(dead)
            .chain(self.drained)
            .min()
    }

    pub(super) fn pass(&mut self, now: Instant, network: &mut Network) {
        if self.drained.is_some_and(|at| at <= now) {
            return self.stop(now, network);
        }
        let late = |it: &&Probing| it.until <= now;
        while let Some(asked) = self.probing.iter().find(late).map(|it| it.asked) {
            self.probed(Some(asked), false, now, network);
        }
        let dead = |it: (&u64, &Session)| (it.1.heard + DEAD <= now).then_some(*it.0);
        while let Some(number) = self.sessions.iter().find_map(dead) {
            self.end(number, now, network);
        }
        for visitor in &mut self.visitors {
            if let State::Opening { number, until } = visitor.state
                && until <= now
            {
                visitor.state = State::Waiting { lost: Some(number) };
            }
        }
        self.look(now, network);
        for visitor in &mut self.visitors {
            if matches!(visitor.state, State::Waiting { .. }) && visitor.hold_ends <= now {
                visitor.state = State::Ended;
            }
        }
    }

    /// What must be true at every moment.
    pub(super) fn check(&self) {
        assert_eq!(self.sessions.len(), self.places.n_live());
        for (number, session) in &self.sessions {
            assert_eq!(self.places.live(&session.key), Some(*number));
        }
        for visitor in &self.visitors {
            if let State::Opening { number, .. } | State::On(number) = visitor.state {
                let session = self.sessions.get(&number);
                assert_eq!(session.map(|it| it.key), Some(visitor.key), "{visitor:?}");
            }
        }
    }
}
