//! A home that sleeps for longer than its certificate lives.

use std::future::pending;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

use super::failures::seconds_until;
use super::{Bed, PATIENCE, Wish, pebble};

/// Renewed at half of that.
const LIFE_S: u64 = 8;
/// Home notices that it has slept for this long.
const NAP: Duration = Duration::from_secs(13);

fn signal(bed: &Bed, signal: Signal) {
    let home = i32::try_from(bed.pair.home_pid()).unwrap();
    kill_process(Pid::from_raw(home).unwrap(), signal).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_long_sleep_nobody_is_shown_what_has_expired_and_the_renewal_comes_first() {
    if !pebble::is_installed() {
        return;
    }
    let bed = Bed::start(Wish {
        validity_s: Some(LIFE_S),
        ..Wish::default()
    });
    let before = bed.await_certificate();
    let phone = bed.phone();
    // It sleeps until its certificate is over, and a phone comes before it wakes.
    signal(&bed, Signal::STOP);
    let left = u64::try_from(seconds_until(&before["expires_at"]).max(0)).unwrap();
    let over = Duration::from_secs(left + 2);
    let _ = timeout(over, pending::<()>()).await;
    let early = phone.clone();
    let mut early = tokio::spawn(async move { early.connect().await.map(drop) });
    let waits = timeout(Duration::from_millis(200), &mut early).await;
    assert!(waits.is_err(), "a home that sleeps has answered");
    signal(&bed, Signal::CONT);

    let is_expired = |failure: &(dyn std::error::Error + Send + Sync)| {
        let text = format!("{failure} {failure:?}");
        text.contains("xpired")
    };
    if let Err(failure) = early.await.unwrap() {
        assert!(!is_expired(&*failure), "{failure:?}");
    }
    let end = Instant::now() + PATIENCE;
    loop {
        match phone.connect().await {
            Ok(_) => break,
            Err(failure) => assert!(!is_expired(&*failure), "{failure:?}"),
        }
        assert!(Instant::now() < end, "no renewal: {:#}", bed.row());
    }
    assert_ne!(bed.row()["sha256"], before["sha256"]);
}

/// By the authority's clock the certificate was not good yet. It is asked again, and nobody has to order.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_right_again_serves_the_name_without_another_order() {
    if !pebble::is_installed() {
        return;
    }
    let bed = Bed::start(Wish::default());
    let before = bed.await_certificate();
    let phone = bed.phone();
    phone.names().await;
    bed.front.tricks().ahead_s = -24 * 60 * 60;
    let renewed = bed.renew().expect(1);
    assert!(renewed.stderr.contains("clock"), "{renewed:?}");
    assert!(
        phone.connect().await.is_err(),
        "served by the clock of a day ago"
    );
    bed.front.tricks().ahead_s = 0;
    signal(&bed, Signal::STOP);
    let _ = timeout(NAP, pending::<()>()).await;
    signal(&bed, Signal::CONT);
    let end = Instant::now() + PATIENCE;
    while phone.connect().await.is_err() {
        assert!(Instant::now() < end, "not served: {:#}", bed.row());
    }
    assert_eq!(bed.row()["sha256"], before["sha256"]);
    assert_eq!(bed.front.tricks().orders.len(), 1);
}
