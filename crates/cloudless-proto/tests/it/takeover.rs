//! The session hand-over rules: a model of homes, relay and visitors in which every message may be
//! late or lost and every process may die at any moment, searched completely within small numbers.

mod random;

use std::collections::BTreeMap;

use cloudless_proto::takeover::{Instance, Newcomer, Places, Ruling, SessionId};
use stateright::{Checker, Model, Property};

/// The key of each home's process.
const KEYS: [Key; 3] = [0, 0, 1];
/// The name that visitors ask for: it moves from key 1, which keeps another one, to key 0.
const NAME: usize = 1;
const SESSIONS_MAX: usize = 2;

type Key = u8;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    places: Places<Key>,
    /// The key that each name belongs to.
    owners: [Key; 3],
    /// How many sessions each process has dialed; `None` once it is dead.
    processes: [Option<u64>; 3],
    sessions: Vec<Session>,
    visitors: Vec<Visitor>,
    /// What each process's newest session was that ever had a place right before.
    last: BTreeMap<Key, SessionId>,
    /// A session got a place right after a newer one of the same process.
    has_gone_back: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Session {
    process: usize,
    epoch: u64,
    phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Its Hello is on the way.
    Hello,
    /// The relay probes another one for it.
    Probing(Newcomer<Key>, u64),
    /// The relay has said Welcome.
    Open(u64),
    /// Its place is another's or nobody's, and it has not left yet.
    Ending(u64),
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Visitor {
    /// Held, not on the session that it has lost.
    Waiting {
        lost: Option<u64>,
    },
    /// The name's key is known, its session is looked up next.
    Found {
        key: Key,
        lost: Option<u64>,
    },
    /// Its bytes go into this session.
    On(u64),
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Event {
    Dials(usize),
    Dies(usize),
    HelloArrives(usize),
    /// The connection fails, the relay notices that nobody is there, or the last word is said.
    Breaks(usize),
    ProbeEnds(usize, bool),
    /// Name 1 goes to key 0.
    NameMoves,
    LooksUpKey(usize),
    LooksUpSession(usize),
    Ends(usize),
}

/// Which rule the world breaks, to see that the model would notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// A visitor that found its session does not look at the name's key again.
    KeyIsNotLookedAtAgain,
    /// Places do not remember sessions that are gone.
    PlacesForget,
    /// A replaced session is not closed.
    ReplacedStays,
    /// Whoever leaves takes the place away from the session that has it by then.
    LeavingEvicts,
}

struct Relay {
    /// How many sessions each process dials.
    dials_max: [u64; 3],
    n_visitors: usize,
    flaw: Flaw,
}

impl World {
    fn key_of(&self, number: u64) -> Option<Key> {
        let open = |session: &&Session| session.phase == Phase::Open(number);
        let session = self.sessions.iter().find(open)?;
        Some(KEYS[session.process])
    }

    fn id(&self, session: usize) -> SessionId {
        let Session { process, epoch, .. } = self.sessions[session];
        SessionId {
            instance: Instance::new([u8::try_from(process).unwrap(); 16]),
            epoch,
        }
    }

    /// The relay begins to end a session; its visitors end with it or go on to another one.
    fn close(&mut self, number: u64) {
        for session in &mut self.sessions {
            if session.phase == Phase::Open(number) {
                session.phase = Phase::Ending(number);
            }
        }
        for visitor in &mut self.visitors {
            if *visitor == Visitor::On(number) {
                *visitor = Visitor::Waiting { lost: Some(number) };
            }
        }
    }

    fn consider(&mut self, session: usize, newcomer: Newcomer<Key>, flaw: Flaw) {
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
                }
                Phase::Open(newcomer.number)
            }
            Ruling::Probe(number) => Phase::Probing(newcomer, number),
            Ruling::Full | Ruling::Refuse(_) => Phase::Over,
        };
    }
}

impl Model for Relay {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            places: Places::default(),
            owners: [0, 1, 1],
            processes: [Some(0); 3],
            sessions: Vec::new(),
            visitors: vec![Visitor::Waiting { lost: None }; self.n_visitors],
            last: BTreeMap::new(),
            has_gone_back: false,
        }]
    }

    fn actions(&self, world: &World, events: &mut Vec<Event>) {
        for (process, (n_dialed, dials_max)) in
            world.processes.iter().zip(self.dials_max).enumerate()
        {
            if let Some(n_dialed) = *n_dialed {
                if n_dialed < dials_max {
                    events.push(Event::Dials(process));
                }
                if n_dialed > 0 {
                    events.push(Event::Dies(process));
                }
            }
        }
        for (index, session) in world.sessions.iter().enumerate() {
            match session.phase {
                Phase::Hello => events.extend([Event::HelloArrives(index), Event::Breaks(index)]),
                Phase::Probing(_, asked) => {
                    // The one that was asked answers if it can, and even then the answer may be late.
                    let can_answer = world.sessions.iter().any(|it| {
                        it.phase == Phase::Open(asked) && world.processes[it.process].is_some()
                    });
                    if can_answer {
                        events.push(Event::ProbeEnds(index, true));
                    }
                    events.extend([Event::ProbeEnds(index, false), Event::Breaks(index)]);
                }
                Phase::Open(_) | Phase::Ending(_) => events.push(Event::Breaks(index)),
                Phase::Over => {}
            }
        }
        if world.owners[1] == 1 {
            events.push(Event::NameMoves);
        }
        for (index, visitor) in world.visitors.iter().enumerate() {
            match visitor {
                Visitor::Waiting { .. } => {
                    events.extend([Event::LooksUpKey(index), Event::Ends(index)]);
                }
                Visitor::Found { .. } => events.push(Event::LooksUpSession(index)),
                Visitor::On(_) => events.push(Event::Ends(index)),
                Visitor::Ended => {}
            }
        }
    }

    fn next_state(&self, world: &World, event: Event) -> Option<World> {
        let mut next = world.clone();
        match event {
            Event::Dials(process) => {
                let epoch = world.processes[process]? + 1;
                next.processes[process] = Some(epoch);
                next.sessions.push(Session {
                    process,
                    epoch,
                    phase: Phase::Hello,
                });
            }
            Event::Dies(process) => next.processes[process] = None,
            Event::HelloArrives(session) => {
                let key = KEYS[world.sessions[session].process];
                if world.owners.contains(&key) {
                    let newcomer = next.places.newcomer(key, world.id(session));
                    next.consider(session, newcomer, self.flaw);
                } else {
                    next.sessions[session].phase = Phase::Over;
                }
            }
            Event::Breaks(session) => {
                if let Phase::Open(number) | Phase::Ending(number) = world.sessions[session].phase {
                    next.close(number);
                    let key = KEYS[world.sessions[session].process];
                    let live = world.places.live(&key);
                    let evicted = live.filter(|_| self.flaw == Flaw::LeavingEvicts);
                    next.places.leave(&key, evicted.unwrap_or(number));
                    if self.flaw == Flaw::PlacesForget && next.places.live(&key).is_none() {
                        next.places.forget(&key);
                    }
                }
                next.sessions[session].phase = Phase::Over;
            }
            Event::ProbeEnds(session, answered) => {
                let Phase::Probing(mut newcomer, asked) = world.sessions[session].phase.clone()
                else {
                    return None;
                };
                newcomer.probed(asked, answered);
                next.consider(session, newcomer, self.flaw);
            }
            Event::NameMoves => {
                next.owners[1] = 0;
                next.last.remove(&1);
                if let Some(live) = next.places.forget(&1) {
                    next.close(live);
                }
            }
            Event::LooksUpKey(visitor) => {
                let Visitor::Waiting { lost } = world.visitors[visitor] else {
                    return None;
                };
                let key = world.owners[NAME];
                next.visitors[visitor] = Visitor::Found { key, lost };
            }
            Event::LooksUpSession(visitor) => {
                let Visitor::Found { key, lost } = world.visitors[visitor] else {
                    return None;
                };
                let is_same = key == world.owners[NAME] || self.flaw == Flaw::KeyIsNotLookedAtAgain;
                let live = world.places.live(&key);
                next.visitors[visitor] = match live.filter(|live| is_same && Some(*live) != lost) {
                    Some(live) => Visitor::On(live),
                    None => Visitor::Waiting { lost },
                };
            }
            Event::Ends(visitor) => next.visitors[visitor] = Visitor::Ended,
        }
        // What is over, and the order of dials, makes no difference.
        next.sessions.retain(|session| session.phase != Phase::Over);
        next.sessions
            .sort_by_key(|session| (session.process, session.epoch));
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("at most one route for each key", |_, world: &World| {
                let open = world.sessions.iter().filter_map(|it| match it.phase {
                    Phase::Open(number) => Some((KEYS[it.process], number)),
                    _ => None,
                });
                let open: Vec<_> = open.collect();
                open.len() == world.places.n_live()
                    && open.len() <= SESSIONS_MAX
                    && open
                        .iter()
                        .all(|(key, number)| world.places.live(key) == Some(*number))
            }),
            Property::always("an old epoch never wins", |_, world: &World| {
                !world.has_gone_back
            }),
            Property::always("a visitor is with its name's key", |_, world: &World| {
                world.visitors.iter().all(|it| match it {
                    Visitor::On(number) => world.key_of(*number) == Some(world.owners[NAME]),
                    _ => true,
                })
            }),
            Property::eventually("every visitor ends", |_, world: &World| {
                world.visitors.iter().all(|it| *it == Visitor::Ended)
            }),
        ]
    }
}

const MODELS: [Relay; 2] = [
    // A home that dials anew, and a clone of it.
    Relay {
        dials_max: [2, 1, 0],
        n_visitors: 0,
        flaw: Flaw::None,
    },
    // Two homes, and a visitor whose name moves.
    Relay {
        dials_max: [1, 0, 2],
        n_visitors: 1,
        flaw: Flaw::None,
    },
];

#[test]
fn no_order_of_events_breaks_a_rule() {
    for model in MODELS {
        let checker = model.checker().spawn_bfs().join();
        println!("{} states", checker.unique_state_count());
        assert!(checker.is_done());
        checker.assert_properties();
    }
}

#[test]
fn the_model_notices_what_it_is_there_for() {
    for (flaw, property) in [
        (
            Flaw::KeyIsNotLookedAtAgain,
            "a visitor is with its name's key",
        ),
        (Flaw::PlacesForget, "an old epoch never wins"),
        (Flaw::ReplacedStays, "at most one route for each key"),
        (Flaw::LeavingEvicts, "at most one route for each key"),
    ] {
        let notices = MODELS.into_iter().any(|model| {
            let checker = Relay { flaw, ..model }.checker().spawn_bfs().join();
            checker.discovery(property).is_some()
        });
        assert!(notices, "{flaw:?}");
    }
}
