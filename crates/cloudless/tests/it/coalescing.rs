//! What a person is told about a web server whose certificate covers a home's name, and what to do.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::binary::{on, until};
use crate::pair::Pair;

/// Long enough for a loaded machine; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const HOME: &str = "home.example.test";
/// Of homes to come: the wildcard covers one of them.
const COVERED: &str = "other.example.test";
const NOT_COVERED: &str = "other.example.org";
/// How each piece of advice begins, what is said where nobody could look, and the line of the log.
const WRONG: &str = "the certificate of the server at ";
const NOT_LOOKED: &str =
    "not looked at, because a web server beside the relay shows no certificate";
const LOGGED: &str = "A web server beside the relay has a certificate for a home's name";

/// A web server that speaks HTTP/2 and has a certificate for this name.
fn web_server(listener: TcpListener, name: &str) -> JoinHandle<()> {
    let certified = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.into())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        let mut visits = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            visits.spawn(async move {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let _ = stream.read(&mut [0]).await;
                }
            });
        }
    })
}

/// What is wrong with the server at this address for a home of this name, and each way out of it.
fn advice(address: SocketAddr, hostname: &str) -> [String; 4] {
    [
        format!("{WRONG}{address} covers {hostname}"),
        "give the server a certificate with its own names and no wildcard".to_owned(),
        "or no HTTP/2".to_owned(),
        format!("or let it answer 421 for {hostname}"),
    ]
}

/// Whether an invitation says all that; it is there in any case.
#[track_caller]
fn invited_with_advice(relay: &Path, hostname: &str, address: SocketAddr) -> bool {
    let run = on(relay, &["relay", "invite", hostname]).expect(0);
    assert!(run.stdout.starts_with("cloudless1"), "{run:?}");
    let said = advice(address, hostname).map(|it| run.stderr.contains(&it));
    assert_eq!(said, [run.stderr.contains(WRONG); 4], "{run:?}");
    said[0]
}

fn covers(status: &serde_json::Value) -> bool {
    status["servers"][0]["covers"] == serde_json::json!([HOME])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sets_a_relay_up_beside_a_wildcard_is_told_what_is_wrong_and_what_to_do() {
    let pair = Pair::start_as(HOME);
    let relay = pair.folder("relay");
    let file = relay.join("relay.toml");
    let before = fs::read_to_string(&file).unwrap();
    let screen = || on(&relay, &["relay", "status"]).expect(0).stdout;
    for (n_told, local) in (0..).zip(["127.0.0.1:0", "[::1]:0"]) {
        let listener = TcpListener::bind(local).await.unwrap();
        let address = listener.local_addr().unwrap();
        let wildcard = web_server(listener, "*.example.test");
        let fallback = format!("[fallback]\nhttps = \"{address}\"\n");
        fs::write(&file, before.replacen("[fallback]\n", &fallback, 1)).unwrap();
        assert!(!screen().contains(WRONG));
        on(&relay, &["relay", "reload"]).expect(0);
        until(&relay, "relay", covers);
        let shown = screen();
        for said in advice(address, HOME) {
            assert!(shown.contains(&said), "{said:?} is not in {shown}");
        }
        assert!(invited_with_advice(&relay, COVERED, address));
        assert!(!invited_with_advice(&relay, NOT_COVERED, address));
        // Once, however often it is looked at.
        let begun = Instant::now();
        while pair.log("relay").matches(LOGGED).count() <= n_told {
            assert!(begun.elapsed() < PATIENCE, "it is not in the log");
            screen();
        }

        // As it was told to.
        wildcard.abort();
        let _ = wildcard.await;
        let _own = web_server(
            TcpListener::bind(address).await.unwrap(),
            "www.example.test",
        );
        on(&relay, &["relay", "reload"]).expect(0);
        until(&relay, "relay", |status| !covers(status));
        assert!(!screen().contains(WRONG));
        assert!(!invited_with_advice(&relay, COVERED, address));
        assert_eq!(pair.log("relay").matches(LOGGED).count(), n_told + 1);
    }
}

/// In the order of a first set-up: the first home is invited before the relay runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_without_a_relay_looks_at_the_web_server_itself() {
    let directory = tempfile::tempdir().unwrap();
    let relay = directory.path().join("relay");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    on(
        &relay,
        &["relay", "init", "--address", "relay.example.test"],
    )
    .expect(0);
    let file = relay.join("relay.toml");
    let before = fs::read_to_string(&file).unwrap();
    let fallback = format!("[fallback]\nhttps = \"{address}\"\n");
    fs::write(&file, before.replacen("[fallback]\n", &fallback, 1)).unwrap();

    let wildcard = web_server(listener, "*.example.test");
    assert!(invited_with_advice(&relay, COVERED, address));
    let without = on(&relay, &["relay", "invite", NOT_COVERED]).expect(0);
    for words in [WRONG, NOT_LOOKED] {
        assert!(!without.stderr.contains(words), "{without:?}");
    }

    wildcard.abort();
    let _ = wildcard.await;
    let later = on(&relay, &["relay", "invite", HOME]).expect(0);
    assert!(later.stdout.starts_with("cloudless1"), "{later:?}");
    let todo = "`cloudless relay status` says so";
    for words in [NOT_LOOKED, HOME, "wildcard", todo] {
        assert!(
            later.stderr.contains(words),
            "{words:?} is not in {later:?}"
        );
    }
}
