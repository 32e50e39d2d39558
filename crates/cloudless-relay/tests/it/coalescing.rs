//! A web server whose certificate covers a home's name.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cloudless_relay::admin::{Command, Reply, execute_offline};
use cloudless_relay::{Coverage, Registry, Reread, Servers, Source, Status, coverage};
use rustls::ServerConfig;
use rustls::server::ResolvesServerCertUsingSni;
use rustls::sign::CertifiedKey;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::support::{HOME_NAME, HomeKey, TestRelay, Visitor, test_config};

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
    serve(listener, config)
}

/// A web server that ends the handshake for every name but `name`, as nginx does with
/// `ssl_reject_handshake`, and has a wildcard there.
fn picky_web_server(listener: TcpListener, name: &str) -> JoinHandle<()> {
    let wildcard = vec!["*.example.test".to_owned()];
    let certified = rcgen::generate_simple_self_signed(wildcard).unwrap();
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = vec![certified.cert.der().clone()];
    let certified = CertifiedKey::from_der(chain, key.into(), &provider).unwrap();
    let mut by_name = ResolvesServerCertUsingSni::new();
    by_name.add(name, certified).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(by_name));
    config.alpn_protocols = vec![b"h2".to_vec()];
    serve(listener, config)
}

fn serve(listener: TcpListener, config: ServerConfig) -> JoinHandle<()> {
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

async fn relay_beside(address: SocketAddr) -> TestRelay {
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
            let servers = Servers {
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

/// The web server is the fallback, or that of a route; for a wildcard route any name below it will do.
#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_that_is_shown_for_one_name_alone_is_found() {
    for (pattern, name) in [
        (Some("www.example.test"), "www.example.test"),
        (Some("*.example.test"), "x.example.test"),
        (None, "www.example.test"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let servers = Servers {
            https: Some(listener.local_addr().unwrap().into()),
            ..Servers::default()
        };
        let _server = picky_web_server(listener, name);
        let relay = TestRelay::start_with(|config| {
            config.timings.certificates = Some(Duration::from_millis(20));
            match pattern {
                Some(pattern) => drop(config.routes.0.insert(pattern.parse().unwrap(), servers)),
                None => config.fallback = servers,
            }
        })
        .await;
        relay.enroll(HomeKey(1), HOME_NAME).await;
        if pattern.is_none() {
            // Somebody visits it.
            let (mut visitor, _) = Visitor::hello(relay.address(), name).await;
            visitor.expect(&[22, 3, 3]).await;
        }
        relay.until(|status| covered(status) == [HOME_NAME]).await;
    }
}

/// Both whether it is reached, without which `status` does not name it, and its certificate.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_web_server_is_looked_at_with_the_reload_that_brings_it() {
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(local).await.unwrap();
        let address = listener.local_addr().unwrap();
        let source = Source::new(move || {
            let mut config = test_config();
            config.fallback.https = Some(address.into());
            let waiting = Vec::new();
            Ok(Reread { config, waiting })
        });
        let relay = TestRelay::start_with(|config| {
            config.timings.certificates = Some(Duration::from_secs(3600));
            config.timings.health_check = Duration::from_secs(3600);
            config.source = Some(source);
        })
        .await;
        relay.enroll(HomeKey(1), HOME_NAME).await;
        let _wildcard = web_server(listener, &["*.example.test"], b"h2");
        relay.command(&Command::Reload).await;
        relay.until(|status| covered(status) == [HOME_NAME]).await;
    }
}

#[test]
fn without_a_relay_an_invite_says_that_nobody_has_looked() {
    for has_web_server in [true, false] {
        let directory = tempfile::TempDir::new().unwrap();
        let registry = Registry::open(directory.path()).unwrap();
        let mut config = test_config();
        if has_web_server {
            config.fallback.https = Some(SocketAddr::from(([127, 0, 0, 1], 9)).into());
        }
        let invite = Command::Invite {
            hostname: HOME_NAME.parse().unwrap(),
            ttl_s: 60,
            replace: false,
        };
        let Reply::Invited { not_looked, .. } = execute_offline(&config, &registry, invite) else {
            panic!("no join code");
        };
        assert_eq!(not_looked, has_web_server);
    }
}

/// Each of them takes a connection and says nothing.
#[tokio::test(start_paused = true)]
async fn a_look_without_a_relay_ends_however_many_web_servers_are_silent() {
    let silent = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let mut config = test_config();
    config.timings.connect = Duration::from_secs(5);
    for n in 0..50 {
        let servers = Servers {
            https: Some(SocketAddr::from(([127, 0, 0, n + 1], address.port())).into()),
            ..Servers::default()
        };
        let pattern = format!("{n}.example.org").parse().unwrap();
        config.routes.0.insert(pattern, servers);
    }
    let begun = Instant::now();
    let found = coverage(&config, &HOME_NAME.parse().unwrap())
        .await
        .unwrap();
    assert_eq!(found, Coverage::Unknown);
    assert!(begun.elapsed() <= Duration::from_secs(10), "{begun:?}");
}
