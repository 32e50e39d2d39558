//! Home's disk twice, and machines that vanish without a word.

use std::time::Instant;

use cloudless_testbed::Family;

use crate::network::machines::Machines;
use crate::network::outages::{SECOND, within};

#[test]
fn a_second_laptop_with_the_same_disk_is_refused_over_ipv4() {
    a_second_laptop_with_the_same_disk_is_refused(Family::V4);
}

#[test]
fn a_second_laptop_with_the_same_disk_is_refused_over_ipv6() {
    a_second_laptop_with_the_same_disk_is_refused(Family::V6);
}

/// Both are told, and no visitor notices.
fn a_second_laptop_with_the_same_disk_is_refused(family: Family) {
    let Some(mut machines) = Machines::start(family) else {
        return;
    };
    machines.copy_disk();
    let prober = machines.prober().calm();
    let started = Instant::now();
    machines.start_clone();
    machines.clone_says("another machine is connected with this home's key");
    machines.relay_says("a second machine with the same key was refused");
    prober.all_answered(5 * SECOND, started);
    machines.home_says("\"state\":\"connected\"");
}

#[test]
fn the_laptop_loses_its_power_and_comes_back_over_ipv4() {
    the_laptop_loses_its_power(Family::V4, Disk::Same);
}

#[test]
fn the_laptop_loses_its_power_and_comes_back_over_ipv6() {
    the_laptop_loses_its_power(Family::V6, Disk::Same);
}

#[test]
fn the_laptop_is_restored_from_a_copy_of_its_disk_over_ipv4() {
    the_laptop_loses_its_power(Family::V4, Disk::Copy);
}

#[test]
fn the_laptop_is_restored_from_a_copy_of_its_disk_over_ipv6() {
    the_laptop_loses_its_power(Family::V6, Disk::Copy);
}

/// What the laptop starts from again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Disk {
    Same,
    Copy,
}

/// The relay still holds a session of which it does not know that nobody is there, and a newcomer
/// that it has not seen before asks for its place.
fn the_laptop_loses_its_power(family: Family, disk: Disk) {
    let Some(mut machines) = Machines::start(family) else {
        return;
    };
    if disk == Disk::Copy {
        machines.copy_disk();
    }
    let prober = machines.prober().calm();
    machines.bed.cut_home();
    machines.kill_home();
    assert_eq!(prober.go_on_for(SECOND, Instant::now()), 0);
    machines.bed.power_home();
    let event = match disk {
        Disk::Same => {
            machines.start_home();
            "laptop's power lost"
        }
        Disk::Copy => {
            machines.start_home_from_copy();
            "laptop restored from a copy"
        }
    };
    let took = prober.back_after(Instant::now());
    // The relay gives the old session 2 s to answer before it believes the newcomer.
    within(4 * SECOND, event, family, took);
}
