//! Two relays at once, both in the DNS of home's name.

use std::time::{Duration, Instant};

use cloudless_testbed::Family;
use serde_json::Value;

use crate::network::machines::Machines;
use crate::network::outages::{SECOND, within};

/// A phone tries the second address a quarter of a second after the first one.
pub(crate) const SLOW: Duration = Duration::from_secs(2);
/// Nobody waits longer for home to say something.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn one_of_two_relays_is_lost_and_phones_come_through_the_other_over_ipv4() {
    one_of_two_relays_is_lost(Family::V4);
}

#[test]
fn one_of_two_relays_is_lost_and_phones_come_through_the_other_over_ipv6() {
    one_of_two_relays_is_lost(Family::V6);
}

fn one_of_two_relays_is_lost(family: Family) {
    let Some(mut machines) = Machines::start_with_two_relays(family) else {
        return;
    };
    let prober = machines.prober_at_both().calm();
    home_says(&machines, [true, true], "online");

    machines.kill_relay();
    let killed = Instant::now();
    let took = prober.back_after(killed);
    within(SLOW, "one of two relays killed", family, took);
    prober.all_answered(3 * SECOND, killed);
    home_says(&machines, [false, true], "partly");
    machines.start_relay();
    home_says(&machines, [true, true], "online");
    prober.all_answered(SECOND, killed);

    // The same by an address from which nothing comes any more.
    machines.bed.lose_relay();
    let lost = Instant::now();
    let took = prober.back_after(lost);
    within(SLOW, "one of two relays silent", family, took);
    prober.all_answered(10 * SECOND, lost);
    home_says(&machines, [false, true], "partly");
    machines.bed.find_relay();
    home_says(&machines, [true, true], "online");
}

/// Waits until home says which of its relays are well, and this of its name.
pub(crate) fn home_says(machines: &Machines, are_well: [bool; 2], name: &str) {
    let begun = Instant::now();
    loop {
        let status = machines.home_looks();
        let is_well = |relay: &Value| relay["state"] == "connected" && relay["error"].is_null();
        let said = [0, 1].map(|number: usize| is_well(&status["relays"][number]));
        if said == are_well && status["public"][0]["state"] == name {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{are_well:?} {name}: {status}");
    }
}
