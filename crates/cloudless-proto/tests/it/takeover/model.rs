//! What may happen in the model, what comes of it, and what must be true throughout.

use std::collections::BTreeMap;

use cloudless_proto::takeover::Places;
use stateright::{Model, Property};

use super::world::{
    Drain, Event, Flaw, Hold, KEYS, Key, NAME, Phase, SESSIONS_MAX, Session, Visitor, World,
};

pub(super) const ONE_ROUTE: &str = "at most one route for each key";
pub(super) const AN_OLD_EPOCH_NEVER_WINS: &str = "an old epoch never wins";
pub(super) const OWN_KEY: &str = "a visitor is with its name's key";
pub(super) const NOBODY_WAITS: &str = "nobody waits beside a home that is there";
pub(super) const EVERY_VISITOR_ENDS: &str = "every accepted visitor ends";

pub(super) struct Relay {
    /// How many sessions each process dials.
    pub(super) dials_max: [u64; 3],
    /// Whose the visitors' name is at first.
    pub(super) owner: Key,
    pub(super) n_visitors: usize,
    pub(super) flaw: Flaw,
}

impl Relay {
    /// What nobody can count on: homes that dial and die, paths that break, a name that moves.
    fn unforeseen(&self, world: &World, events: &mut Vec<Event>) {
        events.push(Event::Settles);
        for (process, (n_dialed, dials_max)) in
            world.processes.iter().zip(self.dials_max).enumerate()
        {
            if let Some(n_dialed) = *n_dialed {
                if n_dialed < dials_max && world.drain == Drain::No {
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
                // Even where an answer can come it may come late.
                Phase::Probing(..) => {
                    events.extend([Event::ProbeEnds(index, false), Event::Breaks(index)]);
                }
                Phase::Open(_) if world.is_alive(session) => {
                    events.extend([Event::Breaks(index), Event::BecomesBlackHole(index)]);
                }
                Phase::Open(_) | Phase::Ending(_) | Phase::Over => {}
            }
        }
        for (index, visitor) in world.visitors.iter().enumerate() {
            if let Visitor::Opening(_) = visitor {
                events.push(Event::GoesOn(index));
            }
        }
        if world.owners[NAME] == 1 {
            events.push(Event::NameMoves);
        }
        if world.drain == Drain::No && self.n_visitors > 0 {
            events.push(Event::DrainBegins);
        }
    }

    /// What happens sooner or later if nothing else does: what is on its way arrives, who is there
    /// answers, and the relay's own deadlines pass. A visitor of a home that is not there has none of
    /// its own: that it ends is the sessions' doing.
    fn foreseen(&self, world: &World, events: &mut Vec<Event>) {
        for (index, session) in world.sessions.iter().enumerate() {
            match session.phase {
                Phase::Hello if world.is_alive(session) => events.push(Event::HelloArrives(index)),
                Phase::Hello | Phase::Ending(_) => events.push(Event::Breaks(index)),
                Phase::Probing(_, asked) => {
                    events.push(Event::ProbeEnds(index, world.serves(asked)));
                }
                Phase::Open(_) if !world.is_alive(session) && self.flaw != Flaw::SilenceIsKept => {
                    events.push(Event::Breaks(index));
                }
                Phase::Open(_) | Phase::Over => {}
            }
        }
        for (index, visitor) in world.visitors.iter().enumerate() {
            match visitor {
                Visitor::Waiting(hold) => {
                    if hold.has_news {
                        events.push(Event::LooksUpKey(index));
                    }
                    if hold.lost.is_none() || self.flaw != Flaw::HoldHasNoEnd {
                        events.push(Event::HoldEnds(index));
                    }
                }
                Visitor::Found(..) => events.push(Event::LooksUpSession(index)),
                Visitor::Opening(number) if world.serves(*number) => {
                    events.push(Event::Answers(index));
                }
                Visitor::Opening(_) => events.push(Event::GoesOn(index)),
                Visitor::On(number) if world.serves(*number) => events.push(Event::Ends(index)),
                Visitor::On(_) | Visitor::Ended => {}
            }
        }
        if world.drain == Drain::UnderWay {
            events.push(Event::DrainEnds);
        }
    }

    fn breaks(&self, next: &mut World, session: usize) {
        let Session { process, phase, .. } = &next.sessions[session];
        let (key, phase) = (KEYS[*process], phase.clone());
        if let Phase::Open(number) = phase
            && self.flaw != Flaw::LostForgetsVisitors
        {
            next.strand(number);
        }
        if let Phase::Open(number) | Phase::Ending(number) = phase {
            let live = next.places.live(&key);
            let evicted = live.filter(|_| self.flaw == Flaw::LeavingEvicts);
            next.places.leave(&key, evicted.unwrap_or(number));
            if self.flaw == Flaw::PlacesForget && next.places.live(&key).is_none() {
                next.places.forget(&key);
            }
        }
        next.sessions[session].phase = Phase::Over;
    }
}

impl Model for Relay {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        let hold = Hold {
            lost: None,
            has_news: true,
        };
        vec![World {
            places: Places::default(),
            owners: [0, self.owner, 1],
            processes: [Some(0); 3],
            sessions: Vec::new(),
            visitors: vec![Visitor::Waiting(hold); self.n_visitors],
            drain: Drain::No,
            is_settled: false,
            last: BTreeMap::new(),
            has_gone_back: false,
        }]
    }

    fn actions(&self, world: &World, events: &mut Vec<Event>) {
        if world.drain == Drain::Over {
            return;
        }
        self.foreseen(world, events);
        if !world.is_settled {
            self.unforeseen(world, events);
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
                    is_black_hole: false,
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
            Event::BecomesBlackHole(session) => next.sessions[session].is_black_hole = true,
            Event::Breaks(session) => self.breaks(&mut next, session),
            Event::ProbeEnds(session, answered) => {
                let Phase::Probing(mut newcomer, asked) = world.sessions[session].phase.clone()
                else {
                    return None;
                };
                newcomer.probed(asked, answered);
                next.consider(session, newcomer, self.flaw);
            }
            Event::NameMoves => {
                next.owners[NAME] = 0;
                next.last.remove(&1);
                if let Some(live) = next.places.forget(&1) {
                    next.close(live);
                    next.strand(live);
                }
                if self.flaw != Flaw::MoveWakesNobody {
                    next.wake(self.flaw);
                }
            }
            Event::LooksUpKey(visitor) => {
                let Visitor::Waiting(hold) = world.visitors[visitor] else {
                    return None;
                };
                let hold = Hold {
                    has_news: false,
                    ..hold
                };
                next.visitors[visitor] = Visitor::Found(world.owners[NAME], hold);
            }
            Event::LooksUpSession(visitor) => {
                let Visitor::Found(key, hold) = world.visitors[visitor] else {
                    return None;
                };
                let is_same = key == world.owners[NAME] || self.flaw == Flaw::KeyIsNotLookedAtAgain;
                let wanted = |live: &u64| is_same && Some(*live) != hold.lost;
                next.visitors[visitor] = match world.places.live(&key).filter(wanted) {
                    Some(live) => Visitor::Opening(live),
                    None => Visitor::Waiting(hold),
                };
            }
            Event::Answers(visitor) => {
                let Visitor::Opening(number) = world.visitors[visitor] else {
                    return None;
                };
                next.visitors[visitor] = Visitor::On(number);
            }
            Event::GoesOn(visitor) => {
                let Visitor::Opening(number) = world.visitors[visitor] else {
                    return None;
                };
                next.visitors[visitor] = Visitor::held_after(number);
            }
            Event::HoldEnds(visitor) | Event::Ends(visitor) => {
                next.visitors[visitor] = Visitor::Ended;
            }
            Event::DrainBegins => next.drain = Drain::UnderWay,
            Event::DrainEnds => {
                next.drain = Drain::Over;
                next.sessions.clear();
                next.places = Places::default();
                if self.flaw != Flaw::DrainForgetsVisitors {
                    next.visitors.fill(Visitor::Ended);
                }
            }
            Event::Settles => next.is_settled = true,
        }
        // What is over, and the order of dials, makes no difference.
        next.sessions.retain(|session| session.phase != Phase::Over);
        next.sessions
            .sort_by_key(|session| (session.process, session.epoch));
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_ROUTE, |_, world: &World| {
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
            Property::always(AN_OLD_EPOCH_NEVER_WINS, |_, world: &World| {
                !world.has_gone_back
            }),
            Property::always(OWN_KEY, |_, world: &World| {
                world.visitors.iter().all(|it| match it {
                    Visitor::Opening(number) | Visitor::On(number) => {
                        world.key_of(*number) == Some(world.owners[NAME])
                    }
                    _ => true,
                })
            }),
            Property::always(NOBODY_WAITS, |_, world: &World| {
                let live = world.places.live(&world.owners[NAME]);
                world.visitors.iter().all(|it| match it {
                    Visitor::Waiting(hold) => hold.has_news || live.is_none() || live == hold.lost,
                    _ => true,
                })
            }),
            // Not `eventually`, which knows nothing of what has to happen: here whatever had to happen
            // has, from every state that the unforeseen could end in, and nothing else is to come.
            Property::always(EVERY_VISITOR_ENDS, |relay: &Self, world: &World| {
                let mut events = Vec::new();
                relay.foreseen(world, &mut events);
                let is_at_rest =
                    world.drain == Drain::Over || world.is_settled && events.is_empty();
                !is_at_rest || world.visitors.iter().all(|it| *it == Visitor::Ended)
            }),
        ]
    }
}
