//! Whether the relay knows what visitors of a home meet.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use crate::support::{ALERT, HOME_NAME, SshHome, TestRelay, Visitor};

const KEY: u8 = 1;

/// Looks again whenever the status is asked for.
const OFTEN: Duration = Duration::from_millis(30);
/// Looks once, and takes that for the truth.
const ONCE: Duration = Duration::from_secs(24 * 60 * 60);

/// What is behind a home.
#[derive(Clone, Copy, Debug)]
enum Behind {
    Tls(&'static str, i32),
    PlainHttp,
    Silence,
    Close,
    /// A server that never comes to the end of its handshake.
    Endless,
    /// A server that says goodbye as soon as its part of the handshake is done, and goes on.
    Farewell,
}

impl Behind {
    /// Answers a home's visitors until the relay is gone.
    async fn serve(self, home: &mut SshHome) {
        let acceptor = self.acceptor();
        while let Some(forwarded) = home.visitors.recv().await {
            let mut stream = forwarded.channel.into_stream();
            match self {
                Self::Tls(..) => {
                    let accepted = acceptor.as_ref().unwrap().accept(stream).await;
                    if let Ok(mut stream) = accepted {
                        let _ = stream.read(&mut [0]).await;
                    }
                }
                Self::PlainHttp => {
                    let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
                }
                Self::Silence => {
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                }
                Self::Close => drop(stream),
                Self::Endless => {
                    // A record of a handshake message that does not end.
                    let record = [
                        &[22, 3, 3, 0x40, 0][..],
                        &[2, 0xff, 0xff, 0xff],
                        &[0; 0x3ffc],
                    ];
                    while stream.write_all(&record.concat()).await.is_ok() {}
                }
                Self::Farewell => {
                    let config = Arc::clone(acceptor.as_ref().unwrap().config());
                    let mut tls = rustls::ServerConnection::new(config).unwrap();
                    let mut hello = vec![0; 16 * 1024];
                    let n = stream.read(&mut hello).await.unwrap();
                    tls.read_tls(&mut &hello[..n]).unwrap();
                    tls.process_new_packets().unwrap();
                    tls.send_close_notify();
                    let mut said = Vec::new();
                    while tls.wants_write() {
                        tls.write_tls(&mut said).unwrap();
                    }
                    said.resize(said.len() + 16 * 1024, 0);
                    let _ = stream.write_all(&said).await;
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                }
            }
        }
    }

    fn acceptor(self) -> Option<TlsAcceptor> {
        let (name, until) = match self {
            Self::Tls(name, until) => (name, until),
            Self::Farewell => (HOME_NAME, 4000),
            _ => return None,
        };
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .unwrap();
        Some(TlsAcceptor::from(Arc::new(config)))
    }
}

async fn relay(every: Duration) -> TestRelay {
    let relay = TestRelay::start_with(|config| {
        config.timings.ssh_probe = Some(every);
        config.timings.connect = Duration::from_millis(500);
    });
    let relay = relay.await;
    relay.allow_ssh(HOME_NAME, KEY).await;
    relay
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_server_with_a_certificate_for_the_name_makes_it_online() {
    for (behind, expected) in [
        (Behind::Tls(HOME_NAME, 4000), None),
        (
            Behind::Tls("www.example.test", 4000),
            Some("for other names"),
        ),
        (Behind::Tls(HOME_NAME, 2021), Some("that has ended")),
        (Behind::PlainHttp, Some("does not speak TLS")),
        (Behind::Silence, Some("does not answer")),
        (Behind::Close, Some("closes connections before")),
        (Behind::Endless, Some("leads to")),
        (Behind::Farewell, None),
    ] {
        let relay = relay(OFTEN).await;
        let mut home = SshHome::publish(relay.ssh, KEY, HOME_NAME).await;
        let status = tokio::select! {
            () = behind.serve(&mut home) => panic!("{behind:?}: the connection ended"),
            status = relay.until(|status| status.homes[0].probe.is_some()) => status,
        };
        let row = &status.homes[0];
        assert!(row.since.is_some(), "{behind:?}: it is connected");
        assert_eq!(row.online, expected.is_none(), "{behind:?}: {row:?}");
        let error = row.probe.as_ref().unwrap().error.as_deref();
        assert_eq!(error.is_some(), expected.is_some(), "{behind:?}: {error:?}");
        assert!(
            error
                .unwrap_or_default()
                .contains(expected.unwrap_or_default()),
            "{error:?}"
        );
        // The relay is no visitor of its own.
        assert_eq!((row.visitors_total, row.bytes_up), (0, 0));
        assert_eq!(row.last_server_name, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_stops_to_answer_is_offline_and_online_when_it_is_back() {
    let relay = relay(OFTEN).await;
    let mut home = SshHome::publish(relay.ssh, KEY, HOME_NAME).await;
    let refuse = home.refusing();
    let watched = async {
        for _ in 0..2 {
            refuse.store(false, Ordering::Relaxed);
            relay.until(|status| status.homes[0].online).await;
            refuse.store(true, Ordering::Relaxed);
            let status = relay.until(|status| !status.homes[0].online).await;
            let error = status.homes[0].probe.clone().unwrap().error.unwrap();
            assert!(error.contains("does something listen"), "{error}");
        }
    };
    tokio::select! {
        () = Behind::Tls(HOME_NAME, 4000).serve(&mut home) => panic!("the connection ended"),
        () = watched => {}
    }
}

/// Whoever was turned away knows it before the next probe.
#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_that_is_refused_tells_at_once() {
    let relay = relay(ONCE).await;
    let mut home = SshHome::publish(relay.ssh, KEY, HOME_NAME).await;
    let refuse = home.refusing();
    let watched = async {
        relay.until(|status| status.homes[0].online).await;
        refuse.store(true, Ordering::Relaxed);
        assert!(
            relay.status().await.homes[0].online,
            "nobody has looked yet"
        );
        let (mut visitor, _) = Visitor::hello(relay.address(), HOME_NAME).await;
        assert_eq!(visitor.read_to_end().await, ALERT);
        assert!(!relay.status().await.homes[0].online);
    };
    tokio::select! {
        () = Behind::Tls(HOME_NAME, 4000).serve(&mut home) => panic!("the connection ended"),
        () = watched => {}
    }
}

/// A new session knows nothing of what the one before has found out, and a name that was just forwarded
/// is not online before it was looked at.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_for_granted_of_a_new_session() {
    let relay = relay(ONCE).await;
    let mut home = SshHome::publish(relay.ssh, KEY, HOME_NAME).await;
    tokio::select! {
        () = Behind::Tls(HOME_NAME, 4000).serve(&mut home) => panic!("the connection ended"),
        _ = relay.until(|status| status.homes[0].online) => {}
    }
    drop(home);
    relay.until(|status| status.homes[0].since.is_none()).await;
    let home = SshHome::publish(relay.ssh, KEY, HOME_NAME).await;
    home.refuse_visitors();
    let status = relay.until(|status| status.homes[0].since.is_some()).await;
    assert!(!status.homes[0].online);
}

over_ipv6! {
    only_a_server_with_a_certificate_for_the_name_makes_it_online,
    a_home_that_stops_to_answer_is_offline_and_online_when_it_is_back,
    a_visitor_that_is_refused_tells_at_once,
    nothing_is_taken_for_granted_of_a_new_session,
}
