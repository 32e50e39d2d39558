//! Moves a visitor's bytes between its socket and its home: on its stream in the tunnel first, and
//! on a leg when there are many.

mod down;
mod up;
mod ways;

use std::future::pending;
use std::io;
use std::sync::Arc;

use cloudless_http2::{Error, Reason, RecvStream, SendStream};
use cloudless_proto::leg::Lost;
use tokio::net::TcpStream;

use self::down::down;
use self::up::{UpEnd, up};
use self::ways::Ways;
use crate::activity::Activity;
use crate::budget::Share;
use crate::legs::OfSession;
use crate::outcome::Outcome;
use crate::run::Relay;
use crate::session::Session;
use crate::slots::Slot;
use crate::socket;
use crate::status::Visit;

/// A visitor's stream, once the home has accepted it.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) send: SendStream,
    pub(crate) receive: RecvStream,
    pub(crate) share: Share,
    /// Freed when the stream is done with.
    pub(crate) slot: Slot,
    pub(crate) session: Arc<Session>,
    /// For a visitor that may go on on a leg: only what is encrypted on the inside.
    pub(crate) legs: Option<Arc<OfSession>>,
}

/// Moves bytes both ways until both sides have ended, or one side or the relay cuts the other; or
/// until `unbound`, the home's loss of the name, which cuts the visitor on a leg too.
///
/// END_STREAM and FIN become each other, as do RST_STREAM and a TCP reset. The window of a stream
/// grows only by what its visitor's socket has taken. A visitor that has left the tunnel both ways
/// goes on when the session ends.
pub(crate) async fn pump(
    relay: &Relay,
    visitor: TcpStream,
    stream: Stream,
    visit: &Arc<Visit>,
    unbound: impl Future<Output = ()>,
) {
    let Stream {
        mut send,
        receive,
        share,
        slot,
        session,
        legs,
    } = stream;
    let config = relay.config();
    let shared = Arc::new(Shared {
        visitor: Arc::new(visitor),
        ways: Ways::new(slot),
        activity: Activity::new(),
        visit: Arc::clone(visit),
        share,
    });
    let (closed, key) = (session.closed.clone(), session.key);
    let number = send.id();
    let make_leg = async {
        if let Some(legs) = &legs {
            let offers = shared.ways.make_leg(relay, visit, session, legs, number);
            offers.await;
        }
        pending().await
    };
    let tunnel_lost = async {
        closed.cancelled().await;
        match shared.ways.tunnel_lost() {
            Ok(()) => pending().await,
            Err(lost) => lost,
        }
    };
    let up = up(&shared, &mut send, &receive);
    let down = down(&shared, &receive);
    let outcome = tokio::select! {
        // First: the name may have been lost before this.
        biased;
        () = unbound => Err(Cut::Unbound),
        outcome = async { tokio::try_join!(up, down) } => outcome.map(|(end, ())| end),
        () = shared.activity.silent(&config.timings, &relay.draining) => Err(Cut::Silent),
        lost = tunnel_lost => Err(Cut::Lost(lost)),
        () = make_leg => Err(Cut::Silent),
    };
    let leg_broke = match &outcome {
        Err(Cut::Leg(_)) => true,
        // Home saw it first.
        Err(Cut::Home(error)) => error.is_reset() && error.is_remote(),
        // The visitor has said all, and the home's end never came.
        Err(Cut::Silent) => {
            shared.activity.is_half_closed()
                && !shared.ways.has_heard_all()
                && !relay.draining.is_cancelled()
        }
        _ => false,
    };
    let visitor = Arc::clone(&shared.visitor);
    // Nobody else has either any more: both directions are done with.
    let leg = Arc::into_inner(shared).and_then(|shared| shared.ways.into_leg());
    if let (Some(leg), Some(legs)) = (leg, legs) {
        if outcome.is_ok() {
            legs.went_well();
            leg.end();
        } else if leg_broke && legs.broke() {
            tracing::info!("A home's legs break: its visitors stay in the tunnel for a while");
            relay.failed(&key, LEGS_BREAK);
        }
    }
    match outcome {
        Ok(UpEnd::Visitor) => {}
        Ok(UpEnd::Home) => {
            if let Some(visitor) = Arc::into_inner(visitor) {
                socket::close(visitor, b"").await;
            }
        }
        Err(cut) => {
            tracing::debug!(?cut, "A visitor was cut");
            if let Some(outcome) = cut.outcome() {
                relay.counters.count(outcome);
            }
            send.reset(Reason::CANCEL);
            socket::reset(visitor);
        }
    }
}

/// What the two directions of a visitor share.
struct Shared {
    visitor: Arc<TcpStream>,
    ways: Ways,
    activity: Activity,
    visit: Arc<Visit>,
    share: Share,
}

impl Shared {
    /// So many bytes of the visitor are on their way to the home.
    fn went_up(&self, n: u64) {
        self.visit.moved_up(n);
        self.activity.moved();
    }

    /// The visitor has taken so many bytes of the home.
    fn went_down(&self, n: u64) {
        self.visit.moved_down(n);
        self.activity.moved();
    }
}

/// What an owner has to know of a home whose legs break.
const LEGS_BREAK: &str = "three connections past the tunnel in a row broke while they were in use: \
    something between home and relay lets them begin and not go on, so visitors stay in the tunnel for \
    five minutes, which is slower";

/// Why a visitor is cut before both sides have ended.
#[derive(Debug)]
enum Cut {
    /// Too many bytes wait for a visitor that does not read.
    Evicted,
    /// The stream to the home failed.
    Home(Error),
    /// The leg to the home failed.
    Leg(#[expect(dead_code, reason = "read in the log, through Debug")] io::Error),
    /// Leg or tunnel is gone, and with it bytes that were under way.
    Lost(Lost),
    /// No byte moved for too long.
    Silent,
    /// The name is not the home's any more.
    Unbound,
    /// The visitor's socket failed.
    Visitor(#[expect(dead_code, reason = "read in the log, through Debug")] io::Error),
}

impl Cut {
    /// What it is counted as, unless the visitor has ended it itself.
    fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Evicted => Some(Outcome::VisitorStalled),
            Self::Home(error) if error.is_reset() => Some(Outcome::VisitorCut),
            // The stream ends with the tunnel, and either may be heard of first.
            Self::Home(_) | Self::Lost(Lost::Tunnel) => Some(Outcome::VisitorTunnelLost),
            Self::Leg(_) | Self::Lost(Lost::Leg | Lost::NoLeg) => Some(Outcome::VisitorLegBroke),
            Self::Silent => Some(Outcome::VisitorSilent),
            Self::Unbound => Some(Outcome::VisitorUnbound),
            Self::Visitor(_) => None,
        }
    }
}
