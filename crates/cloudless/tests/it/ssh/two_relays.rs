//! A relay of cloudless and an sshd at the same time, both in the DNS of home's name.

use std::net::SocketAddr;
use std::time::Instant;

use cloudless_testbed::Family;

use crate::network::machines::Machines;
use crate::network::outages::within;
use crate::network::relays::{SLOW, home_says};
use crate::ssh::scene::{ANYWHERE, SECOND};
use crate::ssh::sshd::{Machine, RECIPE, Sshd, user};

#[test]
fn one_of_a_relay_and_an_sshd_is_lost_and_phones_come_through_the_other_over_ipv4() {
    one_of_a_relay_and_an_sshd_is_lost(Family::V4);
}

#[test]
fn one_of_a_relay_and_an_sshd_is_lost_and_phones_come_through_the_other_over_ipv6() {
    one_of_a_relay_and_an_sshd_is_lost(Family::V6);
}

fn one_of_a_relay_and_an_sshd_is_lost(family: Family) {
    let Some(mut machines) = Machines::start_with_room(family) else {
        return;
    };
    let Some(mut sshd) = beside(&mut machines, family) else {
        return;
    };
    // Each of them serves who comes.
    drop(machines.prober().calm());
    drop(machines.moved_prober().calm());
    home_says(&machines, [true, true], "online");
    let prober = machines.prober_at_both().calm();

    sshd.kill();
    let killed = Instant::now();
    let took = prober.back_after(killed);
    within(SLOW, "a relay and an sshd, sshd killed", family, took);
    prober.all_answered(3 * SECOND, killed);
    home_says(&machines, [true, false], "partly");
    sshd.restart();
    home_says(&machines, [true, true], "online");

    machines.kill_relay();
    let killed = Instant::now();
    let took = prober.back_after(killed);
    within(SLOW, "a relay and an sshd, relay killed", family, took);
    prober.all_answered(3 * SECOND, killed);
    home_says(&machines, [false, true], "partly");
    machines.start_relay();
    home_says(&machines, [true, true], "online");
    prober.all_answered(SECOND, killed);
}

/// Starts an sshd at the relay's other addresses, where home has it listen too.
fn beside(machines: &mut Machines, family: Family) -> Option<Sshd> {
    let address = SocketAddr::from((ANYWHERE[family as usize], 22));
    let machine = Machine::of(&machines.bed.relay);
    let sshd = Sshd::start_at(&machine, RECIPE, || address)?;
    let second = machines.second_address();
    let relay = format!(
        "[[relay]]\ntransport = \"ssh\"\nhost = \"{}\"\nuser = \"{}\"\nforward = \"{second}\"\n",
        second.ip(),
        user()
    );
    machines.configure_home(&relay);
    let line = machines.on_home(&["home", "ssh", "key"]);
    sshd.authorize(line.trim_end());
    machines.on_home(&["home", "ssh", "trust", &sshd.fingerprint()]);
    machines.start_home();
    machines.await_tunnel();
    Some(sshd)
}
