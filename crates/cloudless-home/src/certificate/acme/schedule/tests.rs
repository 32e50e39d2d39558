use proptest::prelude::*;

use super::*;

/// Some moment; all tests count from it.
fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + 20_000 * DAY
}

fn life(from: SystemTime, length: Duration) -> Life {
    Life {
        not_before: from,
        not_after: from + length,
    }
}

/// A schedule with a certificate that was issued at the start, its authority silent about renewal.
fn issued(length: Duration, place: f64) -> Schedule {
    let mut schedule = Schedule::new(Trouble::default());
    schedule.issued(life(start(), length), place);
    schedule.not_suggested(start());
    schedule
}

/// Follows the schedule until it orders, with an authority that never says when to renew.
fn first_order(schedule: &mut Schedule, mut now: SystemTime) -> SystemTime {
    loop {
        match schedule.next(now) {
            Step::Order => return now,
            Step::AskRenewalInfo => schedule.not_suggested(now),
            Step::Wait(until) => {
                assert!(until > now, "a wait that is over");
                // Nobody sleeps through a question about renewal.
                now = until.min(now + ASK_INTERVAL);
            }
        }
    }
}

fn left(schedule: &Schedule, at: SystemTime) -> Duration {
    let life = schedule.life.unwrap();
    life.not_after.duration_since(at).unwrap()
}

fn fail(schedule: &mut Schedule, kind: Failure, now: SystemTime) {
    schedule.failed(kind, "no".to_owned(), None, now, 0.0);
}

#[test]
fn a_name_without_a_certificate_gets_one_at_once() {
    let schedule = Schedule::new(Trouble::default());
    assert_eq!(schedule.next(start()), Step::Order);
}

#[test]
fn a_third_of_a_long_life_and_half_of_a_short_one_is_left() {
    for (length, share) in [
        (90 * DAY, 3),
        (64 * DAY, 3),
        (45 * DAY, 3),
        (10 * DAY, 3),
        (160 * HOUR, 2),
        (DAY, 2),
    ] {
        let latest = first_order(&mut issued(length, 0.0), start());
        let schedule = issued(length, 0.0);
        assert_eq!(left(&schedule, latest), length / share, "{length:?}");
        // Other homes are a little earlier, and never by much.
        let earliest = first_order(&mut issued(length, 0.999), start());
        assert!(earliest < latest, "{length:?}");
        assert!(latest - length / 40 < earliest, "{length:?}");
    }
}

#[test]
fn what_the_authority_suggests_is_followed_early_and_late() {
    let suggest = |schedule: &mut Schedule, from: Duration, to: Duration| {
        let window = Window {
            start: start() + from,
            end: start() + to,
        };
        schedule.suggested(window, DAY, start(), 0.5);
    };
    let order = |from: Duration, to: Duration| {
        let mut schedule = issued(90 * DAY, 0.0);
        suggest(&mut schedule, from, to);
        first_order(&mut schedule, start())
            .duration_since(start())
            .unwrap()
    };
    assert_eq!(order(40 * DAY, 42 * DAY), 41 * DAY);
    assert_eq!(order(66 * DAY, 68 * DAY), 67 * DAY);
    // It is never followed into the last sixth.
    assert_eq!(order(100 * DAY, 200 * DAY), 75 * DAY);
    // A window that is over means now: such as for a certificate that will be revoked.
    let mut schedule = issued(90 * DAY, 0.0);
    let window = Window {
        start: start() - 2 * DAY,
        end: start() - DAY,
    };
    schedule.suggested(window, HOUR, start(), 0.9);
    assert_eq!(schedule.next(start()), Step::Order);
}

#[test]
fn the_chosen_moment_stays_while_the_window_has_it() {
    let mut schedule = issued(90 * DAY, 0.0);
    let window = |from: u32, to: u32| Window {
        start: start() + from * DAY,
        end: start() + to * DAY,
    };
    schedule.suggested(window(50, 60), HOUR, start(), 0.2);
    let chosen = schedule.planned(start());
    assert_eq!(chosen, start() + 52 * DAY);
    // Asked every hour, the moment would otherwise be thrown anew until it is the earliest.
    schedule.suggested(window(51, 60), HOUR, start() + HOUR, 0.0);
    assert_eq!(schedule.planned(start()), chosen);
    schedule.suggested(window(54, 60), HOUR, start() + 2 * HOUR, 0.5);
    assert_eq!(schedule.planned(start()), start() + 57 * DAY);
}

#[test]
fn the_authority_is_asked_as_often_as_it_says_and_once_a_day_at_least() {
    let mut schedule = Schedule::new(Trouble::default());
    schedule.found(life(start(), 90 * DAY), 0.0);
    assert_eq!(schedule.next(start()), Step::AskRenewalInfo);
    let window = Window {
        start: start() + 50 * DAY,
        end: start() + 51 * DAY,
    };
    for (says, holds) in [
        (Duration::ZERO, MINUTE),
        (6 * HOUR, 6 * HOUR),
        (30 * DAY, DAY),
    ] {
        schedule.suggested(window, says, start(), 0.0);
        let soon = start() + holds - Duration::from_secs(1);
        assert!(matches!(schedule.next(soon), Step::Wait(_)), "{says:?}");
        assert_eq!(
            schedule.next(start() + holds),
            Step::AskRenewalInfo,
            "{says:?}"
        );
    }
    // What it said holds while it is silent.
    schedule.not_suggested(start() + DAY);
    assert_eq!(schedule.planned(start() + DAY), window.start);
}

#[test]
fn failed_validations_are_few_in_an_hour_and_one_a_day_in_the_end() {
    for kind in [
        Failure::Validation,
        Failure::RelayLost,
        Failure::Unavailable,
    ] {
        let mut schedule = Schedule::new(Trouble::default());
        let mut now = start();
        let mut orders = Vec::new();
        while now < start() + 30 * DAY {
            now = first_order(&mut schedule, now);
            orders.push(now.duration_since(start()).unwrap());
            fail(&mut schedule, kind, now);
        }
        let within = |from: Duration, to: Duration| {
            let orders = orders.iter();
            orders.filter(|at| (from..to).contains(*at)).count()
        };
        // Let's Encrypt takes five in an hour.
        assert!((3..=4).contains(&within(Duration::ZERO, HOUR)), "{kind:?}");
        assert!(within(HOUR, 2 * HOUR) <= 1, "{kind:?}");
        assert_eq!(within(10 * DAY, 20 * DAY), 10, "{kind:?}");
        schedule.issued(life(now, 90 * DAY), 0.0);
        assert_eq!((schedule.failures(), schedule.message()), (0, None));
        fail(&mut schedule, kind, now + 80 * DAY);
        let again = first_order(&mut schedule, now + 80 * DAY);
        assert_eq!(again, now + 80 * DAY + MINUTE, "success forgives");
    }
}

#[test]
fn each_failure_has_its_own_count() {
    let mut schedule = Schedule::new(Trouble::default());
    for _ in 0..4 {
        fail(&mut schedule, Failure::Validation, start());
    }
    // A network that was away in between makes the authority not forget.
    fail(&mut schedule, Failure::Unavailable, start());
    assert_eq!(schedule.next(start() + MINUTE), Step::Order);
    fail(&mut schedule, Failure::Validation, start() + MINUTE);
    assert_eq!(
        schedule.planned(start() + MINUTE),
        start() + MINUTE + 4 * HOUR
    );
    assert_eq!(schedule.failures(), 6);
}

#[test]
fn what_the_authority_asks_for_is_given_up_to_a_day() {
    for (asked, wait) in [
        (None, HOUR),
        (Some(MINUTE), HOUR),
        (Some(5 * HOUR), 5 * HOUR),
        (Some(34 * HOUR), DAY),
    ] {
        let mut schedule = Schedule::new(Trouble::default());
        schedule.failed(Failure::RateLimited, String::new(), asked, start(), 0.0);
        assert_eq!(
            schedule.next(start()),
            Step::Wait(start() + wait),
            "{asked:?}"
        );
    }
}

#[test]
fn homes_that_failed_together_do_not_come_back_together() {
    let mut schedule = Schedule::new(Trouble::default());
    schedule.failed(Failure::Unavailable, String::new(), None, start(), 0.999);
    let Step::Wait(until) = schedule.next(start()) else {
        panic!("it orders at once");
    };
    assert!(until > start() + MINUTE + Duration::from_secs(11));
    assert!(until < start() + 2 * MINUTE);
}

#[test]
fn a_restart_keeps_what_the_authority_has_counted_and_nothing_else() {
    for (kind, is_kept) in [
        (Failure::Validation, true),
        (Failure::RelayLost, true),
        (Failure::RateLimited, true),
        (Failure::Refused, true),
        (Failure::Clock, false),
        (Failure::Gate, false),
        (Failure::Local, false),
        (Failure::Nonce, false),
        (Failure::Unavailable, false),
    ] {
        let mut schedule = Schedule::new(Trouble::default());
        fail(&mut schedule, kind, start());
        let kept = serde_json::to_string(&schedule.trouble().to_keep()).unwrap();
        let kept: Option<Trouble> = serde_json::from_str(&kept).unwrap();
        assert_eq!(kept.is_some(), is_kept, "{kind:?}");
        let again = Schedule::new(kept.unwrap_or_default());
        let waits = matches!(again.next(start()), Step::Wait(_));
        assert_eq!(waits, is_kept, "{kind:?}");
    }
}

#[test]
fn a_clock_that_is_set_back_prolongs_no_wait() {
    let mut schedule = Schedule::new(Trouble::default());
    fail(&mut schedule, Failure::Validation, start() + 400 * DAY);
    assert_eq!(schedule.next(start()), Step::Order);
    let mut schedule = issued(90 * DAY, 0.0);
    schedule.not_suggested(start() + 400 * DAY);
    assert_eq!(schedule.next(start()), Step::AskRenewalInfo);
}

#[test]
fn waking_up_forgives_what_was_only_out_of_reach() {
    for (kind, step) in [
        (Failure::Unavailable, true),
        (Failure::Clock, true),
        (Failure::Gate, true),
        (Failure::Validation, false),
        (Failure::RateLimited, false),
    ] {
        let mut schedule = Schedule::new(Trouble::default());
        for _ in 0..3 {
            fail(&mut schedule, kind, start());
        }
        schedule.woke();
        assert_eq!(schedule.next(start()) == Step::Order, step, "{kind:?}");
    }
}

#[test]
fn who_asks_gets_one_order_at_once_whatever_is_planned() {
    let mut schedule = issued(90 * DAY, 0.0);
    assert!(matches!(schedule.next(start()), Step::Wait(_)));
    schedule.ask();
    assert_eq!(schedule.next(start()), Step::Order);
    fail(&mut schedule, Failure::RateLimited, start());
    assert!(matches!(schedule.next(start()), Step::Wait(_)));
    schedule.ask();
    assert_eq!(schedule.next(start()), Step::Order);
    schedule.issued(life(start(), 90 * DAY), 0.0);
    schedule.not_suggested(start());
    assert!(matches!(schedule.next(start()), Step::Wait(_)));
}

proptest! {
    /// A laptop that sleeps when it likes, an authority that fails now and then: whenever it is awake
    /// for an hour and the authority works, its certificate is good, and no wait is a busy loop.
    #[test]
    fn whoever_wakes_up_is_served_soon(
        sleeps in proptest::collection::vec((0_u32..40 * 24, 1_u32..48), 1..40),
        length_days in 6_u32..100,
        place in 0.0..1.0_f64,
        failures in proptest::collection::vec(any::<bool>(), 8),
    ) {
        let length = length_days * DAY;
        let mut schedule = Schedule::new(Trouble::default());
        let mut now = start();
        let mut failures = failures.iter().cycle();
        for (asleep, awake) in sleeps {
            now += asleep * HOUR;
            schedule.woke();
            let until = now + awake * HOUR;
            let woken = now;
            let mut is_well = true;
            let mut steps = 0;
            while now < until {
                steps += 1;
                prop_assert!(steps < 10_000, "a busy loop");
                match schedule.next(now) {
                    Step::AskRenewalInfo => schedule.not_suggested(now),
                    Step::Order => {
                        if *failures.next().unwrap() {
                            is_well = false;
                            fail(&mut schedule, Failure::Unavailable, now);
                        } else {
                            schedule.issued(life(now - HOUR, length), place);
                        }
                        now += Duration::from_secs(10);
                    }
                    Step::Wait(end) => {
                        prop_assert!(end > now);
                        now = end.min(until);
                    }
                }
            }
            if is_well && now > woken + MINUTE {
                prop_assert!(schedule.valid_life(now).is_some());
            }
        }
    }
}
