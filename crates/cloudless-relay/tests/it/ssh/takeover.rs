//! Two connections with one key.

use std::time::Duration;

use super::{KEY, relay, relay_with};
use crate::support::{HOME_NAME, SlowPath, SshHome, Visitor, soon};

#[tokio::test]
async fn a_live_connection_stays_and_the_newcomer_hears_why_it_may_not() {
    let relay = relay().await;
    let mut first = SshHome::publish(relay.ssh, KEY, HOME_NAME).await;
    let mut second = SshHome::connect(relay.ssh).await;
    assert!(second.login(KEY).await);
    let _ = second.forward(HOME_NAME, 443).await;
    let said = second.ended().await.unwrap();
    assert!(
        said.contains("another connection with this key is alive"),
        "{said}"
    );
    relay.until_outcome("refused_other_instance", 1).await;
    let (_visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    first.visitor().await.expect(&hello).await;
}

#[tokio::test]
async fn a_dead_connection_is_replaced() {
    let relay = relay_with(|config| config.timings.probe = Duration::from_millis(200)).await;
    let path = SlowPath::to(relay.ssh).await;
    let dead = SshHome::publish(path.address, KEY, HOME_NAME).await;
    path.hold();
    let mut home = SshHome::publish(relay.ssh, KEY, HOME_NAME).await;
    let (_visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    home.visitor().await.expect(&hello).await;
    drop(dead);
    assert_eq!(relay.outcome("session").await, 2);
}

#[tokio::test]
async fn a_connection_that_ended_leaves_its_place_at_once() {
    let relay = relay().await;
    for _ in 0..5 {
        let home = SshHome::publish(relay.ssh, KEY, HOME_NAME).await;
        drop(home);
        relay.until(|status| !status.homes[0].online).await;
    }
    assert_eq!(relay.outcome("refused_other_instance").await, 0);
}

#[tokio::test]
async fn a_home_that_answers_nothing_is_offline_in_time() {
    let relay = relay_with(|config| {
        config.timings.ping_interval = Duration::from_millis(50);
        config.timings.dead_after = Duration::from_millis(300);
    })
    .await;
    let path = SlowPath::to(relay.ssh).await;
    let home = SshHome::publish(path.address, KEY, HOME_NAME).await;
    relay
        .until(|status| status.homes[0].round_trip.is_some())
        .await;
    path.hold();
    soon(relay.until(|status| !status.homes[0].online)).await;
    relay.until_outcome("tunnel_silent", 1).await;
    drop(home);
}

over_ipv6! {
    a_live_connection_stays_and_the_newcomer_hears_why_it_may_not,
    a_dead_connection_is_replaced,
    a_connection_that_ended_leaves_its_place_at_once,
    a_home_that_answers_nothing_is_offline_in_time,
}
