//! Visitors that close, reset, and lose leg or tunnel at random points around their move to a leg.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use cloudless_proto::leg::THRESHOLD;
use cloudless_relay::Status;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::gate::reset;
use super::pair::{Pair, Terms, exchange, soon};
use super::{Random, pattern};

const VISITORS: u64 = 6;

/// What one side says, and how it ends.
#[derive(Clone, Copy, Debug)]
struct Plan {
    length: usize,
    resets: bool,
    seed: u64,
}

/// What one side was told.
#[derive(Debug, Default)]
struct Heard {
    bytes: Vec<u8>,
    has_ended: bool,
}

/// What all visitors of a round share.
struct Round {
    bytes: Arc<Vec<u8>>,
    received: AtomicU64,
    /// When so many bytes have been received this is added to.
    breaks: Option<(u64, watch::Sender<u64>)>,
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_doubled_or_reordered_wherever_a_visitor_ends() {
    let rounds = match std::env::var_os("CLOUDLESS_ACCEPTANCE") {
        Some(_) => 400,
        None => 10,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let first = u64::from(now.subsec_nanos());
    let bytes = Arc::new(pattern(77));
    let pair = Pair::start(Terms::default()).await;
    for seed in first..first + rounds {
        println!("seed {seed}");
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        round(&pair, bytes.clone(), random).await;
    }
    assert!(pair.row().await.legs_total > 0, "no visitor was on a leg");
}

async fn round(pair: &Pair, bytes: Arc<Vec<u8>>, mut random: Random) {
    let at = random.below(VISITORS * 4 * THRESHOLD);
    let breaks = match random.next() >> 61 {
        0 => Some((at, pair.gate.leg_cuts())),
        1 => Some((at, pair.gate.tunnel_cuts())),
        _ => None,
    };
    let is_broken = breaks.is_some();
    let cuts = pair.gate.tunnel_cuts();
    let (cuts_before, sessions_before) = (*cuts.borrow(), n_sessions(&pair.status().await));
    let round = Arc::new(Round {
        bytes: bytes.clone(),
        received: AtomicU64::new(0),
        breaks,
    });
    // All are through before the first of them has the tunnel cut: until home has said a byte a visitor
    // would be brought to the session that is next.
    let mut through = Vec::new();
    for _ in 0..VISITORS {
        let (mut visitor, mut server) = pair.visit(pair.address()).await;
        exchange(&mut server, &mut visitor, b"!").await;
        through.push((visitor, server));
    }
    let mut visits = JoinSet::new();
    for (visitor, server) in through {
        let plans = [Plan::new(&mut random), Plan::new(&mut random)];
        let round = round.clone();
        visits.spawn(async move {
            let (down, up) = tokio::join!(
                converse(visitor, plans[0], &round),
                converse(server, plans[1], &round),
            );
            (up, down, plans)
        });
    }
    for (up, down, plans) in soon(visits.join_all()).await {
        up.judge(&bytes, plans[0]);
        down.judge(&bytes, plans[1]);
        if !is_broken && !plans[0].resets && !plans[1].resets {
            assert!(up.has_ended && down.has_ended, "no cause: {plans:?}");
        }
    }
    // A tunnel that was told to be cut may be there for a moment longer, and then the cut would
    // befall the next round.
    let sessions = sessions_before + *cuts.borrow() - cuts_before;
    let is_over = |status: &Status| {
        status.totals.visitors_now == 0
            && status.totals.sessions_now == 1
            && n_sessions(status) >= sessions
    };
    pair.until(is_over).await;
}

/// How many sessions there were so far.
fn n_sessions(status: &Status) -> u64 {
    status.outcomes["session"]
}

impl Heard {
    /// A clean end means that all has come; anything else is what was said so far.
    fn judge(&self, bytes: &[u8], plan: Plan) {
        let n = self.bytes.len();
        assert!(n <= plan.length, "{n} bytes of {plan:?}");
        assert!(
            self.bytes == bytes[..n],
            "other bytes than were said, {plan:?}"
        );
        if self.has_ended {
            assert!(
                n == plan.length && !plan.resets,
                "ended after {n}, {plan:?}"
            );
        }
    }
}

impl Plan {
    fn new(random: &mut Random) -> Self {
        let length = match random.next() >> 62 {
            0 => random.below(1000),
            // About where the move is.
            1 => THRESHOLD - 2000 + random.below(4000),
            _ => random.below(8 * THRESHOLD),
        };
        Self {
            length: usize::try_from(length).unwrap(),
            resets: random.next() >> 62 == 0,
            seed: random.next(),
        }
    }
}

impl Round {
    fn count(&self, n: usize) {
        let n = n as u64;
        let before = self.received.fetch_add(n, Ordering::Relaxed);
        if let Some((at, cuts)) = &self.breaks
            && (before..before + n).contains(at)
        {
            cuts.send_modify(|n| *n += 1);
        }
    }
}

/// Says what is planned and hears the other side, to the end of both; a reset ends at once.
async fn converse(mut stream: TcpStream, plan: Plan, round: &Round) -> Heard {
    let mut heard = Heard::default();
    let (mut from, mut to) = stream.split();
    let both = async {
        let hear = hear(&mut from, &mut heard, Random(plan.seed ^ 1), round);
        let mut say = pin!(say(&mut to, plan, &round.bytes));
        if plan.resets {
            tokio::select! {
                is_cut = &mut say => is_cut,
                () = hear => say.await,
            }
        } else {
            tokio::join!(say, hear).0
        }
    };
    // The system tells of a reset once: after a failed write a read may look like a clean end.
    let is_cut = both.await;
    heard.has_ended &= !is_cut;
    if plan.resets {
        reset(stream);
    }
    heard
}

/// Says all in pieces, then FIN. Returns whether it was cut, and so could not say all.
async fn say(to: &mut (impl AsyncWrite + Unpin), plan: Plan, bytes: &[u8]) -> bool {
    let mut random = Random(plan.seed);
    let mut rest = &bytes[..plan.length];
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(random.length().min(rest.len()));
        if to.write_all(piece).await.is_err() {
            return true;
        }
        random.pause().await;
        rest = after;
    }
    !plan.resets && to.shutdown().await.is_err()
}

async fn hear(
    from: &mut (impl AsyncRead + Unpin),
    heard: &mut Heard,
    mut random: Random,
    round: &Round,
) {
    let mut buffer = vec![0; 1 << 18];
    loop {
        let room = random.length();
        match from.read(&mut buffer[..room]).await {
            Ok(0) => {
                heard.has_ended = true;
                return;
            }
            Ok(n) => {
                heard.bytes.extend_from_slice(&buffer[..n]);
                round.count(n);
            }
            Err(_) => return,
        }
        random.pause().await;
    }
}

over_ipv6! {
    nothing_is_lost_doubled_or_reordered_wherever_a_visitor_ends,
}
