//! Homes, relay and network by one virtual clock, and what befalls them.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::KEYS;
use super::home::Home;
use super::network::{Network, To};
use super::relay::{Key, Relay};

/// What happens between two waits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// Nothing passes between a home and the relay, and nobody is told.
    Swallow(usize),
    /// It passes again. Home may have another address then, and may hear of the change or not.
    Heal {
        home: usize,
        moved: bool,
        told: bool,
    },
    /// The path is slow, and loses so many of a hundred messages.
    Slow {
        home: usize,
        delay_ms: u64,
        loss: u64,
    },
    Sleep(usize),
    Wake(usize),
    /// A process starts, in the place of the one before, if there was any.
    Start {
        home: usize,
        says_so: bool,
    },
    /// A process ends.
    Die {
        home: usize,
        says_so: bool,
    },
    /// A copy of a running machine starts, in the place of the process that was there.
    Copy {
        from: usize,
        to: usize,
    },
    RelayDrains,
    RelayDies,
    RelayStarts,
    Visit(Key),
}

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) homes: Vec<Option<Home>>,
    pub(super) relay: Relay,
    network: Network,
    seed: u64,
}

impl World {
    /// The homes in `running` have just started.
    pub(super) fn new(running: &[usize], seed: u64) -> Self {
        let mut world = Self {
            now: Instant::now(),
            homes: KEYS.iter().map(|_| None).collect(),
            relay: Relay::new(),
            network: Network::new(KEYS.len(), seed),
            seed,
        };
        for home in running {
            world.start(*home);
        }
        world
    }

    fn start(&mut self, home: usize) {
        self.seed = self.seed.wrapping_add(1);
        self.homes[home] = Some(Home::start(home, self.now, self.seed));
    }

    fn die(&mut self, home: usize, says_so: bool) {
        if let Some(mut process) = self.homes[home].take() {
            process.stop(says_so && !process.sleeps, self.now, &mut self.network);
        }
    }

    pub(super) fn befall(&mut self, fault: Fault) {
        let now = self.now;
        match fault {
            Fault::Swallow(home) => self.network.paths[home].is_open = false,
            Fault::Heal { home, moved, told } => self.heal(home, moved, told),
            Fault::Slow {
                home,
                delay_ms,
                loss,
            } => {
                let path = &mut self.network.paths[home];
                (path.delay, path.loss) = (Duration::from_millis(delay_ms), loss);
            }
            Fault::Sleep(home) => {
                if let Some(process) = &mut self.homes[home] {
                    process.sleeps = true;
                }
            }
            Fault::Wake(home) => self.wake(home),
            Fault::Start { home, says_so } => {
                self.die(home, says_so);
                self.start(home);
            }
            Fault::Die { home, says_so } => self.die(home, says_so),
            Fault::Copy { from, to } => {
                self.die(to, false);
                self.seed = self.seed.wrapping_add(1);
                let original = self.homes[from].as_ref();
                self.homes[to] = original.map(|it| it.copy(to, now, self.seed));
            }
            Fault::RelayDrains => self.relay.drain(now, &mut self.network),
            Fault::RelayDies => self.relay.stop(now, &mut self.network),
            Fault::RelayStarts => self.relay.is_up = true,
            Fault::Visit(key) => self.relay.visit(key, now, &mut self.network),
        }
    }

    fn heal(&mut self, home: usize, moved: bool, told: bool) {
        let path = &mut self.network.paths[home];
        path.is_open = true;
        path.generation += u32::from(moved);
        if let Some(process) = self.homes[home].as_mut().filter(|it| told && !it.sleeps) {
            // An address that has gone is seen; that the one of a router on the way has is not.
            process.shaken(true, self.now);
        }
    }

    fn wake(&mut self, home: usize) {
        if let Some(process) = self.homes[home].as_mut().filter(|it| it.sleeps) {
            process.sleeps = false;
            process.shaken(false, self.now);
        }
    }

    /// All works again, and stays so.
    pub(super) fn heal_all(&mut self, moved: bool, told: bool) {
        if self.relay.is_draining() {
            self.befall(Fault::RelayDies);
        }
        self.befall(Fault::RelayStarts);
        for home in 0..KEYS.len() {
            let path = &mut self.network.paths[home];
            (path.delay, path.loss) = (Duration::from_millis(30), 0);
            self.heal(home, moved, told);
            self.wake(home);
        }
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, wait: Duration) {
        let end = self.now + wait;
        loop {
            let now = self.now;
            let awake = self.homes.iter_mut().flatten().filter(|it| !it.sleeps);
            let homes = awake.filter_map(|it| it.next(now));
            let next = homes.chain(self.relay.next()).chain(self.network.next());
            let Some(next) = next.min().filter(|next| *next <= end) else {
                break;
            };
            self.now = now.max(next);
            self.step();
            self.relay.check();
        }
        self.now = end;
    }

    fn step(&mut self) {
        let (now, network) = (self.now, &mut self.network);
        let sleeps = |home: usize| self.homes[home].as_ref().is_some_and(|it| it.sleeps);
        let hears = |home: usize, to| to == To::Relay || !sleeps(home);
        for (connection, home, to, message) in network.arrived(now, hears) {
            match (to, self.homes[home].as_mut()) {
                (To::Relay, _) => self.relay.hear((connection, home), message, now, network),
                (To::Home, Some(process)) => process.hear(connection, message, now, network),
                (To::Home, None) => {}
            }
        }
        self.relay.pass(now, network);
        for process in self.homes.iter_mut().flatten().filter(|it| !it.sleeps) {
            process.pass(now, network);
        }
    }

    /// The home that a key's visitors come to, if the two ends agree on that.
    pub(super) fn online(&self, key: Key) -> Option<usize> {
        let (connection, id) = self.relay.live(key)?;
        let home = self.network.home_of(connection)?;
        let process = self.homes[home].as_ref()?;
        let agree = process.current() == Some(connection) && process.instance() == id.instance;
        agree.then_some(home)
    }
}

/// What befalls a network in which only these homes may run, and copies of one of them.
pub(super) fn fault(homes: &'static [usize], copies: bool) -> impl Strategy<Value = Fault> {
    let home = || proptest::sample::select(homes);
    let copy = if copies {
        Fault::Copy { from: 0, to: 3 }
    } else {
        Fault::RelayStarts
    };
    prop_oneof![
        4 => home().prop_map(Fault::Swallow),
        6 => (home(), any::<bool>(), any::<bool>())
            .prop_map(|(home, moved, told)| Fault::Heal { home, moved, told }),
        2 => (home(), 1..150_u64, 0..60_u64)
            .prop_map(|(home, delay_ms, loss)| Fault::Slow { home, delay_ms, loss }),
        1 => home().prop_map(Fault::Sleep),
        2 => home().prop_map(Fault::Wake),
        2 => (home(), any::<bool>()).prop_map(|(home, says_so)| Fault::Start { home, says_so }),
        1 => (home(), any::<bool>()).prop_map(|(home, says_so)| Fault::Die { home, says_so }),
        1 => Just(copy),
        1 => Just(Fault::RelayDrains),
        1 => Just(Fault::RelayDies),
        3 => Just(Fault::RelayStarts),
        6 => (0..2_u8).prop_map(Fault::Visit),
    ]
}
