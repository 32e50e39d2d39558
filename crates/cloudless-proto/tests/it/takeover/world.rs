//! What there is in the model, and what the relay does to it by itself.

use std::collections::BTreeMap;

use cloudless_proto::takeover::{Instance, Newcomer, Places, Ruling, SessionId};

/// The key of each home's process.
pub(super) const KEYS: [Key; 3] = [0, 0, 1];
/// The name that visitors ask for: it may move from key 1, which keeps another one, to key 0.
pub(super) const NAME: usize = 1;
pub(super) const SESSIONS_MAX: usize = 2;

pub(super) type Key = u8;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) places: Places<Key>,
    /// The key that each name belongs to.
    pub(super) owners: [Key; 3],
    /// How many sessions each process has dialed; `None` once it is dead.
    pub(super) processes: [Option<u64>; 3],
    pub(super) sessions: Vec<Session>,
    pub(super) visitors: Vec<Visitor>,
    pub(super) drain: Drain,
    /// Nobody dials, dies, moves or breaks any more: what happens now is what must happen.
    pub(super) is_settled: bool,
    /// What each process's newest session was that ever had a place right before.
    pub(super) last: BTreeMap<Key, SessionId>,
    /// A session got a place right after a newer one of the same process.
    pub(super) has_gone_back: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Session {
    pub(super) process: usize,
    pub(super) epoch: u64,
    pub(super) phase: Phase,
    /// Nothing passes any more, and neither side is told.
    pub(super) is_black_hole: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// Its Hello is on the way.
    Hello,
    /// The relay probes another one for it.
    Probing(Newcomer<Key>, u64),
    /// The relay has said Welcome.
    Open(u64),
    /// Its place is another's or nobody's, and it has not left yet. Its visitors are not with it.
    Ending(u64),
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Visitor {
    /// Held until something happens or the hold ends.
    Waiting(Hold),
    /// The name's key is known, its session is looked up next.
    Found(Key, Hold),
    /// This session's home has not said a byte yet: the visitor may go to another one.
    Opening(u64),
    /// Its bytes go into this session, whose end is its own.
    On(u64),
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Hold {
    /// The session that it does not want again.
    pub(super) lost: Option<u64>,
    /// Something has happened since it looked last, so that it looks again.
    pub(super) has_news: bool,
}

/// Whether the relay stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Drain {
    No,
    UnderWay,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Event {
    Dials(usize),
    Dies(usize),
    HelloArrives(usize),
    BecomesBlackHole(usize),
    /// The connection fails, the relay notices that nobody is there, or the last word is said.
    Breaks(usize),
    ProbeEnds(usize, bool),
    /// The visitors' name goes to key 0.
    NameMoves,
    LooksUpKey(usize),
    LooksUpSession(usize),
    /// Home says its first bytes to a visitor.
    Answers(usize),
    /// Home has not answered a visitor in time.
    GoesOn(usize),
    HoldEnds(usize),
    /// All is said, or somebody hangs up.
    Ends(usize),
    DrainBegins,
    DrainEnds,
    Settles,
}

/// Which rule the world breaks, to see that the model would notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    None,
    /// A visitor that found its session does not look at the name's key again.
    KeyIsNotLookedAtAgain,
    /// Places do not remember sessions that are gone.
    PlacesForget,
    /// A replaced session is not closed.
    ReplacedStays,
    /// Whoever leaves takes the place away from the session that has it by then.
    LeavingEvicts,
    /// A replaced session ends without its visitors.
    ReplacedForgetsVisitors,
    /// A session that breaks ends without its visitors.
    LostForgetsVisitors,
    /// A session of which nothing is heard is kept for ever.
    SilenceIsKept,
    /// A visitor that has lost a session waits for another one without end.
    HoldHasNoEnd,
    /// The end of a drain takes sessions and not what was in them.
    DrainForgetsVisitors,
    /// Who waits for a home does not hear that it is there.
    WelcomeWakesNobody,
    /// Who waits listens only once it has looked.
    LookedBeforeListening,
    /// Who waits does not hear that the name has gone to another home.
    MoveWakesNobody,
}

impl World {
    pub(super) fn key_of(&self, number: u64) -> Option<Key> {
        let open = |session: &&Session| session.phase == Phase::Open(number);
        let session = self.sessions.iter().find(open)?;
        Some(KEYS[session.process])
    }

    pub(super) fn id(&self, session: usize) -> SessionId {
        let Session { process, epoch, .. } = self.sessions[session];
        SessionId {
            instance: Instance::new([u8::try_from(process).unwrap(); 16]),
            epoch,
        }
    }

    /// Whether home is there and hears what is said in a session.
    pub(super) fn is_alive(&self, session: &Session) -> bool {
        !session.is_black_hole && self.processes[session.process].is_some()
    }

    /// Whether the session with this number can serve a visitor, or answer.
    pub(super) fn serves(&self, number: u64) -> bool {
        let of_number = |session: &&Session| session.phase == Phase::Open(number);
        let session = self.sessions.iter().find(of_number);
        session.is_some_and(|session| self.is_alive(session))
    }

    /// Whoever waits looks again.
    pub(super) fn wake(&mut self, flaw: Flaw) {
        for visitor in &mut self.visitors {
            match visitor {
                Visitor::Found(..) if flaw == Flaw::LookedBeforeListening => {}
                Visitor::Waiting(hold) | Visitor::Found(_, hold) => hold.has_news = true,
                _ => {}
            }
        }
    }

    /// The relay begins to end a session, once.
    pub(super) fn close(&mut self, number: u64) {
        for session in &mut self.sessions {
            if session.phase == Phase::Open(number) {
                session.phase = Phase::Ending(number);
            }
        }
    }

    /// The visitors of a session that is closed end with it or go on to another one.
    pub(super) fn strand(&mut self, number: u64) {
        for visitor in &mut self.visitors {
            if *visitor == Visitor::On(number) {
                *visitor = Visitor::Ended;
            } else if *visitor == Visitor::Opening(number) {
                *visitor = Visitor::held_after(number);
            }
        }
    }

    pub(super) fn consider(&mut self, session: usize, newcomer: Newcomer<Key>, flaw: Flaw) {
        self.sessions[session].phase = match self.places.consider(&newcomer, SESSIONS_MAX) {
            Ruling::Enter => {
                let id = self.id(session);
                let before = self.last.insert(newcomer.key, id);
                self.has_gone_back |=
                    before.is_some_and(|it| it.instance == id.instance && it.epoch >= id.epoch);
                if let Some(replaced) = self.places.enter(&newcomer)
                    && flaw != Flaw::ReplacedStays
                {
                    self.close(replaced);
                    if flaw != Flaw::ReplacedForgetsVisitors {
                        self.strand(replaced);
                    }
                }
                if flaw != Flaw::WelcomeWakesNobody {
                    self.wake(flaw);
                }
                Phase::Open(newcomer.number)
            }
            Ruling::Probe(number) => Phase::Probing(newcomer, number),
            Ruling::Full | Ruling::Refuse(_) => Phase::Over,
        };
    }
}

impl Visitor {
    /// One that looks for another session than this one.
    pub(super) fn held_after(number: u64) -> Self {
        Self::Waiting(Hold {
            lost: Some(number),
            has_news: true,
        })
    }
}
