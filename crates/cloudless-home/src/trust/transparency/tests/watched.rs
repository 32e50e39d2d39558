//! What is kept of what the logs showed.

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A server at noon of a day in November 2026, and a home whose clock is as many days ahead.
async fn at_noon(days_ahead: u32) -> (LogServer, Watch) {
    let server = LogServer::start().await;
    let mut watch = Watch::new(&server);
    let noon = moment("2026-11-10T12:00:00Z").unwrap();
    let noon = SystemTime::UNIX_EPOCH + Duration::from_millis(noon.unsigned_abs());
    server.log.lock().unwrap().clock = Some(noon);
    watch.now = noon + days_ahead * DAY;
    (server, watch)
}

fn later(server: &LogServer, watch: &mut Watch, days: u32) {
    let mut log = server.log.lock().unwrap();
    log.clock = log.clock.map(|it| it + days * DAY);
    watch.now += days * DAY;
}

fn ends(server: &LogServer, index: usize, not_after: &'static str) {
    server.log.lock().unwrap().certificates[index].not_after = not_after;
}

#[tokio::test]
async fn what_ended_before_the_first_look_is_no_alarm() {
    let (server, mut watch) = at_noon(0).await;
    server.issue(NAME);
    ends(&server, 0, "2026-11-02T00:00:00");
    for monitor in [Monitor::CertSpotter, Monitor::CrtSh, Monitor::CrtSh] {
        assert_eq!(watch.look(monitor).await, [""; 0]);
    }
    assert!(!server.requests().iter().any(|it| it.contains("?d=")));
}

/// A laptop is off for a week, and somebody has a certificate for six days of it.
#[tokio::test]
async fn a_certificate_that_begins_and_ends_between_two_looks_is_an_alarm_until_it_is_accepted() {
    for first in Monitor::ALL {
        let (server, mut watch) = at_noon(0).await;
        assert_eq!(watch.look(first).await, [""; 0]);
        let theirs = server.issue(NAME);
        ends(&server, 0, "2026-11-16T12:00:00");
        later(&server, &mut watch, 7);
        // It does not tell what has ended.
        assert_eq!(watch.look(Monitor::CertSpotter).await, [""; 0]);
        assert_eq!(
            watch.look(Monitor::CrtSh).await,
            std::slice::from_ref(&theirs)
        );
        later(&server, &mut watch, 100);
        for monitor in Monitor::ALL {
            assert_eq!(watch.look(monitor).await, [""; 0]);
        }
        let [issuance] = &watch.watched.unknown[..] else {
            panic!("{:?}", watch.watched);
        };
        assert!(issuance.key == theirs && issuance.has_ended);
        assert_eq!(watch.watched.in_use(), None);
        watch.known.insert(theirs);
        watch.look(Monitor::CertSpotter).await;
        assert_eq!(watch.watched.unknown, []);
    }
}

#[tokio::test]
async fn one_that_ends_while_it_is_watched_stays_an_alarm_and_another_of_its_key_is_in_use() {
    let (server, mut watch) = at_noon(0).await;
    let theirs = server.issue(NAME);
    ends(&server, 0, "2026-11-16T12:00:00");
    assert_eq!(
        watch.look(Monitor::CertSpotter).await,
        std::slice::from_ref(&theirs)
    );
    assert!(watch.watched.in_use().is_some());
    later(&server, &mut watch, 7);
    assert_eq!(watch.look(Monitor::CertSpotter).await, [""; 0]);
    assert!(watch.watched.in_use().is_none() && watch.watched.unknown.len() == 1);
    {
        let mut log = server.log.lock().unwrap();
        let mut renewed = log.certificates[0].clone();
        (renewed.id, renewed.not_after) = (2000, "2026-11-23T12:00:00");
        log.certificates.push(renewed);
    }
    assert_eq!(watch.look(Monitor::CertSpotter).await, [theirs]);
    assert!(watch.watched.in_use().is_some() && watch.watched.unknown.len() == 1);
}

/// What this machine takes for the time decides nothing.
#[tokio::test]
async fn a_wrong_clock_passes_nothing_over_and_forgets_nothing() {
    for monitor in Monitor::ALL {
        let (server, mut watch) = at_noon(365).await;
        let theirs = server.issue(NAME);
        ends(&server, 0, "2026-12-24T00:00:00");
        assert_eq!(
            watch.look(monitor).await,
            std::slice::from_ref(&theirs),
            "{monitor}"
        );
        // Also where nobody tells the time, or anything.
        server.log.lock().unwrap().is_timeless = true;
        let other = server.issue(NAME);
        ends(&server, 1, "2026-12-24T00:00:00");
        assert_eq!(
            watch.look(monitor).await,
            std::slice::from_ref(&other),
            "{monitor}"
        );
        let bad = "HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n";
        server.log.lock().unwrap().instead = Some(bad.to_owned());
        watch.look(monitor).await;
        watch.now -= 365 * DAY;
        watch.look(monitor).await;
        let unknown = watch.watched.unknown.iter();
        let kept: Vec<_> = unknown.map(|it| (&it.key, it.has_ended)).collect();
        assert_eq!(kept, [(&theirs, false), (&other, false)]);
    }
}

/// A monitor whose clock was wrong for once does not blind the watch.
#[tokio::test]
async fn a_beginning_that_lies_ahead_is_moved_back() {
    let (server, mut watch) = at_noon(0).await;
    later(&server, &mut watch, 365);
    watch.look(Monitor::CrtSh).await;
    let theirs = server.issue(NAME);
    ends(&server, 0, "2026-12-24T00:00:00");
    let noon = server.log.lock().unwrap().clock.unwrap() - 365 * DAY;
    server.log.lock().unwrap().clock = Some(noon);
    watch.look(Monitor::CrtSh).await;
    assert_eq!(watch.look(Monitor::CrtSh).await, [theirs]);
}

#[tokio::test]
async fn the_failure_of_one_is_not_hidden_by_the_other() {
    let (server, mut watch) = at_noon(0).await;
    let bad = "HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n";
    server.log.lock().unwrap().instead = Some(bad.to_owned());
    for _ in 0..2 {
        watch.look(Monitor::CrtSh).await;
        later(&server, &mut watch, 1);
    }
    server.log.lock().unwrap().instead = None;
    watch.look(Monitor::CertSpotter).await;
    let watched = &watch.watched;
    let source = &watched.sources[&Monitor::CrtSh];
    let begun = unix_ms(watch.now - 2 * DAY);
    assert_eq!((source.failures, source.failing_since), (2, Some(begun)));
    assert!(watched.error().unwrap().contains("502"));
    assert_eq!(watched.sources[&Monitor::CertSpotter].failures, 0);
    watch.look(Monitor::CrtSh).await;
    assert_eq!(watch.watched.error(), None);
    assert_eq!(watch.watched.sources[&Monitor::CrtSh].failing_since, None);
}

/// The alarm of now is kept, however many there were before.
#[tokio::test]
async fn too_many_that_have_ended_make_room_for_one_in_use() {
    let (server, mut watch) = at_noon(0).await;
    let issuance = |number: usize, has_ended| Issuance {
        key: format!("{number:064x}"),
        issuer: "CA".to_owned(),
        not_before: 0,
        not_after: 1,
        has_ended,
        monitor: Monitor::CrtSh,
        id: number.to_string(),
    };
    watch.watched.unknown = (0..50).map(|it| issuance(it, it > 0)).collect();
    watch.watched.unknown[0].not_after = i64::MAX;
    let theirs = server.issue(NAME);
    assert_eq!(
        watch.look(Monitor::CertSpotter).await,
        std::slice::from_ref(&theirs)
    );
    let unknown = &watch.watched.unknown;
    let used: Vec<_> = unknown.iter().filter(|it| !it.has_ended).collect();
    assert_eq!(used.len(), 2);
    assert!(unknown.len() == 50 && used[1].key == theirs);
}

/// What an earlier version had heard counts as the beginning.
#[tokio::test]
async fn an_upgrade_passes_nothing_over() {
    let (server, mut watch) = at_noon(0).await;
    watch.watched.checked_at = Some(unix_ms(watch.now));
    watch.watched.upgrade();
    let theirs = server.issue(NAME);
    ends(&server, 0, "2026-11-16T12:00:00");
    later(&server, &mut watch, 7);
    assert_eq!(watch.look(Monitor::CrtSh).await, [theirs]);
}
