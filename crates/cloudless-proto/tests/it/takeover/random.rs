//! Long random runs by a virtual clock: homes and a relay that follow the real rules at both ends,
//! over a network that delays, loses and swallows what they say.

mod home;
mod network;
mod relay;
mod world;

use std::time::Duration;

use cloudless_proto::takeover::PROBE_TIMEOUT;
use proptest::prelude::*;
use relay::Key;
use world::{Fault, World, fault};

/// The key of each process: a home, the same from a restored backup, another home, and where a copy
/// of the first one runs.
const KEYS: [Key; 4] = [0, 0, 1, 0];

/// A home that hears that the network is back has so long.
const BACK: Duration = Duration::from_secs(2);
/// One that does not: the longest time between two dials or pings, the relay's probe, and a moment.
const BACK_UNTOLD: Duration = Duration::from_secs(35);
/// By then a session that is dead is known to be dead, and whoever hangs on it has gone.
const AT_REST: Duration = Duration::from_secs(60);

fn suffer(world: &mut World, faults: &[(Fault, u64)]) {
    for (fault, wait_ms) in faults {
        world.befall(*fault);
        world.run(Duration::from_millis(*wait_ms));
    }
}

fn faults(homes: &'static [usize], copies: bool) -> impl Strategy<Value = Vec<(Fault, u64)>> {
    let wait_ms = prop_oneof![4 => 0..3_000_u64, 2 => 0..30_000_u64, 1 => 0..400_000_u64];
    proptest::collection::vec((fault(homes, copies), wait_ms), 1..40)
}

/// Whoever is served stays so, and every visitor ends.
fn comes_to_rest(world: &mut World, online: [Option<usize>; 2]) {
    let n_entered = world.relay.n_entered;
    world.run(AT_REST);
    assert_eq!([0, 1].map(|key| world.online(key)), online);
    assert_eq!(
        world.relay.n_entered, n_entered,
        "sessions replace each other"
    );
    assert!(
        world.relay.all_visitors_have_ended(),
        "{:?}",
        world.relay.visitors
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Homes that are alone with their keys, whatever became of the processes before them.
    #[test]
    fn whoever_hears_that_the_network_is_back_is_online_in_time(
        seed: u64,
        faults in faults(&[0, 2], false),
        moved: bool,
    ) {
        let mut world = World::new(&[0, 2], seed);
        suffer(&mut world, &faults);
        for home in [0, 2] {
            if world.homes[home].is_none() {
                world.befall(Fault::Start { home, says_so: false });
            }
        }
        world.heal_all(moved, true);
        // Before a process that is dead has its place taken, the relay asks it.
        let instance = |home: usize| world.homes[home].as_ref().map(|it| it.instance());
        let has_dead = [0, 2].into_iter().any(|home| {
            let live = world.relay.live(KEYS[home]);
            live.is_some_and(|(_, id)| Some(id.instance) != instance(home))
        });
        world.run(if has_dead { BACK + PROBE_TIMEOUT } else { BACK });
        prop_assert_eq!([0, 1].map(|key| world.online(key)), [Some(0), Some(2)]);
        comes_to_rest(&mut world, [Some(0), Some(2)]);
    }

    /// Several machines with one key, running copies among them: one of them is served, and it is not
    /// thrown out by the others.
    #[test]
    fn one_of_those_who_share_a_key_is_served(
        seed: u64,
        faults in faults(&[0, 1, 2, 3], true),
        moved: bool,
    ) {
        let mut world = World::new(&[0, 2], seed);
        suffer(&mut world, &faults);
        for (key, home) in [(0, 0), (1, 2)] {
            let is_there = |home: &usize| KEYS[*home] == key && world.homes[*home].is_some();
            if !(0..KEYS.len()).any(|home| is_there(&home)) {
                world.befall(Fault::Start { home, says_so: false });
            }
        }
        world.heal_all(moved, false);
        world.run(BACK_UNTOLD);
        let online = [0, 1].map(|key| world.online(key));
        prop_assert!(online.iter().all(Option::is_some), "{:?}", online);
        comes_to_rest(&mut world, online);
    }
}
