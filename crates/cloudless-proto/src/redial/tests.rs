use proptest::prelude::*;

use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Dials whenever due until `end`, and returns when.
fn dials(schedule: &mut Schedule, end: Instant, random: f64) -> Vec<Instant> {
    let mut times = Vec::new();
    while let Some(at) = schedule.next_dial().filter(|at| *at < end) {
        schedule.dialed(at, random);
        times.push(at);
    }
    times
}

#[test]
fn first_dial_is_at_once_and_a_welcome_ends_dialing() {
    let start = Instant::now();
    let mut schedule = Schedule::new(Pace::default(), start);
    assert_eq!(schedule.next_dial(), Some(start));
    schedule.dialed(start, 0.0);
    assert_eq!(
        schedule.next_dial(),
        Some(start + Duration::from_millis(250))
    );
    schedule.welcomed(start + Duration::from_millis(40));
    assert_eq!(schedule.next_dial(), None);
}

#[test]
fn a_steady_session_that_ends_is_redialed_at_once_and_eagerly() {
    let start = Instant::now();
    let mut schedule = Schedule::new(Pace::default(), start);
    dials(&mut schedule, start + seconds(3600), 0.9);
    schedule.welcomed(start + seconds(3600));
    let end = start + seconds(7200);
    schedule.lost(end);
    let times = dials(&mut schedule, end + seconds(10), 0.0);
    assert_eq!(times[0], end);
    assert_eq!(times.len(), 40);
}

/// A dial of a long outage holds the next one back for up to half a minute, and succeeds.
fn welcomed_late(start: Instant) -> (Schedule, Instant) {
    let mut schedule = Schedule::new(Pace::default(), start);
    let welcome = *dials(&mut schedule, start + seconds(3600), 0.9)
        .last()
        .unwrap();
    schedule.welcomed(welcome);
    (schedule, welcome)
}

#[test]
fn what_a_long_outage_came_to_does_not_outlive_a_steady_session() {
    let (mut schedule, welcome) = welcomed_late(Instant::now());
    let end = welcome + Pace::default().steady;
    schedule.lost(end);
    assert_eq!(schedule.next_dial(), Some(end));
}

#[test]
fn a_dial_of_a_moment_ago_holds_the_next_one_back_whatever_became_of_the_session() {
    let start = Instant::now();
    let pace = Pace::default();
    let mut schedule = Schedule::new(pace, start);
    schedule.dialed(start, 0.0);
    schedule.welcomed(start);
    let doubt = start + 2 * pace.steady;
    schedule.doubted(doubt);
    assert_eq!(schedule.next_dial(), Some(doubt));
    schedule.dialed(doubt, 0.0);
    // The relay answers the ping after all, and ends the session.
    schedule.trusted();
    let end = doubt + Duration::from_millis(10);
    schedule.lost(end);
    assert_eq!(schedule.next_dial(), Some(doubt + pace.min));
}

#[test]
fn nor_does_it_outlive_a_change_of_the_network() {
    let (mut schedule, welcome) = welcomed_late(Instant::now());
    schedule.renew(welcome + seconds(1));
    assert_eq!(schedule.next_dial(), None);
    // The session turns out not to have outlived it.
    let doubt = welcome + seconds(2);
    schedule.doubted(doubt);
    assert_eq!(dials(&mut schedule, doubt + seconds(10), 0.0).len(), 40);
}

#[test]
fn a_relay_that_welcomes_and_drops_is_not_hammered() {
    let start = Instant::now();
    let mut schedule = Schedule::new(Pace::default(), start);
    let mut now = start;
    let mut n_dials = 0;
    while now < start + seconds(3600) {
        now = schedule.next_dial().unwrap();
        schedule.dialed(now, 0.5);
        schedule.welcomed(now);
        schedule.lost(now);
        n_dials += 1;
    }
    // 800 in the eager five minutes, then one in about 22 s.
    assert!((900..1100).contains(&n_dials), "{n_dials}");
}

#[test]
fn doubt_dials_at_once_and_trust_stops() {
    let start = Instant::now();
    let mut schedule = Schedule::new(Pace::default(), start);
    schedule.dialed(start, 0.0);
    schedule.welcomed(start);
    let later = start + seconds(60);
    schedule.doubted(later);
    assert_eq!(schedule.next_dial(), Some(later));
    schedule.dialed(later, 0.0);
    // The session's end does not push the planned dial away.
    schedule.lost(later + Duration::from_millis(100));
    assert_eq!(
        schedule.next_dial(),
        Some(later + Duration::from_millis(250))
    );
    schedule.trusted();
    assert_eq!(schedule.next_dial(), None);
}

#[test]
fn a_dial_that_is_answered_holds_back_the_next_and_one_that_hangs_does_not() {
    let start = Instant::now();
    let pace = Pace::default();
    let mut schedule = Schedule::new(pace, start);
    schedule.dialed(start, 0.0);
    assert_eq!(schedule.next_dial(), Some(start + pace.min));
    let answered = start + Duration::from_millis(100);
    schedule.answered(answered);
    assert_eq!(schedule.next_dial(), Some(answered + pace.patience));
    // It was turned away: the next one comes soon, and not at once.
    let failed = start + Duration::from_millis(700);
    schedule.failed(failed, 0.5);
    let gap = (pace.min + pace.max) / 2;
    assert_eq!(schedule.next_dial(), Some(failed + gap));
    // What was answered in another network counts for nothing in this one.
    schedule.answered(failed);
    schedule.restart(failed);
    assert_eq!(schedule.next_dial(), Some(failed));
    schedule.dialed(failed, 0.0);
    schedule.answered(failed);
    schedule.welcomed(failed);
    schedule.lost(failed + seconds(60));
    assert_eq!(schedule.next_dial(), Some(failed + seconds(60)));
}

#[test]
fn a_relay_that_is_busy_for_long_is_left_alone_for_longer_each_time() {
    let start = Instant::now();
    let pace = Pace::default();
    let mut schedule = Schedule::new(pace, start);
    let mut times = Vec::new();
    for _ in 0..6 {
        let at = schedule.next_dial().unwrap();
        schedule.dialed(at, 0.9);
        schedule.answered(at);
        times.push((at - start).as_secs());
    }
    assert_eq!(times, [0, 2, 6, 14, 22, 30]);
    // It was only busy: what comes later begins anew, and so does another network.
    let welcome = start + seconds(31);
    schedule.welcomed(welcome);
    schedule.lost(welcome + seconds(1));
    for restart in [false, true] {
        if restart {
            schedule.restart(welcome + seconds(9));
        }
        let at = schedule.next_dial().unwrap();
        schedule.dialed(at, 0.0);
        schedule.answered(at);
        assert_eq!(schedule.next_dial(), Some(at + pace.patience));
    }
}

#[test]
fn retry_after_is_honored_even_by_a_new_outage() {
    let start = Instant::now();
    let mut schedule = Schedule::new(Pace::default(), start);
    schedule.dialed(start, 0.0);
    schedule.welcomed(start);
    schedule.retry_after(start, seconds(7), 0.0);
    assert_eq!(schedule.next_dial(), None);
    schedule.lost(start + seconds(1));
    assert_eq!(schedule.next_dial(), Some(start + seconds(7)));
    schedule.retry_after(start, seconds(1_000_000), 0.0);
    assert_eq!(schedule.next_dial(), Some(start + RETRY_AFTER_MAX));
}

#[test]
fn a_change_of_the_network_dials_at_once_and_eagerly_however_long_the_outage() {
    let start = Instant::now();
    let mut schedule = Schedule::new(Pace::default(), start);
    dials(&mut schedule, start + seconds(3600), 0.9);
    let change = start + seconds(3601);
    schedule.restart(change);
    let times = dials(&mut schedule, change + seconds(300), 0.99);
    assert_eq!(times[0], change);
    assert!(
        times
            .windows(2)
            .all(|it| it[1] - it[0] <= Pace::default().max)
    );
}

#[test]
fn a_wake_dials_beside_the_session_and_what_the_relay_asked_for_is_kept() {
    let start = Instant::now();
    let mut schedule = Schedule::new(Pace::default(), start);
    schedule.dialed(start, 0.0);
    schedule.welcomed(start);
    schedule.restart(start + seconds(60));
    assert_eq!(schedule.next_dial(), Some(start + seconds(60)));
    schedule.retry_after(start + seconds(60), seconds(7), 0.0);
    schedule.restart(start + seconds(61));
    assert_eq!(schedule.next_dial(), Some(start + seconds(67)));
}

/// A thousand of them, as after a restart of their relay.
#[test]
fn homes_that_lose_their_relay_at_once_come_back_apart() {
    const N_HOMES: usize = 1_000;
    let lost = Instant::now() + seconds(60);
    let back = lost + seconds(2);
    let mut first = [0; 10];
    for home in 0..N_HOMES {
        let mut schedule = Schedule::new(Pace::default(), lost - seconds(60));
        schedule.welcomed(lost - seconds(60));
        schedule.lost(lost);
        let mut n_dials = 0;
        let dial = loop {
            let dial = schedule.next_dial().unwrap();
            if dial >= back {
                break dial;
            }
            // The golden ratio spreads them as chance would.
            let random = ((home * 31 + n_dials) as f64 * 0.618_034).fract();
            schedule.dialed(dial, random);
            n_dials += 1;
        };
        first[usize::try_from((dial - back).as_millis()).unwrap() / 50] += 1;
    }
    // Evenly there were a tenth of them in each 50 ms, and none is later than the longest wait.
    assert!(
        first.iter().all(|n_at_once| *n_at_once <= N_HOMES / 4),
        "{first:?}"
    );
}

proptest! {
    #[test]
    fn gaps_stay_within_bounds(randoms in prop::collection::vec(0.0..1.0_f64, 1..900)) {
        let start = Instant::now();
        let pace = Pace::default();
        let mut schedule = Schedule::new(pace, start);
        let mut previous = schedule.next_dial().unwrap();
        for random in randoms {
            schedule.dialed(previous, random);
            let next = schedule.next_dial().unwrap();
            let gap = next - previous;
            prop_assert!(gap >= pace.min, "{gap:?}");
            prop_assert!(gap <= pace.backoff_max, "{gap:?}");
            if previous < start + pace.eager {
                prop_assert!(gap <= pace.max, "{gap:?}");
            }
            previous = next;
        }
        if previous > start + seconds(15 * 60) {
            schedule.dialed(previous, 0.0);
            prop_assert!(schedule.next_dial().unwrap() - previous >= pace.backoff_max / 2);
        }
    }

    #[test]
    fn whatever_happens_a_lost_session_is_dialed_within_the_promised_time(
        steps in prop::collection::vec((0..9_u8, 0..60_000_u64, 0.0..1.0_f64), 1..200)
    ) {
        let mut now = Instant::now();
        let mut schedule = Schedule::new(Pace::default(), now);
        for (step, wait, random) in steps {
            now += Duration::from_millis(wait);
            match step {
                0 => schedule.dialed(now, random),
                1 => schedule.welcomed(now),
                2 => schedule.doubted(now),
                3 => schedule.trusted(),
                4 => schedule.lost(now),
                5 => schedule.restart(now),
                6 => schedule.answered(now),
                7 => schedule.failed(now, random),
                _ => schedule.retry_after(now, Duration::from_millis(wait), random),
            }
            if step == 4 {
                let next = schedule.next_dial().unwrap();
                prop_assert!(next <= now + seconds(61), "{:?}", next - now);
            }
        }
    }
}
