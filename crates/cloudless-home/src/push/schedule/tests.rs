use std::sync::LazyLock;

use cloudless_store::{BookId, DeviceId, Store, Timestamp};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Only a store gives ids: an address book, and ten devices.
static IDS: LazyLock<(BookId, Vec<DeviceId>)> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let user = store.create_user("me", Timestamp(0)).unwrap();
    let add = |number: u8| store.add_device("me", &number.to_string(), [number; 32], Timestamp(0));
    let devices = (0..10).map(|number| add(number).unwrap()).collect();
    let book = store.address_book(user, "contacts").unwrap().unwrap();
    (book.id, devices)
});

/// What is pending for registrations of these numbers. The device is the last digit.
fn pending(ids: impl IntoIterator<Item = i64>) -> Vec<PendingPush> {
    let push = |id| PendingPush {
        id: PushId(id),
        name: String::new(),
        device: IDS.1[usize::try_from(id % 10).unwrap()],
        book: IDS.0,
        incarnation: String::new(),
        revision: 1,
        push_resource: String::new(),
        public_key: Vec::new(),
        auth_secret: Vec::new(),
        content: true,
        properties: false,
        property_changes: 0,
    };
    ids.into_iter().map(push).collect()
}

fn begin(schedule: &mut Schedule, ids: &[i64], now: Instant) -> (Vec<i64>, Option<Instant>) {
    let (due, next) = schedule.begin(pending(ids.iter().copied()), now);
    (due.into_iter().map(|push| push.id.0).collect(), next)
}

fn schedule() -> Schedule {
    Schedule::new(PushTimings::default())
}

#[test]
fn one_message_at_a_time_and_then_a_gap() {
    let (mut schedule, start) = (schedule(), Instant::now());
    assert_eq!(begin(&mut schedule, &[1, 2], start), (vec![1, 2], None));
    // Changes that come while it is on its way wait.
    assert_eq!(begin(&mut schedule, &[1, 2], start), (vec![], None));
    schedule.end(PushId(1), Outcome::Taken, start + SECOND);
    let next = start + 6 * SECOND;
    assert_eq!(
        begin(&mut schedule, &[1, 2], start + SECOND),
        (vec![], Some(next))
    );
    assert_eq!(begin(&mut schedule, &[1], next), (vec![1], None));
}

#[test]
fn failures_back_off_up_to_an_hour_and_a_success_forgets_them() {
    let (mut schedule, mut now) = (schedule(), Instant::now());
    let mut waits = Vec::new();
    for _ in 0..40 {
        assert_eq!(begin(&mut schedule, &[1], now).0, [1]);
        schedule.end(PushId(1), Outcome::Failed { retry_after: None }, now);
        let (due, next) = begin(&mut schedule, &[1], now);
        assert!(due.is_empty());
        waits.push((next.unwrap() - now).as_secs());
        now = next.unwrap();
    }
    assert_eq!(waits[..5], [5, 10, 20, 40, 80]);
    assert!(waits[10..].iter().all(|&wait| wait == 3600), "{waits:?}");
    assert_eq!(begin(&mut schedule, &[1], now).0, [1]);
    schedule.end(PushId(1), Outcome::Taken, now);
    now += 10 * SECOND;
    assert_eq!(begin(&mut schedule, &[1], now).0, [1]);
    schedule.end(PushId(1), Outcome::Failed { retry_after: None }, now);
    assert_eq!(begin(&mut schedule, &[1], now).1, Some(now + 5 * SECOND));
}

#[test]
fn a_push_service_says_when_to_come_again_within_bounds() {
    for (asked, expected) in [(0, 1), (120, 120), (7200, 3600), (u64::MAX, 3600)] {
        let (mut schedule, now) = (schedule(), Instant::now());
        begin(&mut schedule, &[1], now);
        let retry_after = Some(Duration::from_secs(asked));
        schedule.end(PushId(1), Outcome::Failed { retry_after }, now);
        let next = begin(&mut schedule, &[1], now).1.unwrap();
        assert_eq!((next - now).as_secs(), expected, "{asked}");
    }
}

#[test]
fn few_are_on_their_way_at_a_time_and_all_get_their_turn() {
    let (mut schedule, now) = (schedule(), Instant::now());
    let mut waiting: Vec<i64> = (0..30).collect();
    let mut sent = Vec::new();
    while !waiting.is_empty() {
        let (due, _) = begin(&mut schedule, &waiting, now);
        assert!((1..=8).contains(&due.len()), "{due:?}");
        for id in due {
            schedule.end(PushId(id), Outcome::Taken, now);
            waiting.retain(|waiting| *waiting != id);
            sent.push(id);
        }
    }
    assert_eq!(sent, (0..30).collect::<Vec<_>>());
}

#[test]
fn a_device_whose_messages_take_long_does_not_keep_the_others_waiting() {
    let (mut schedule, now) = (schedule(), Instant::now());
    let (slow, all) = ([0, 10, 20, 30, 40], [0, 10, 20, 30, 40, 51]);
    assert_eq!(begin(&mut schedule, &slow, now).0, [0, 10]);
    assert_eq!(begin(&mut schedule, &all, now).0, [51]);
    schedule.end(PushId(0), Outcome::Taken, now);
    assert_eq!(begin(&mut schedule, &slow, now).0, [20]);
}

#[test]
fn nothing_is_kept_of_who_is_gone() {
    let (mut schedule, now) = (schedule(), Instant::now());
    begin(&mut schedule, &[1, 2, 3], now);
    schedule.end(PushId(1), Outcome::Gone, now);
    schedule.end(PushId(2), Outcome::Failed { retry_after: None }, now);
    schedule.end(PushId(3), Outcome::Refused, now);
    begin(&mut schedule, &[], now);
    assert_eq!(schedule.turns.len(), 1, "the gap of the third");
    begin(&mut schedule, &[], now + 10 * SECOND);
    assert!(schedule.turns.is_empty() && schedule.under_way.is_empty());
}
