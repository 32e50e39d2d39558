//! What the logs are asked, and when an order may rely on it.

use super::*;

const BAD: &str = "HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n";

/// Home renews while a look is under way, and the log has the new certificate at once.
#[tokio::test]
async fn a_renewal_while_the_logs_are_asked_is_no_alarm() {
    let state = tempfile::tempdir().unwrap();
    let logs = LogServer::start().await;
    let mut trust = watch_alone(&logs, state.path());
    let log = logs.log.clone();
    // When it is read, the look has been made.
    trust.ledger = Arc::new(move || {
        let log = log.lock().unwrap();
        assert!(!log.requests.is_empty());
        Ok(log.certificates.iter().map(|it| it.key.clone()).collect())
    });
    logs.issue(NAME);
    let name: Hostname = NAME.parse().unwrap();
    let transparency = trust.transparency.clone().unwrap();
    let asked = trust.ask_logs(&transparency, Monitor::CertSpotter, &name);
    asked.await.unwrap();
    assert_eq!(trust.reports()[0].unknown_certificates, []);
}

/// What a look told is not lost with a ledger that cannot be read for once.
#[tokio::test]
async fn a_ledger_that_cannot_be_read_passes_nothing_over() {
    let state = tempfile::tempdir().unwrap();
    let logs = LogServer::start().await;
    let mut trust = watch_alone(&logs, state.path());
    trust.ledger = Arc::new(|| Err("no".to_owned()));
    let theirs = logs.issue(NAME);
    let name: Hostname = NAME.parse().unwrap();
    let transparency = trust.transparency.clone().unwrap();
    let asked = trust.ask_logs(&transparency, Monitor::CertSpotter, &name);
    asked.await.unwrap_err();
    trust.ledger = Arc::new(|| Ok(HashSet::new()));
    let asked = trust.ask_logs(&transparency, Monitor::CertSpotter, &name);
    asked.await.unwrap();
    assert_eq!(trust.reports()[0].unknown_certificates[0].key, theirs);
}

/// The other source does as well, and none is left out because it is the slow one.
#[tokio::test]
async fn an_order_needs_one_source_that_answers_now() {
    if is_missing() {
        return;
    }
    let keys = Keys::new(&["test", "de", "alice.de"]);
    let mine = order(7, ValidationMethod::TlsAlpn01);
    let dns = serve(&keys, &(caa() + ADDRESS));
    let (logs, dead) = (LogServer::start().await, LogServer::start().await);
    dead.log.lock().unwrap().instead = Some(BAD.to_owned());
    for (cert_spotter, crt_sh, is_allowed) in [
        (Some(&dead), Some(&logs), true),
        (None, Some(&logs), true),
        (None, Some(&dead), false),
        (Some(&dead), Some(&dead), false),
        (None, None, true),
    ] {
        let state = tempfile::tempdir().unwrap();
        let mut trust = home(&keys, &dns, &logs, state.path(), Level::Public);
        let transparency = trust.transparency.as_mut().unwrap();
        let roots = [logs.root(), dead.root()].map(Clone::clone);
        let (clock, boot) = (trust.clock.clone(), trust.boot_clock.clone());
        transparency.fetcher = Fetcher::new(&roots, None, clock, boot).unwrap();
        transparency.config.cert_spotter = cert_spotter.map(LogServer::url);
        transparency.config.crt_sh = crt_sh.map(LogServer::url);
        // What was heard before the name was protected is of no use.
        let name: Hostname = NAME.parse().unwrap();
        trust.change(&name, |it| {
            it.told_after = Some(0);
            it.watched.checked_at = Some(unix_ms(SystemTime::now()));
        });
        let _ = (logs.requests(), dead.requests());
        let decided = trust.may_order(&mine).await;
        assert_eq!(decided.is_ok(), is_allowed, "{decided:?}");
        let asked = cert_spotter.is_some() || crt_sh.is_some();
        let n_requests = logs.requests().len() + dead.requests().len();
        assert_eq!(n_requests > 0, asked);
        // An ended certificate of somebody else does not refuse the order; its alarm stays.
        trust.change(&name, |it| {
            it.is_clean = false;
            it.watched.unknown.push(crate::trust::Issuance {
                key: "ab".repeat(32),
                issuer: "CA".to_owned(),
                not_before: 0,
                not_after: 1,
                has_ended: true,
                monitor: Monitor::CrtSh,
                id: "1".to_owned(),
            });
        });
        assert_eq!(trust.may_order(&mine).await.is_ok(), is_allowed);
        assert_eq!(trust.reports()[0].unknown_certificates.len(), 1);
    }
}

/// It takes minutes, and an order asks somebody else.
#[tokio::test]
async fn a_long_look_at_one_source_keeps_nobody_from_the_other() {
    let state = tempfile::tempdir().unwrap();
    let logs = LogServer::start().await;
    let mut trust = watch_alone(&logs, state.path());
    let name: Hostname = NAME.parse().unwrap();
    let pause = Duration::from_secs(3600);
    trust.transparency.as_mut().unwrap().config.crt_sh_pause = pause;
    let transparency = trust.transparency.clone().unwrap();
    let (ours, theirs) = (logs.issue(NAME), logs.issue(NAME));
    trust.ledger = Arc::new(move || Ok(HashSet::from([ours.clone()])));
    let trust = Arc::new(trust);
    let (slow, asked, named) = (trust.clone(), transparency.clone(), name.clone());
    let look = tokio::spawn(async move {
        let _ = slow.ask_logs(&asked, Monitor::CrtSh, &named).await;
    });
    logs.until(|log| log.requests.iter().any(|it| it.contains("?q=")))
        .await;
    let asked = trust.ask_logs(&transparency, Monitor::CertSpotter, &name);
    asked.await.unwrap();
    assert_eq!(trust.reports()[0].unknown_certificates[0].key, theirs);
    assert!(!look.is_finished());
    look.abort();
}

/// One wrong reading of the clock is no longer wrong when it is set right, nor when asked again.
#[tokio::test]
async fn a_clock_that_is_set_right_is_good_at_once() {
    let state = tempfile::tempdir().unwrap();
    let logs = LogServer::start().await;
    let mut trust = watch_alone(&logs, state.path());
    let day = Duration::from_secs(24 * 60 * 60);
    let ahead = Arc::new(Mutex::new(day));
    let shown = ahead.clone();
    trust.clock = Arc::new(move || SystemTime::now() + *shown.lock().unwrap());
    let name: Hostname = NAME.parse().unwrap();
    let transparency = trust.transparency.clone().unwrap();
    let asked = trust.ask_logs(&transparency, Monitor::CertSpotter, &name);
    asked.await.unwrap();
    assert!(trust.is_clock_wrong());
    *ahead.lock().unwrap() = Duration::ZERO;
    assert!(!trust.is_clock_wrong());
    // It was the other one that was wrong, or a halted machine: doctor and orders ask again.
    let wrong = SystemTime::now() - day;
    logs.log.lock().unwrap().clock = Some(wrong);
    let asked = trust.ask_logs(&transparency, Monitor::CertSpotter, &name);
    asked.await.unwrap();
    assert!(trust.is_clock_wrong());
    logs.log.lock().unwrap().clock = None;
    logs.requests();
    trust.look_at_all().await;
    assert!(!trust.is_clock_wrong());
    assert_eq!(logs.requests(), ["/"]);
    trust.look_at_all().await;
    assert_eq!(logs.requests(), [""; 0]);
}
