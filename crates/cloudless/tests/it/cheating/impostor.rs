//! A relay with the relay's own key that runs another program: what it says of visitors, whom it
//! leads where, and what it plays again.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cloudless_proto::control::{self, FromRelay};
use cloudless_proto::trust::{Asset, Attacker, Defenses, Outcome, outcome};
use http::StatusCode;
use http_body_util::Full;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use self::relay::{FakeRelay, FakeSession};
use self::visitor::{http1, pipe};
use crate::cards;
use crate::client::{self, BOOK};
use crate::pair::Pair;

// The relay that the tests of home play.
#[expect(dead_code, reason = "the tests of home ask for more")]
#[path = "../../../../cloudless-home/tests/it/relay.rs"]
pub(super) mod relay;
#[expect(dead_code, reason = "the tests of home ask for more")]
#[path = "../../../../cloudless-home/tests/it/visitor.rs"]
pub(super) mod visitor;

const PATIENCE: Duration = Duration::from_secs(60);
const NAME: &str = "home.alice.test";

/// A home whose relay was replaced by its own owner.
pub(super) struct Impostor {
    pub(super) pair: Pair,
    pub(super) session: FakeSession,
    pub(super) relay: FakeRelay,
}

impl Impostor {
    async fn before(hostname: &str) -> Self {
        Self::configured(hostname, "").await
    }

    /// The same with more in home.toml.
    pub(super) async fn configured(hostname: &str, more: &str) -> Self {
        let mut pair = Pair::start_as(hostname);
        pair.kill_home();
        pair.kill_relay();
        let key = pair.folder("relay").join("relay.key");
        let mut relay = FakeRelay::bind_at(Ipv4Addr::LOCALHOST.into()).await;
        relay.prove(&PrivatePkcs8KeyDer::from_pem_file(key).unwrap());
        pair.lead_home_over(relay.address());
        let file = pair.folder("home").join("home.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(file, format!("{text}\n{more}")).unwrap();
        pair.start_home();
        let session = relay.welcome(hostname).await;
        pair.await_tunnel();
        Self {
            pair,
            session,
            relay,
        }
    }

    /// TLS of a phone with home, under any name, over a stream that the relay has opened for another.
    async fn tls(
        &self,
        led_to: &str,
        server_name: &str,
        config: Arc<ClientConfig>,
    ) -> io::Result<TlsStream<DuplexStream>> {
        let stream = pipe(self.session.connect(led_to).await);
        let name = ServerName::try_from(server_name.to_owned()).unwrap();
        TlsConnector::from(config).connect(name, stream).await
    }

    fn config(&self) -> Arc<ClientConfig> {
        Arc::new(client::tls(&self.pair.ca_file()))
    }
}

fn ask(host: &str, authorization: &str) -> http::Request<Full<bytes::Bytes>> {
    let mut request = visitor::request("PROPFIND", BOOK, authorization);
    request.headers_mut().insert("host", host.parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_relay_says_of_a_visitors_address_lets_nobody_in_and_makes_no_guess_cheaper() {
    let mut impostor = Impostor::before(NAME).await;
    let phone = impostor.pair.phone();
    let config = impostor.config();
    let begin = Instant::now();
    for visitor in [
        Some("127.0.0.1:25683"),
        Some("[::1]:25683"),
        Some("192.0.2.1:1"),
        Some("192.0.2.2:1"),
        Some("[2001:db8::3]:1"),
        Some("nobody"),
        None,
    ] {
        impostor.session.visitor = visitor;
        let tls = impostor.tls(NAME, NAME, config.clone()).await.unwrap();
        let guessed = http1(tls, ask(NAME, "Basic bWU6Z3Vlc3M=")).await;
        assert_eq!(guessed.status(), StatusCode::UNAUTHORIZED, "{visitor:?}");
    }
    // The fourth guess for a user waits, and each one twice as long as the one before, whoever asks.
    let waits = Duration::from_millis(100 + 200 + 400 + 800);
    assert!(begin.elapsed() >= waits, "{:?}", begin.elapsed());
    let tls = impostor.tls(NAME, NAME, config).await.unwrap();
    let right = http1(tls, ask(NAME, phone.authorization())).await;
    assert_eq!(right.status(), StatusCode::MULTI_STATUS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_that_is_led_to_another_home_learns_nothing_there() {
    let another = "home.bob.test";
    let (theirs, impostor) = (Pair::start_as(NAME), Impostor::before(another).await);
    let mut owner = impostor.pair.local_program().connect().await.unwrap();
    let card = cards::small("secret-of-bob");
    let put = owner.put("b.vcf", &card).await.unwrap();
    assert!(put.status.is_success());
    // The name that the phone wants is none of that home's, whatever the relay calls the visitor.
    let phone = client::tls(&theirs.ca_file());
    for led_to in [NAME, another] {
        let mut stream = pipe(impostor.session.connect(led_to).await);
        let hello = theirs.phone().hello();
        stream.write_all(&hello).await.unwrap();
        let mut answer = Vec::new();
        let ended = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        // Not an alert even, and no certificate.
        assert_eq!(
            (ended.unwrap().unwrap(), &answer[..]),
            (0, &b""[..]),
            "{led_to}"
        );
    }
    // A phone that took that home for its own would notice: it trusts no certificate of it,
    let refused = impostor.tls(another, another, Arc::new(phone)).await;
    assert!(refused.is_err());
    // and if it did, home would neither answer to the other name nor to the other login.
    let authorization = theirs.phone().authorization().to_owned();
    for (host, status) in [
        (NAME, StatusCode::MISDIRECTED_REQUEST),
        (another, StatusCode::UNAUTHORIZED),
    ] {
        let tls = impostor
            .tls(another, another, impostor.config())
            .await
            .unwrap();
        let answer = http1(tls, ask(host, &authorization)).await;
        assert_eq!(answer.status(), status);
        let body = String::from_utf8_lossy(answer.body());
        assert!(!body.contains("bob"), "{body}");
    }
    for defenses in Defenses::all() {
        for asset in Asset::ALL {
            let claimed = outcome(defenses, Attacker::OtherTenant, asset);
            assert_eq!(claimed, Outcome::Safe, "{defenses:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_visitor_has_said_does_nothing_when_it_is_played_again() {
    let mut impostor = Impostor::before(NAME).await;
    let pair = &impostor.pair;
    let authorization = pair.phone().authorization().to_owned();
    let mut owner = pair.local_program().connect().await.unwrap();
    let card = String::from_utf8(cards::small("replayed")).unwrap();
    let length = card.len();
    let request = format!(
        "PUT {BOOK}replayed.vcf HTTP/1.1\r\nhost: {NAME}\r\nauthorization: {authorization}\r\n\
         content-type: text/vcard\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{card}"
    );
    let config = impostor.config();
    // The second one goes on with the session of the first.
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let (stream, said) = recorded(pipe(impostor.session.connect(NAME).await));
        let name = ServerName::try_from(NAME).unwrap();
        let connected = TlsConnector::from(config.clone())
            .connect(name, stream)
            .await;
        let mut tls = connected.unwrap();
        tls.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tls.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        assert_eq!(tls.get_ref().1.handshake_kind(), Some(kind));
        drop(tls);
        let deleted = owner.delete("replayed.vcf").await.unwrap();
        assert!(deleted.status.is_success());

        let said = said.lock().unwrap().clone();
        assert!(said.len() > length, "all of it");
        let mut again = pipe(impostor.session.connect(NAME).await);
        let hello = 5 + usize::from(u16::from_be_bytes([said[3], said[4]]));
        again.write_all(&said[..hello]).await.unwrap();
        let mut answer = vec![0; 1];
        again.read_exact(&mut answer).await.unwrap();
        // Home may close before all of it is said.
        let _ = again.write_all(&said[hello..]).await;
        let ended = timeout(PATIENCE, again.read_to_end(&mut answer)).await;
        ended.expect("home ends it").unwrap();
        let gone = owner.get("replayed.vcf").await.unwrap();
        assert_eq!(gone.status, StatusCode::NOT_FOUND, "{kind:?}");
    }

    // A welcome again, with another name in it, is worth nothing either.
    let hostnames = [NAME, "evil.test"].map(|name| name.parse().unwrap());
    impostor.session.say(&FromRelay::Welcome {
        version: control::VERSION,
        software: "a test".to_owned(),
        hostnames: hostnames.to_vec(),
        keys: Vec::new(),
    });
    let evil = impostor.tls("evil.test", "evil.test", config.clone()).await;
    assert!(evil.is_err());
    let tls = impostor.tls(NAME, NAME, config).await.unwrap();
    let served = http1(tls, ask(NAME, &authorization)).await;
    assert_eq!(served.status(), StatusCode::MULTI_STATUS);
}

/// Keeps what is written to a stream.
fn recorded(mut stream: DuplexStream) -> (DuplexStream, Arc<Mutex<Vec<u8>>>) {
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    let said = Arc::<Mutex<Vec<u8>>>::default();
    let kept = said.clone();
    // It ends with the streams.
    tokio::spawn(async move {
        let (mut up, mut down) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        loop {
            tokio::select! {
                read = far.read(&mut up) => match read {
                    Ok(length) if length > 0 => {
                        kept.lock().unwrap().extend(&up[..length]);
                        if stream.write_all(&up[..length]).await.is_err() { return }
                    }
                    _ => return,
                },
                read = stream.read(&mut down) => match read {
                    Ok(length) if length > 0 => {
                        if far.write_all(&down[..length]).await.is_err() { return }
                    }
                    _ => return,
                },
            }
        }
    });
    (near, said)
}
