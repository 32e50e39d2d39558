//! What the webhook is told.

use super::rounds::nothing;
use super::*;
use crate::silence::SilentDevice;
use crate::status::{Board, CertificateKind, CertificateStatus, RelayState};

#[tokio::test]
async fn a_webhook_that_fails_is_told_again_until_it_has_taken_the_alarm() {
    let state = tempfile::tempdir().unwrap();
    let logs = LogServer::start().await;
    let theirs = [logs.issue(NAME), logs.issue(NAME)];
    logs.log.lock().unwrap().refusals = 1;
    let trust = Arc::new(watch_alone(&logs, state.path()));
    let shutdown = CancellationToken::new();
    let watch = tokio::spawn(trust.clone().keep(nothing(), shutdown.clone()));
    logs.until(|log| log.alarms.len() == 2).await;
    // What was taken is told no more. (This waits until the watch has noted it.)
    trust.tell().await.unwrap();
    shutdown.cancel();
    watch.await.unwrap();
    let alarms = logs.log.lock().unwrap().alarms.clone();
    let keys: Vec<_> = alarms
        .iter()
        .map(|it| it["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys, theirs);
    let told = |requests: Vec<String>| requests.iter().filter(|it| *it == "/webhook").count();
    assert_eq!(told(logs.requests()), 3);
}

/// What a webhook is told beside certificates: each once for as long as it lasts.
#[tokio::test]
async fn the_webhook_is_told_of_every_alarm_that_the_status_shows() {
    let state = tempfile::tempdir().unwrap();
    let logs = LogServer::start().await;
    let mut trust = watch_alone(&logs, state.path());
    trust.config.level = Some(Level::Public);
    let name: Hostname = NAME.parse().unwrap();
    let told = || {
        let mut log = logs.log.lock().unwrap();
        let alarms = std::mem::take(&mut log.alarms);
        let event = |it: &serde_json::Value| it["event"].as_str().unwrap().to_owned();
        let mut events: Vec<_> = alarms.iter().map(event).collect();
        events.sort();
        (events, alarms)
    };
    // That a name is not set up yet is none.
    trust.tell().await.unwrap();
    assert_eq!(told().0, [""; 0]);
    trust.change(&name, |it| it.see(true, 1));
    trust.change(&name, |it| it.see(false, 2));
    let elsewhere = Arc::new(Mutex::new(Vec::new()));
    let (day, shown) = (24 * 60 * 60 * 1000, elsewhere.clone());
    trust.tell_also(Arc::new(move || shown.lock().unwrap().clone()));
    let certificate = |kind, left: i64| {
        let status = CertificateStatus {
            hostname: NAME.parse().unwrap(),
            kind,
            valid_from: Some(0),
            expires_at: Some(90 * day),
            issuer: None,
            serial: None,
            sha256: None,
            spki_sha256: None,
            error: Some("no".to_owned()),
            acme: None,
        };
        Alarm::of_certificate(status, (90 - left) * day)
    };
    assert!(certificate(CertificateKind::Acme, 16).is_none());
    assert!(certificate(CertificateKind::Own, 1).is_none());
    *elsewhere.lock().unwrap() = vec![
        Alarm::SilentDevice(SilentDevice {
            user: "me".to_owned(),
            name: "phone".to_owned(),
            created_at: 1,
            last_seen_at: Some(3),
        }),
        certificate(CertificateKind::Acme, 14).unwrap(),
    ];
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3 * 60 * 60)).await;
    tokio::time::resume();
    logs.issue(NAME);
    let transparency = trust.transparency.clone().unwrap();
    trust.tell().await.unwrap();
    let (events, alarms) = told();
    let expected = [
        "certificate_ends",
        "logs_silent",
        "not_protected",
        "silent_device",
    ];
    assert_eq!(events, expected);
    let ends = alarms.iter().find(|it| it["event"] == "certificate_ends");
    assert_eq!(ends.unwrap()["expires_at"], "1970-04-01T00:00:00.000Z");
    // Each once, and what was over again.
    let ask = || trust.ask_logs(&transparency, Monitor::CertSpotter, &name);
    ask().await.unwrap();
    trust.tell().await.unwrap();
    assert_eq!(told().0, ["unknown_certificate"]);
    trust.change(&name, |it| it.see(true, 3));
    trust.tell().await.unwrap();
    assert_eq!(told().0, [""; 0]);
    trust.change(&name, |it| it.see(false, 4));
    trust.tell().await.unwrap();
    assert_eq!(told().0, ["not_protected"]);
}

#[tokio::test]
async fn an_alarm_outlives_a_restart_until_the_webhook_has_taken_it() {
    let state = tempfile::tempdir().unwrap();
    let logs = LogServer::start().await;
    let theirs = logs.issue(NAME);
    logs.log.lock().unwrap().refusals = 1;
    let trust = watch_alone(&logs, state.path());
    let name: Hostname = NAME.parse().unwrap();
    let transparency = trust.transparency.clone().unwrap();
    trust
        .ask_logs(&transparency, Monitor::CertSpotter, &name)
        .await
        .unwrap();
    trust.tell().await.unwrap_err();
    assert_eq!(logs.log.lock().unwrap().alarms.len(), 0);
    drop(trust);
    // The logs have nothing new to tell, and do not even answer.
    let mut trust = watch_alone(&logs, state.path());
    let asked = &mut trust.transparency.as_mut().unwrap().config;
    asked.cert_spotter = None;
    asked.crt_sh = None;
    let trust = Arc::new(trust);
    let shutdown = CancellationToken::new();
    let watch = tokio::spawn(trust.clone().keep(nothing(), shutdown.clone()));
    logs.until(|log| !log.alarms.is_empty()).await;
    trust.tell().await.unwrap();
    shutdown.cancel();
    watch.await.unwrap();
    assert_eq!(logs.log.lock().unwrap().alarms[0]["key"], theirs);
    logs.requests();
    watch_alone(&logs, state.path()).tell().await.unwrap();
    assert_eq!(logs.requests(), [""; 0]);
}

/// A relay that keeps home out and answers phones itself stops every other count.
#[tokio::test(start_paused = true)]
async fn who_has_no_relay_for_long_is_told_since_when_and_why() {
    let relay = crate::config::Relay {
        addresses: vec!["127.0.0.1:1".to_owned()],
        server_name: "relay.example.org".parse().unwrap(),
        key: cloudless_proto::PublicKey([7; 32]),
    };
    let clock: Clock = Arc::new(|| SystemTime::UNIX_EPOCH);
    let board = Board::new(&[relay], &[], clock.clone());
    let after = Duration::from_secs(3 * 60 * 60);
    let is_told = |board: &Board| Alarm::of_relays(board, after).is_some();
    assert!(!is_told(&board));
    tokio::time::advance(after).await;
    assert!(is_told(&board), "also from the start on");
    board.set(0, RelayState::Connected, None);
    assert!(!is_told(&board));
    tokio::time::advance(2 * after).await;
    // Refusals and dials in between are no session.
    board.set(0, RelayState::Dialing, None);
    tokio::time::advance(after / 2).await;
    board.set(0, RelayState::Refused, Some("not invited".to_owned()));
    assert!(!is_told(&board));
    tokio::time::advance(after / 2).await;
    let alarm = Alarm::of_relays(&board, after).unwrap();
    let json = serde_json::to_value(&alarm).unwrap();
    assert_eq!(json["event"], "no_relay");
    assert_eq!(json["since"], "1970-01-01T00:00:00.000Z");
    assert_eq!(json["problems"][0], "relay.example.org: not invited");
    assert!(!is_told(&Board::new(&[], &[], clock)));
}
