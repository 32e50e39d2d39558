//! A way between home and relay on which each connection fares as the test says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Closes with a reset.
pub(super) fn reset(stream: TcpStream) {
    let linger = Some(Duration::ZERO);
    SockRef::from(&stream).set_linger(linger).unwrap();
}

/// How a leg fares. Tunnels always pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Pass,
    /// Closed as soon as it is open.
    Close,
    /// Taken, and nothing happens any more.
    Swallow,
    /// Its token arrives with one bit turned.
    Garble,
    /// Nothing passes until [`Gate::release`].
    Hold,
    /// Passes so many bytes from home, and is reset then.
    CutAfter(u64),
    /// Passes so many bytes from home, and then nothing either way.
    SwallowAfter(u64),
}

pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    is_released: watch::Sender<bool>,
    tunnels: watch::Sender<u64>,
    leg_cuts: watch::Sender<u64>,
    _task: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    legs: usize,
    last_preface: Vec<u8>,
}

impl Gate {
    pub(crate) async fn to(relay: SocketAddr, fate: Fate) -> Self {
        let listener = TcpListener::bind((relay.ip(), 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Seen>>::default();
        let is_released = watch::Sender::new(false);
        let tunnels = watch::Sender::new(0);
        let leg_cuts = watch::Sender::new(0);
        let mut task = JoinSet::new();
        let (counts, released) = (seen.clone(), is_released.clone());
        let (tunnel_cuts, of_legs) = (tunnels.clone(), leg_cuts.clone());
        task.spawn(async move {
            let mut passing = JoinSet::new();
            loop {
                let (mut home, _) = listener.accept().await.unwrap();
                home.set_nodelay(true).unwrap();
                let (counts, mut released) = (counts.clone(), released.subscribe());
                let (tunnel_cuts, of_legs) = (tunnel_cuts.clone(), of_legs.clone());
                passing.spawn(async move {
                    let mut first = [0; 1];
                    if home.read_exact(&mut first).await.is_err() {
                        return;
                    }
                    let is_leg = first == [0];
                    let mut opening = first.to_vec();
                    if is_leg {
                        let mut rest = [0; cloudless_proto::leg::PREFACE_LEN - 1];
                        home.read_exact(&mut rest).await.unwrap();
                        opening.extend(rest);
                        let mut seen = counts.lock().unwrap();
                        seen.legs += 1;
                        seen.last_preface = opening.clone();
                    }
                    match fate {
                        Fate::Close if is_leg => return,
                        Fate::Swallow if is_leg => std::future::pending().await,
                        Fate::Garble if is_leg => *opening.last_mut().unwrap() ^= 1,
                        Fate::Hold if is_leg => {
                            released.wait_for(|released| *released).await.unwrap();
                        }
                        _ => {}
                    }
                    let cuts = if is_leg { of_legs } else { tunnel_cuts };
                    let mut cuts = cuts.subscribe();
                    let mut relay = TcpStream::connect(relay).await.unwrap();
                    relay.set_nodelay(true).unwrap();
                    relay.write_all(&opening).await.unwrap();
                    if let (true, Fate::CutAfter(n) | Fate::SwallowAfter(n)) = (is_leg, fate) {
                        return break_after(n, home, relay, fate).await;
                    }
                    let is_cut = tokio::select! {
                        copied = copy_bidirectional(&mut home, &mut relay) => copied.is_err(),
                        _ = cuts.changed() => is_leg,
                    };
                    if is_cut {
                        reset(home);
                        reset(relay);
                    }
                });
            }
        });
        Self {
            address,
            seen,
            is_released,
            tunnels,
            leg_cuts,
            _task: task,
        }
    }

    pub(crate) fn release(&self) {
        self.is_released.send_replace(true);
    }

    /// Cuts every tunnel that is open; legs stay.
    pub(crate) fn cut_tunnels(&self) {
        self.tunnels.send_modify(|n| *n += 1);
    }

    /// Adding to it cuts every tunnel that is open; legs stay.
    pub(crate) fn tunnel_cuts(&self) -> watch::Sender<u64> {
        self.tunnels.clone()
    }

    /// Adding to it cuts every leg that is open, with a reset to both sides.
    pub(crate) fn leg_cuts(&self) -> watch::Sender<u64> {
        self.leg_cuts.clone()
    }

    pub(crate) fn legs(&self) -> usize {
        self.seen.lock().unwrap().legs
    }

    pub(crate) fn last_preface(&self) -> Vec<u8> {
        self.seen.lock().unwrap().last_preface.clone()
    }
}

/// A leg that is made and then fails.
async fn break_after(n: u64, mut home: TcpStream, mut relay: TcpStream, fate: Fate) {
    let (mut from_home, mut to_home) = home.split();
    let (mut from_relay, mut to_relay) = relay.split();
    let mut first = (&mut from_home).take(n);
    tokio::select! {
        _ = copy(&mut first, &mut to_relay) => {}
        _ = copy(&mut from_relay, &mut to_home) => {}
    }
    if let Fate::SwallowAfter(_) = fate {
        let mut nowhere = (sink(), sink());
        let _ = tokio::join!(
            copy(&mut from_home, &mut nowhere.0),
            copy(&mut from_relay, &mut nowhere.1)
        );
    }
    reset(home);
    reset(relay);
}
