//! How the relay stops.

use std::time::Duration;

use cloudless_proto::control::FromRelay;
use tokio::net::TcpStream;

use crate::support::{HOME_NAME, HomeKey, TestRelay, Visitor, soon};

#[tokio::test(flavor = "multi_thread")]
async fn homes_are_told_and_visitors_may_finish() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut stream = home.accept(&hello).await;

    relay.shutdown.cancel();
    let heard = home.hear().await;
    assert!(matches!(heard, Some(FromRelay::Drain { .. })), "{heard:?}");
    while TcpStream::connect(relay.address()).await.is_ok() {}

    stream.send(b"the rest").await.unwrap();
    stream.finish();
    visitor.expect(b"the rest").await;
    assert!(!relay.running.is_finished());
    visitor.finish().await;
    soon(relay.running).await.unwrap().unwrap();
    home.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_that_do_not_finish_are_cut() {
    let relay =
        TestRelay::start_with(|config| config.timings.drain = Duration::from_millis(100)).await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let _stream = home.accept(&hello).await;
    let _silent = Visitor::connect(relay.address()).await;
    relay.shutdown.cancel();
    soon(relay.running).await.unwrap().unwrap();
    visitor.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_visitors_it_stops_at_once() {
    let relay =
        TestRelay::start_with(|config| config.timings.drain = Duration::from_secs(3600)).await;
    let _home = relay.home(HomeKey(1), HOME_NAME).await;
    relay.shutdown.cancel();
    soon(relay.running).await.unwrap().unwrap();
}
