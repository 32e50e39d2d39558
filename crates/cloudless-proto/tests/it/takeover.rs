//! The session hand-over rules: a model of homes, relay and visitors in which every message may be
//! late or lost and every process may die at any moment, searched completely within small numbers.

mod model;
mod random;
mod world;

use model::{AN_OLD_EPOCH_NEVER_WINS, EVERY_VISITOR_ENDS, NOBODY_WAITS, ONE_ROUTE, OWN_KEY, Relay};
use stateright::{Checker, HasDiscoveries, Model};
use world::Flaw;

const MODELS: [Relay; 3] = [
    // A home that dials anew, and a clone of it.
    Relay {
        dials_max: [2, 1, 0],
        owner: 1,
        n_visitors: 0,
        flaw: Flaw::None,
    },
    // Two homes, and a visitor whose name moves.
    Relay {
        dials_max: [1, 0, 2],
        owner: 1,
        n_visitors: 1,
        flaw: Flaw::None,
    },
    // A visitor of a home that dials anew, and that starts anew while the relay keeps its old session.
    Relay {
        dials_max: [2, 1, 0],
        owner: 0,
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
        (Flaw::KeyIsNotLookedAtAgain, OWN_KEY),
        (Flaw::PlacesForget, AN_OLD_EPOCH_NEVER_WINS),
        (Flaw::ReplacedStays, ONE_ROUTE),
        (Flaw::LeavingEvicts, ONE_ROUTE),
        (Flaw::ReplacedForgetsVisitors, EVERY_VISITOR_ENDS),
        (Flaw::LostForgetsVisitors, EVERY_VISITOR_ENDS),
        (Flaw::SilenceIsKept, EVERY_VISITOR_ENDS),
        (Flaw::HoldHasNoEnd, EVERY_VISITOR_ENDS),
        (Flaw::DrainForgetsVisitors, EVERY_VISITOR_ENDS),
        (Flaw::WelcomeWakesNobody, NOBODY_WAITS),
        (Flaw::LookedBeforeListening, NOBODY_WAITS),
        (Flaw::MoveWakesNobody, NOBODY_WAITS),
    ] {
        let notices = MODELS.into_iter().any(|model| {
            let found = HasDiscoveries::AnyOf([property].into());
            let model = Relay { flaw, ..model };
            let checker = model.checker().finish_when(found).spawn_bfs().join();
            checker.discovery(property).is_some()
        });
        assert!(notices, "{flaw:?}: {property}");
    }
}
