//! A web server whose certificate covers a home's name.

use std::sync::Arc;
use std::time::Duration;

use cloudless_relay::Status;
use cloudless_relay::admin::{Command, Reply};
use rustls::ServerConfig;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::support::{HOME_NAME, HomeKey, TestRelay};

/// A web server with a certificate for `names`, on a listener of either family.
fn web_server(listener: TcpListener, names: &[&str], protocol: &[u8]) -> JoinHandle<()> {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let certified = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.into())
        .unwrap();
    config.alpn_protocols = vec![protocol.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let _ = stream.read(&mut [0]).await;
                }
            });
        }
    })
}

async fn relay_beside(address: std::net::SocketAddr) -> TestRelay {
    TestRelay::start_with(|config| {
        config.fallback.https = Some(address.into());
        config.timings.certificates = Some(Duration::from_millis(20));
    })
    .await
}

async fn invite(relay: &TestRelay, hostname: &str) -> bool {
    let command = Command::Invite {
        hostname: hostname.parse().unwrap(),
        ttl_s: 600,
        replace: false,
    };
    match relay.command(&command).await {
        Reply::Invited { covered_by, .. } => covered_by.is_some(),
        reply => panic!("{reply:?}"),
    }
}

fn covered(status: &Status) -> Vec<&str> {
    let servers = status.servers.iter();
    let covers = servers.flat_map(|it| &it.covers);
    covers.map(cloudless_proto::Hostname::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_that_covers_a_home_is_told_to_status_and_invite_until_it_is_gone() {
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(local).await.unwrap();
        let address = listener.local_addr().unwrap();
        let relay = relay_beside(address).await;
        relay.enroll(HomeKey(1), HOME_NAME).await;
        relay.enroll(HomeKey(1), "below.home.example.test").await;
        let wildcard = web_server(listener, &["*.example.test"], b"h2");
        relay.until(|status| !covered(status).is_empty()).await;
        // A wildcard stands for one label.
        assert_eq!(covered(&relay.status().await), [HOME_NAME]);
        assert!(invite(&relay, "other.example.test").await);
        assert!(!invite(&relay, "home.example.org").await);

        wildcard.abort();
        let _ = wildcard.await;
        let listener = TcpListener::bind(address).await.unwrap();
        let _own = web_server(listener, &["www.example.test"], b"h2");
        relay.until(|status| covered(status).is_empty()).await;
        assert!(!invite(&relay, "other.example.test").await);
    }
}

/// Nothing is reused without HTTP/2; the second server shows that looks are taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_http2_is_no_danger() {
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fast = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (plain_at, fast_at) = (plain.local_addr().unwrap(), fast.local_addr().unwrap());
    let relay = TestRelay::start_with(|config| {
        config.timings.certificates = Some(Duration::from_secs(3600));
        for (pattern, address) in [("a.example.test", plain_at), ("b.example.test", fast_at)] {
            let servers = cloudless_relay::Servers {
                https: Some(address.into()),
                ..Default::default()
            };
            config.routes.0.insert(pattern.parse().unwrap(), servers);
        }
    })
    .await;
    let _plain = web_server(plain, &["*.example.test"], b"http/1.1");
    let _fast = web_server(fast, &["*.example.test"], b"h2");
    // The join makes the relay look at once.
    relay.enroll(HomeKey(1), HOME_NAME).await;
    let status = relay.until(|status| !covered(status).is_empty()).await;
    for server in &status.servers {
        let is_danger = server.address == fast_at.into();
        assert_eq!(!server.covers.is_empty(), is_danger, "{server:?}");
    }
}
