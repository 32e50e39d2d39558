//! How the relay stops.

use std::time::Duration;

use cloudless_proto::control::FromRelay;
use tokio::net::TcpStream;

use crate::support::{HOME_NAME, HomeKey, SshHome, TestRelay, Visitor, WebServer, soon};

#[tokio::test(flavor = "multi_thread")]
async fn homes_are_told_and_visitors_may_finish() {
    let relay =
        TestRelay::start_with(|config| config.timings.drain_idle = Duration::from_secs(10)).await;
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
async fn homes_that_came_by_ssh_are_told_and_their_visitors_may_finish() {
    const KEY: u8 = 1;
    let relay =
        TestRelay::start_with(|config| config.timings.drain_idle = Duration::from_secs(10)).await;
    relay.allow_ssh(HOME_NAME, KEY).await;
    let mut home = SshHome::publish(relay.ssh, KEY, HOME_NAME).await;
    let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut forwarded = home.visitor().await;
    forwarded.expect(&hello).await;

    relay.shutdown.cancel();
    while TcpStream::connect(relay.ssh).await.is_ok() {}
    forwarded.send(b"the rest").await;
    forwarded.channel.eof().await.unwrap();
    visitor.expect(b"the rest").await;
    assert!(!relay.running.is_finished());
    visitor.finish().await;
    forwarded.expect_eof().await;
    forwarded.channel.close().await.unwrap();
    let said = home.ended().await.unwrap();
    assert!(said.contains("is started anew"), "{said}");
    soon(relay.running).await.unwrap().unwrap();
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
async fn nobody_who_is_idle_keeps_the_next_process_waiting() {
    let web_server = WebServer::start().await;
    let relay = TestRelay::start_with(|config| {
        config.fallback.https = Some(web_server.address().into());
        config.timings.drain = Duration::from_secs(3600);
        config.timings.drain_idle = Duration::from_millis(100);
    })
    .await;
    relay.enroll(HomeKey(2), "offline.example.test").await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let mut visitors = Vec::new();
    // Of a home, that has said something,
    let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut stream = home.accept(&hello).await;
    stream.send(b"answer").await.unwrap();
    visitor.expect(b"answer").await;
    visitors.push(visitor);
    // or nothing yet,
    let (visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let _silent = home.accept(&hello).await;
    visitors.push(visitor);
    // of one that is away,
    let (visitor, _) = Visitor::hello(relay.address(), "offline.example.test").await;
    visitors.push(visitor);
    // of the fallback,
    let (visitor, hello) = Visitor::hello(relay.address(), "unknown.example.test").await;
    let mut served = web_server.accept().await;
    served.expect(&hello).await;
    visitors.push(visitor);
    // and of nobody yet, on both ports.
    visitors.push(Visitor::connect(relay.address()).await);
    visitors.push(Visitor::connect(relay.http_address()).await);

    relay.shutdown.cancel();
    for visitor in &mut visitors {
        visitor.gone().await;
    }
    drop(visitors);
    soon(relay.running).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_visitors_it_stops_at_once() {
    let relay =
        TestRelay::start_with(|config| config.timings.drain = Duration::from_secs(3600)).await;
    let _home = relay.home(HomeKey(1), HOME_NAME).await;
    relay.shutdown.cancel();
    soon(relay.running).await.unwrap().unwrap();
}

over_ipv6! {
    homes_are_told_and_visitors_may_finish,
    homes_that_came_by_ssh_are_told_and_their_visitors_may_finish,
    visitors_that_do_not_finish_are_cut,
    nobody_who_is_idle_keeps_the_next_process_waiting,
    without_visitors_it_stops_at_once,
}
