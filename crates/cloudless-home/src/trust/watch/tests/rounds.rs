//! When names and logs are looked at.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::*;
use crate::surroundings::Happened;

/// A home to which nothing happens.
pub(super) fn nothing() -> watch::Receiver<Happened> {
    watch::channel(Happened::default()).1
}

/// A laptop was shut for a day: timers stood still, and it looks when it wakes.
#[tokio::test]
async fn what_fell_due_in_sleep_is_looked_at_on_waking() {
    if is_missing() {
        return;
    }
    let keys = Keys::new(&["test", "de", "alice.de"]);
    let good = serve(&keys, &(caa() + ADDRESS));
    let logs = LogServer::start().await;
    let state = tempfile::tempdir().unwrap();
    let mut trust = home(&keys, &good, &logs, state.path(), Level::Public);
    let slept = Arc::new(AtomicU64::new(0));
    let (awake, sleeping) = (boot_clock(), slept.clone());
    trust.boot_clock =
        Arc::new(move || awake() + Duration::from_secs(sleeping.load(Ordering::Relaxed)));
    let name: Hostname = NAME.parse().unwrap();
    trust.change(&name, |it| it.account = Some(account()));
    let trust = Arc::new(trust);
    let (sender, happened) = watch::channel(Happened::default());
    let shutdown = CancellationToken::new();
    let watch = tokio::spawn(trust.clone().keep(happened, shutdown.clone()));
    let n_asked = |log: &Log| {
        let requests = log.requests.iter();
        requests.filter(|it| it.contains("?domain")).count()
    };
    logs.until(|log| n_asked(log) == 1).await;
    let seen_at = || trust.kept(&name).protected_at;
    while seen_at().is_none() {
        tokio::task::yield_now().await;
    }
    trust.change(&name, |it| it.protected_at = Some(1));
    // Nothing is due yet.
    sender.send_modify(|it| it.changes += 1);
    let theirs = logs.issue(NAME);
    slept.store(24 * 60 * 60, Ordering::Relaxed);
    sender.send_modify(|it| it.wakes += 1);
    logs.until(|log| log.alarms.iter().any(|it| it["key"] == *theirs))
        .await;
    while seen_at() == Some(1) {
        tokio::task::yield_now().await;
    }
    shutdown.cancel();
    watch.await.unwrap();
}
