use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// A clock that is a number of seconds, the number, and what is told.
fn watched() -> (Arc<AtomicU64>, watch::Receiver<Happened>, CancellationToken) {
    let seconds = Arc::new(AtomicU64::new(1000));
    let (sender, receiver) = watch::channel(Happened::default());
    let shutdown = CancellationToken::new();
    let clock: BootClock = Arc::new({
        let seconds = seconds.clone();
        move || Duration::from_secs(seconds.load(Ordering::Relaxed))
    });
    let task = watch(clock, sender, shutdown.clone());
    drop(tokio::task::spawn_local(task));
    (seconds, receiver, shutdown)
}

#[tokio::test(start_paused = true, flavor = "local")]
async fn an_hour_of_sleep_is_noticed_within_a_second_and_told_once() {
    let (seconds, mut happened, _shutdown) = watched();
    sleep(Duration::from_millis(2500)).await;
    seconds.fetch_add(3600, Ordering::Relaxed);
    sleep(LOOK).await;
    assert_eq!(happened.borrow_and_update().wakes, 1);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(happened.borrow().wakes, 1);
}

#[tokio::test(start_paused = true, flavor = "local")]
async fn a_busy_machine_has_not_slept() {
    let (seconds, happened, _shutdown) = watched();
    for _ in 0..10 {
        seconds.fetch_add(9, Ordering::Relaxed);
        sleep(LOOK).await;
    }
    assert_eq!(happened.borrow().wakes, 0);
}

#[tokio::test(start_paused = true, flavor = "local")]
async fn it_ends_with_the_run() {
    let (_seconds, mut happened, shutdown) = watched();
    shutdown.cancel();
    happened.changed().await.unwrap_err();
}
