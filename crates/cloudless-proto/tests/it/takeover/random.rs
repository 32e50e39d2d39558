//! Long random runs of homes that dial anew and a relay that drives the rules, by a virtual clock.

use std::collections::BTreeMap;

use cloudless_proto::takeover::{Instance, Newcomer, PROBE_TIMEOUT, Places, Ruling, SessionId};
use proptest::prelude::*;

const HOMES_MAX: usize = 4;

/// What happens to one process of the home, in a step of time.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// Its connections fail and it dials anew.
    Redial,
    /// It neither answers nor dials, and no connection is seen to fail.
    Freeze,
    Thaw,
    Nothing,
}

#[derive(Debug, Default)]
struct Home {
    epoch: u64,
    is_frozen: bool,
    /// The sessions that it believes to have, newest last: it keeps the newest that was welcomed.
    current: Option<u64>,
}

struct Relay {
    places: Places<u8>,
    /// The live session's process.
    live: BTreeMap<u64, usize>,
    /// Newcomers that wait for the answer of another session, until this time in milliseconds.
    probing: Vec<(u64, Newcomer<u8>, usize, u64)>,
}

impl Relay {
    fn consider(&mut self, homes: &mut [Home], now_ms: u64, newcomer: Newcomer<u8>, home: usize) {
        match self.places.consider(&newcomer, HOMES_MAX) {
            Ruling::Enter => {
                if let Some(replaced) = self.places.enter(&newcomer) {
                    let loser = self
                        .live
                        .remove(&replaced)
                        .expect("the replaced one was live");
                    let loser = &mut homes[loser];
                    // Its home learns of that unless it has a newer one.
                    if loser.current == Some(replaced) {
                        loser.current = None;
                    }
                }
                self.live.insert(newcomer.number, home);
                homes[home].current = Some(newcomer.number);
            }
            Ruling::Probe(asked) => {
                let wait_ms = u64::try_from(PROBE_TIMEOUT.as_millis()).unwrap();
                // An answer takes some milliseconds, its absence the whole time.
                let is_there = self
                    .live
                    .get(&asked)
                    .is_some_and(|it| !homes[*it].is_frozen);
                let due = now_ms + if is_there { 30 } else { wait_ms };
                self.probing.push((due, newcomer, home, asked));
            }
            Ruling::Full | Ruling::Refuse(_) => {}
        }
    }

    fn advance(&mut self, homes: &mut [Home], now_ms: u64) {
        while let Some(at) = self.probing.iter().position(|(due, ..)| *due <= now_ms) {
            let (due, mut newcomer, home, asked) = self.probing.swap_remove(at);
            let answered = self
                .live
                .get(&asked)
                .is_some_and(|it| !homes[*it].is_frozen);
            newcomer.probed(asked, answered);
            self.consider(homes, due, newcomer, home);
        }
    }

    fn hello(&mut self, homes: &mut [Home], now_ms: u64, home: usize) {
        homes[home].epoch += 1;
        let id = SessionId {
            instance: Instance::new([u8::try_from(home).unwrap(); 16]),
            epoch: homes[home].epoch,
        };
        let newcomer = self.places.newcomer(0, id);
        self.consider(homes, now_ms, newcomer, home);
    }
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::Redial),
        1 => Just(Fate::Freeze),
        1 => Just(Fate::Thaw),
        4 => Just(Fate::Nothing),
    ]
}

proptest! {
    /// Two processes with one key: whoever is alive and alone is served within the probe's time, two
    /// live ones do not throw each other out, and there is never more than one route.
    #[test]
    fn who_is_alive_and_alone_is_served(
        steps in proptest::collection::vec((0..2usize, fate(), 1..3000u64), 1..200),
    ) {
        let mut homes = [Home::default(), Home::default()];
        let mut relay = Relay { places: Places::default(), live: BTreeMap::new(), probing: Vec::new() };
        let mut now_ms = 0;
        for (home, fate, wait_ms) in steps {
            match fate {
                Fate::Redial if !homes[home].is_frozen => relay.hello(&mut homes, now_ms, home),
                Fate::Freeze => homes[home].is_frozen = true,
                Fate::Thaw => homes[home].is_frozen = false,
                Fate::Redial | Fate::Nothing => {}
            }
            let before = relay.live.values().next().copied();
            let before_is_alive = before.is_some_and(|it| !homes[it].is_frozen);
            now_ms += wait_ms;
            relay.advance(&mut homes, now_ms);
            prop_assert!(relay.live.len() <= 1);
            prop_assert_eq!(relay.live.keys().next().copied(), relay.places.live(&0));
            let after = relay.live.values().next().copied();
            // Nothing froze in this step after the look, so that a live one keeps its place.
            if before_is_alive {
                prop_assert_eq!(after, before);
            }
        }
        // In the end one process is alone and dials: it is served, whatever went before.
        homes[0].is_frozen = true;
        homes[1].is_frozen = false;
        now_ms += 10_000;
        relay.advance(&mut homes, now_ms);
        relay.hello(&mut homes, now_ms, 1);
        relay.advance(&mut homes, now_ms + 2000);
        prop_assert_eq!(relay.live.values().next(), Some(&1));
        prop_assert_eq!(homes[1].current, relay.places.live(&0));
    }
}
