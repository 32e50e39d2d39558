//! Clients and visitors that mean harm.

use std::time::Duration;

use cloudless_relay::admin::Command;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{KEY, OTHER_NAME, relay, relay_with};
use crate::support::{HOME_NAME, SshHome, Visitor, soon};

/// Another home of the same relay, which has to go on whatever the first one does.
async fn goes_on(home: &mut SshHome, address: std::net::SocketAddr) {
    let (mut visitor, hello) = Visitor::hello(address, OTHER_NAME).await;
    let mut forwarded = home.visitor().await;
    forwarded.expect(&hello).await;
    forwarded.send(b"fine").await;
    visitor.expect(b"fine").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_that_does_not_read_costs_itself_and_no_other() {
    let relay = relay_with(|config| config.limits.queued_bytes_per_home = 4 << 20).await;
    let mut home = SshHome::publish(relay.ssh, KEY, HOME_NAME).await;
    let (mut stalled, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut stream = home.visitor().await;
    stream.expect(&hello).await;
    let sending = tokio::spawn(async move {
        while stream.channel.data_bytes(vec![0; 256 * 1024]).await.is_ok() {}
    });
    for _ in 0..20 {
        let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
        let mut forwarded = home.visitor().await;
        forwarded.expect(&hello).await;
        let answer = vec![7; 100_000];
        forwarded.send(&answer).await;
        visitor.expect(&answer).await;
    }
    relay.until_outcome("visitor_stalled", 1).await;
    stalled.gone().await;
    // The client library goes on waiting for a window that never comes.
    sending.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_that_reads_slowly_gets_all_of_it() {
    let relay = relay().await;
    let mut home = SshHome::publish(relay.ssh, KEY, HOME_NAME).await;
    let (mut slow, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut stream = home.visitor().await;
    stream.expect(&hello).await;
    // More than may wait for one visitor, who begins to read when nearly as much waits.
    let bulk: Vec<u8> = (0..40_000_000_u32).map(|n| n.to_le_bytes()[2]).collect();
    let sent = bulk.clone();
    let (begin, begun) = tokio::sync::oneshot::channel();
    let sending = tokio::spawn(async move {
        let (first, rest) = sent.split_at(16_000_000);
        stream.channel.data_bytes(first.to_vec()).await.unwrap();
        begin.send(()).unwrap();
        stream.channel.data_bytes(rest.to_vec()).await.unwrap();
        stream.channel.eof().await.unwrap();
        stream.expect_eof().await;
        stream.channel.close().await.unwrap();
    });
    soon(begun).await.unwrap();
    let mut received = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let n = soon(slow.stream.read(&mut buffer)).await.unwrap();
        if n == 0 {
            break;
        }
        received.extend_from_slice(&buffer[..n]);
        tokio::task::yield_now().await;
    }
    assert!(received == bulk);
    slow.finish().await;
    soon(sending).await.unwrap();
}

#[tokio::test]
async fn whoever_asks_without_end_is_ended() {
    let relay = relay().await;
    relay.allow_ssh(OTHER_NAME, 2).await;
    let mut other = SshHome::publish(relay.ssh, 2, OTHER_NAME).await;
    let flooding = SshHome::publish(relay.ssh, KEY, HOME_NAME).await;
    while !flooding.handle.is_closed() {
        let _ = soon(flooding.handle.channel_open_session()).await;
    }
    let said = flooding.ended().await.unwrap();
    assert!(said.contains("too many requests"), "{said}");
    let flooding = SshHome::publish(relay.ssh, KEY, HOME_NAME).await;
    for n in 0..10_000 {
        if flooding
            .handle
            .tcpip_forward(format!("n{n}.example.test"), 443)
            .await
            .is_err()
            && flooding.handle.is_closed()
        {
            break;
        }
    }
    assert!(flooding.handle.is_closed());
    goes_on(&mut other, relay.address()).await;
}

#[tokio::test]
async fn what_is_no_ssh_ends_at_once_and_what_says_nothing_in_time() {
    let relay = relay_with(|config| {
        config.timings.client_hello = Duration::from_millis(300);
        config.timings.ssh_login = Duration::from_millis(300);
    })
    .await;
    let garbage: [&[u8]; 5] = [
        b"\0\0\0\0",
        b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n",
        b"SSH-1.5-old\r\n",
        &[b'S'; 5000],
        // A packet of a length that none has.
        b"SSH-2.0-x\r\n\xff\xff\xff\xff\x04",
    ];
    for bytes in garbage {
        let mut client = Visitor::connect(relay.ssh).await;
        let _ = client.stream.write_all(bytes).await;
        client.gone().await;
    }
    // Half-open handshakes, at each of their steps.
    let mut clients = Vec::new();
    for bytes in [
        &b""[..],
        b"SSH-2.0-",
        b"SSH-2.0-x\r\n",
        b"SSH-2.0-x\r\n\0\0\0",
    ] {
        let mut client = Visitor::connect(relay.ssh).await;
        client.send(bytes).await;
        clients.push(client);
    }
    for mut client in clients {
        client.gone().await;
    }
    let status = relay.status().await;
    let count = |class: &str| status.outcomes.get(class).copied().unwrap_or(0);
    assert_eq!(
        count("ssh_handshake_failed") + count("ssh_login_timeout"),
        9
    );
}

#[tokio::test]
async fn of_many_that_log_in_never_the_oldest_go() {
    let relay = relay_with(|config| config.limits.handshakes = 4).await;
    let mut clients = Vec::new();
    for _ in 0..12 {
        let mut client = Visitor::connect(relay.ssh).await;
        client.send(b"SSH-2.0-x\r\n").await;
        clients.push(client);
    }
    relay.until_outcome("handshake_limit", 8).await;
    let _home = SshHome::publish(relay.ssh, KEY, HOME_NAME).await;
    for client in &mut clients[..8] {
        client.gone().await;
    }
}

#[tokio::test]
async fn a_neighbor_on_the_same_address_locks_no_home_out() {
    let relay = relay_with(|config| config.limits.connections_per_source = 2).await;
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(Visitor::connect(relay.ssh).await);
    }
    let _home = SshHome::publish(relay.ssh, KEY, HOME_NAME).await;
    relay.until_outcome("source_limit", 4).await;
    for client in &mut silent[..4] {
        client.gone().await;
    }
}

/// A home's connection whose client reads nothing.
#[tokio::test]
async fn a_home_that_takes_nothing_holds_nobody_up() {
    let relay = relay_with(|config| {
        config.timings.ping_interval = Duration::from_millis(100);
        config.timings.dead_after = Duration::from_millis(500);
        config.timings.connect = Duration::from_millis(200);
        config.hold = Duration::from_millis(300);
    })
    .await;
    relay.allow_ssh(OTHER_NAME, 2).await;
    let mut other = SshHome::publish(relay.ssh, 2, OTHER_NAME).await;
    let path = crate::support::SlowPath::to(relay.ssh).await;
    let deaf = SshHome::publish(path.address, KEY, HOME_NAME).await;
    path.hold();
    let (mut visitor, _) = Visitor::hello(relay.address(), HOME_NAME).await;
    goes_on(&mut other, relay.address()).await;
    visitor.gone().await;
    relay
        .until(|status| status.homes.iter().filter(|home| home.online).count() == 1)
        .await;
    let hostname = HOME_NAME.parse().unwrap();
    relay.command(&Command::Revoke { hostname }).await;
    drop(deaf);
}

over_ipv6! {
    a_visitor_that_does_not_read_costs_itself_and_no_other,
    a_visitor_that_reads_slowly_gets_all_of_it,
    whoever_asks_without_end_is_ended,
    what_is_no_ssh_ends_at_once_and_what_says_nothing_in_time,
    of_many_that_log_in_never_the_oldest_go,
    a_neighbor_on_the_same_address_locks_no_home_out,
    a_home_that_takes_nothing_holds_nobody_up,
}
