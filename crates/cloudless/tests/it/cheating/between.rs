//! Somebody between home and relay: a hotel's router, say. The tunnel cannot be answered or played
//! again there, and a leg, which is in clear between the two, gives nothing but noise.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cloudless_proto::leg::{self, PREFACE_LEN};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::impostor::relay::FakeRelay;
use crate::binary::{on, until};
use crate::cards;
use crate::client::Connection;
use crate::pair::Pair;

const PATIENCE: Duration = Duration::from_secs(60);
/// A phone whose bytes went elsewhere waits; this is long enough to see that.
const STALL: Duration = Duration::from_secs(2);
const NOISE: &[u8] = &[0x5a; 4096];

/// What is done with a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruse {
    Pass,
    /// Home is answered, and the relay never sees the leg.
    Answer,
    /// The relay is shown the ticket by somebody else, who keeps the leg.
    Hijack,
    /// The ticket's token is another.
    Forge,
    /// Bytes are others than they were, either way.
    Change,
}

#[derive(Default)]
struct Seen {
    /// What home has said in its last tunnel.
    tunnel: Vec<u8>,
    legs: usize,
    /// What came over legs.
    bytes: Vec<u8>,
    /// The ticket of the last leg that was passed on.
    preface: Vec<u8>,
}

/// The way from home to the relay, until it is dropped.
pub(super) struct Between {
    pub(super) address: SocketAddr,
    ruse: Arc<Mutex<Ruse>>,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Between {
    pub(super) async fn before(relay: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ruse = Arc::new(Mutex::new(Ruse::Pass));
        let seen = Arc::<Mutex<Seen>>::default();
        let (of_all, seen_by_all) = (ruse.clone(), seen.clone());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((home, _)) = listener.accept().await {
                let (ruse, seen) = (of_all.clone(), seen_by_all.clone());
                // The two ends see what it was.
                connections.spawn(async move { drop(serve(home, relay, &ruse, &seen).await) });
            }
        });
        Self {
            address,
            ruse,
            seen,
            task,
        }
    }

    /// From now on legs are done this to.
    pub(super) fn turn_to(&self, ruse: Ruse) {
        *self.ruse.lock().unwrap() = ruse;
    }

    pub(super) fn legs(&self) -> usize {
        self.seen.lock().unwrap().legs
    }

    /// How many bytes came over legs.
    fn bytes(&self) -> usize {
        self.seen.lock().unwrap().bytes.len()
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut home: TcpStream,
    relay: SocketAddr,
    ruse: &Mutex<Ruse>,
    seen: &Mutex<Seen>,
) -> std::io::Result<()> {
    home.set_nodelay(true)?;
    let mut first = [0; 1];
    home.read_exact(&mut first).await?;
    let mut to_relay = TcpStream::connect(relay).await?;
    to_relay.set_nodelay(true)?;
    if !leg::begins(&first) {
        seen.lock().unwrap().tunnel = first.to_vec();
        to_relay.write_all(&first).await?;
        let change = |bytes: &mut [u8]| seen.lock().unwrap().tunnel.extend(&*bytes);
        return pass(home, to_relay, change, |_| {}).await;
    }
    let mut preface = [0; PREFACE_LEN];
    preface[0] = first[0];
    home.read_exact(&mut preface[1..]).await?;
    seen.lock().unwrap().legs += 1;
    let ruse = *ruse.lock().unwrap();
    match ruse {
        Ruse::Answer => {
            drop(to_relay);
            home.write_all(NOISE).await?;
            // Home closes it once it has no more use for it.
            keep(&mut home, seen).await
        }
        Ruse::Hijack => {
            to_relay.write_all(&preface).await?;
            // Before that the relay would take it for no leg.
            to_relay.readable().await?;
            to_relay.write_all(NOISE).await?;
            keep(&mut to_relay, seen).await
        }
        Ruse::Forge => {
            preface[PREFACE_LEN - 1] ^= 1;
            to_relay.write_all(&preface).await?;
            copy_bidirectional(&mut home, &mut to_relay).await.map(drop)
        }
        Ruse::Pass | Ruse::Change => {
            to_relay.write_all(&preface).await?;
            seen.lock().unwrap().preface = preface.to_vec();
            let change = |bytes: &mut [u8]| {
                seen.lock().unwrap().bytes.extend(&*bytes);
                if ruse == Ruse::Change {
                    bytes[bytes.len() / 2] ^= 1;
                }
            };
            pass(home, to_relay, change, change).await
        }
    }
}

async fn keep(stream: &mut TcpStream, seen: &Mutex<Seen>) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        seen.lock().unwrap().bytes.extend(&buffer[..length]);
    }
}

async fn pass(
    home: TcpStream,
    relay: TcpStream,
    up: impl Fn(&mut [u8]),
    down: impl Fn(&mut [u8]),
) -> std::io::Result<()> {
    let (from_home, to_home) = home.into_split();
    let (from_relay, to_relay) = relay.into_split();
    let up = copy(from_home, to_relay, up);
    let down = copy(from_relay, to_home, down);
    tokio::try_join!(up, down).map(drop)
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    change: impl Fn(&mut [u8]),
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        change(&mut buffer[..length]);
        to.write_all(&buffer[..length]).await?;
    }
}

/// Writes a card and reads it again; `None` where that fails. Anything else that is read is a failure
/// of the test.
pub(super) async fn sync(connection: &mut Connection, card: &[u8]) -> Option<()> {
    let put = connection.put("large.vcf", card).await.ok()?;
    if !put.status.is_success() {
        return None;
    }
    let got = connection.get("large.vcf").await.ok()?;
    assert!(got.body == card, "other bytes than were written");
    Some(())
}

fn restart_home(pair: &mut Pair, at: SocketAddr) {
    pair.kill_home();
    pair.lead_home_over(at);
    pair.start_home();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_answers_the_tunnel_with_another_key_is_told_nothing_and_home_says_so() {
    let mut pair = Pair::start();
    let (home, stranger) = (
        pair.folder("home"),
        FakeRelay::bind_at(Ipv4Addr::LOCALHOST.into()).await,
    );
    restart_home(&mut pair, stranger.address());
    let refused = |status: &serde_json::Value| {
        let error = status["relays"][0]["error"].as_str();
        error.is_some_and(|error| error.contains("with another key"))
    };
    let status = tokio::task::spawn_blocking(move || until(&home, "home", refused));
    // It takes whatever home would say.
    let status = tokio::select! {
        _ = stranger.accept() => panic!("home has spoken to a stranger"),
        status = status => status.unwrap(),
    };
    assert_ne!(status["relays"][0]["state"], "connected", "{status}");
    let error = status["relays"][0]["error"].as_str().unwrap();
    assert!(error.contains(&stranger.key.to_string()), "{error}");
    assert!(error.contains("nothing was sent"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_home_has_said_in_its_tunnel_opens_none_when_it_is_played_again() {
    let mut pair = Pair::start();
    let between = Between::before(pair.relay_address()).await;
    restart_home(&mut pair, between.address);
    pair.await_tunnel();
    pair.phone().names().await;
    let relay = pair.folder("relay");
    let row = || on(&relay, &["relay", "status", "--json"]).expect(0).json()["homes"][0].clone();
    until(&relay, "relay", |it| it["homes"][0]["online"] == true);
    let before = row();
    let said = between.seen.lock().unwrap().tunnel.clone();
    let mut again = TcpStream::connect(pair.relay_address()).await.unwrap();
    // The relay may close before all of it is said.
    let _ = again.write_all(&said).await;
    let mut answer = Vec::new();
    let ended = timeout(PATIENCE, again.read_to_end(&mut answer)).await;
    let _ = ended.expect("the relay ends it");
    let after = row();
    assert_eq!(after["online"], true, "{after}");
    assert!(before["since"].is_string(), "{before}");
    for key in ["since", "last_error"] {
        assert_eq!(after[key], before[key], "{after}");
    }
    pair.phone().names().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_answers_takes_or_changes_a_leg_gets_noise_and_changes_no_card() {
    let mut pair = Pair::start();
    let between = Between::before(pair.relay_address()).await;
    restart_home(&mut pair, between.address);
    pair.await_tunnel();
    let phone = pair.phone();
    let mut sent = Vec::new();
    for (number, ruse) in [
        Ruse::Pass,
        Ruse::Answer,
        Ruse::Forge,
        Ruse::Change,
        Ruse::Hijack,
        Ruse::Pass,
    ]
    .into_iter()
    .enumerate()
    {
        between.turn_to(ruse);
        let (n_legs, n_bytes) = (between.legs(), between.bytes());
        let is_fatal = matches!(ruse, Ruse::Change | Ruse::Hijack);
        let patience = if is_fatal { STALL } else { PATIENCE };
        sent.push(cards::large(number));
        let card = &sent[number];
        let begin = Instant::now();
        let mut connection = phone.connect().await.unwrap();
        // As often as it takes until home has made the leg, and has seen what comes of it.
        let is_over = loop {
            let synced = timeout(patience, sync(&mut connection, card)).await;
            if !matches!(synced, Ok(Some(()))) {
                break true;
            }
            let is_made = between.legs() > n_legs;
            let is_used = between.bytes() > n_bytes;
            if !is_fatal && is_made && (is_used || ruse != Ruse::Pass) {
                break false;
            }
            let n_made = between.legs() - n_legs;
            assert!(begin.elapsed() < PATIENCE, "{ruse:?}: {n_made} legs");
        };
        assert_eq!(is_over, is_fatal, "{ruse:?}");
        assert!(between.legs() > n_legs, "{ruse:?}: no leg");
        if ruse == Ruse::Pass {
            // The leg is in use, and its ticket is shown again.
            let preface = between.seen.lock().unwrap().preface.clone();
            let mut again = TcpStream::connect(pair.relay_address()).await.unwrap();
            again.write_all(&preface).await.unwrap();
            let mut answer = Vec::new();
            let ended = timeout(PATIENCE, again.read_to_end(&mut answer)).await;
            // The relay may reset it.
            let _ = ended.expect("the relay ends it");
            assert_eq!(answer, b"");
            assert!(sync(&mut connection, card).await.is_some());
        }
        let mut local = pair.local_program().connect().await.unwrap();
        let after = local.get("large.vcf").await.unwrap().body.to_vec();
        assert!(sent.contains(&after), "{ruse:?}: a changed card");
    }
    // All that came over legs, and what it was.
    let seen = between.seen.lock().unwrap();
    assert!(seen.bytes.len() > 100_000, "{}", seen.bytes.len());
    let is_clear = |text: &[u8]| seen.bytes.windows(text.len()).any(|it| it == text);
    assert!(!is_clear(cards::LARGE_NOTE.as_bytes()));
}
