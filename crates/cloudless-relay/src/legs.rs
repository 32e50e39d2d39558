//! Legs: TCP connections that homes make for the bulk bytes of one visitor
//! ([`cloudless_proto::leg`]).

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use bytes::Bytes;
use cloudless_proto::leg::{LIFETIME, Luck, PREFACE_LEN, Ticket, Token};
use subtle::ConstantTimeEq;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::config::Limits;
use crate::limits::{Total, TotalPermit};
use crate::listener::Connection;
use crate::outcome::Outcome;
use crate::run::Relay;
use crate::socket;
use crate::status::{LegCount, Visit};

/// The legs that are offered and not made yet.
#[derive(Debug, Default)]
pub(crate) struct Legs {
    /// Bounded by the places, of which each offer has one.
    offered: Mutex<HashMap<u64, Offered>>,
    numbers: AtomicU64,
    total: Arc<Total>,
}

#[derive(Debug)]
struct Offered {
    token: Token,
    visitor: oneshot::Sender<TcpStream>,
}

impl Legs {
    /// Offers one more leg for a visitor; `None` when its home, or all together, have as many as
    /// they may.
    pub(crate) fn offer(self: &Arc<Self>, visit: &Visit, limits: &Limits) -> Option<Offer> {
        let place = Place {
            _total: self.total.admit(limits.legs)?,
            _home: visit.home().legs.admit(limits.legs_per_home)?,
            _count: visit.counters().leg(),
        };
        let mut random = [0; 16];
        getrandom::fill(&mut random).ok()?;
        let token = Token::new(random);
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (visitor, made) = oneshot::channel();
        let offered = Offered {
            token: token.clone(),
            visitor,
        };
        self.lock().insert(number, offered);
        Some(Offer {
            ticket: Ticket { number, token },
            made,
            place,
            standing: Standing {
                legs: Arc::clone(self),
                number,
            },
        })
    }

    /// Gives a leg to the visitor that its ticket is for, once; gives it back when the ticket is
    /// for nobody. A wrong token leaves the offer to the right one.
    fn make(&self, ticket: &Ticket, leg: TcpStream) -> Result<(), TcpStream> {
        let offered = {
            let mut offered = self.lock();
            let is_right = offered.get(&ticket.number).is_some_and(|offered| {
                let (expected, shown) = (offered.token.bytes(), ticket.token.bytes());
                expected.ct_eq(shown).into()
            });
            if is_right {
                offered.remove(&ticket.number)
            } else {
                None
            }
        };
        match offered {
            Some(offered) => offered.visitor.send(leg),
            None => Err(leg),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Offered>> {
        lock(&self.offered)
    }
}

/// A leg that is offered. Dropping it takes the offer back.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) ticket: Ticket,
    made: oneshot::Receiver<TcpStream>,
    place: Place,
    standing: Standing,
}

impl Offer {
    /// The leg, if the home makes it in time.
    pub(crate) async fn leg(self) -> Option<Leg> {
        let Self {
            mut made,
            place,
            standing,
            ..
        } = self;
        let in_time = timeout(LIFETIME, &mut made).await;
        drop(standing);
        let stream = match in_time {
            Ok(made) => made.ok()?,
            // It may have been made between the deadline and the end of the offer.
            Err(_) => made.try_recv().ok()?,
        };
        Some(Leg {
            stream,
            has_ended: false,
            _by_bbr: None,
            _place: place,
        })
    }
}

/// What the legs of one session have in common.
#[derive(Debug, Default)]
pub(crate) struct OfSession {
    luck: Mutex<Luck>,
    by_bbr: Mutex<Weak<()>>,
}

impl OfSession {
    /// Whether legs broke so often that none is offered for a while.
    pub(crate) fn is_resting(&self) -> bool {
        lock(&self.luck).is_resting(Instant::now())
    }

    /// A leg broke under its visitor. Returns whether it was one too many.
    pub(crate) fn broke(&self) -> bool {
        lock(&self.luck).failed(Instant::now())
    }

    /// A leg ended when all was said.
    pub(crate) fn went_well(&self) {
        lock(&self.luck).went_well();
    }

    /// Lets a leg send by BBR, unless another one does so: one such connection fills the path, and
    /// many overfill it, which loses much of all else that goes there.
    pub(crate) fn send_by_bbr(&self, leg: &mut Leg) {
        let mut by_bbr = lock(&self.by_bbr);
        if by_bbr.strong_count() == 0 {
            socket::prefer_bbr(&leg.stream);
            let mark = Arc::new(());
            *by_bbr = Arc::downgrade(&mark);
            leg._by_bbr = Some(mark);
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An offer's entry in the table.
#[derive(Debug)]
struct Standing {
    legs: Arc<Legs>,
    number: u64,
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.legs.lock().remove(&self.number);
    }
}

/// A visitor's connection to its home past the tunnel. Dropping it before its end resets it.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) stream: TcpStream,
    has_ended: bool,
    /// The mark of the one that sends by BBR.
    _by_bbr: Option<Arc<()>>,
    _place: Place,
}

impl Leg {
    /// Closes it, with FIN: both sides have said all, or the other side wants no more.
    pub(crate) fn end(mut self) {
        self.has_ended = true;
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        if !self.has_ended {
            socket::reset_on_close(&self.stream);
        }
    }
}

/// One leg's share of the limits.
#[derive(Debug)]
struct Place {
    _total: TotalPermit,
    _home: TotalPermit,
    _count: LegCount,
}

/// Serves a connection whose first bytes, `opening`, are those of a leg: gives it to its visitor.
pub(crate) async fn serve(relay: &Relay, connection: Connection, opening: Bytes) {
    let Connection {
        mut stream,
        permits,
        ..
    } = connection;
    let read = relay.in_time(LIFETIME, read_preface(&mut stream, &opening));
    let preface = match read.await {
        Ok(Ok(preface)) => preface,
        Ok(Err(error)) => {
            tracing::debug!(%error, "A leg ended before its preface was complete");
            return relay.counters.count(Outcome::LegClosedEarly);
        }
        Err(_) => return relay.counters.count(Outcome::LegTimeout),
    };
    if let Err(error) = socket::configure_leg(&stream) {
        tracing::debug!(%error, "A leg is missed as late as a visitor would be");
    }
    let made = match preface.as_ref().and_then(Ticket::from_preface) {
        Some(ticket) => relay.legs.make(&ticket, stream),
        None => Err(stream),
    };
    match made {
        // From here on it counts for its home, not for the address it comes from.
        Ok(()) => relay.counters.count(Outcome::Leg),
        Err(stream) => {
            relay.counters.count(Outcome::LegRefused);
            socket::reset(stream);
        }
    }
    drop(permits);
}

/// Reads the rest of a preface; `None` when there is more than that, which nobody may send yet.
async fn read_preface(
    stream: &mut TcpStream,
    opening: &[u8],
) -> io::Result<Option<[u8; PREFACE_LEN]>> {
    let mut preface = [0; PREFACE_LEN];
    let Some((first, rest)) = preface.split_at_mut_checked(opening.len()) else {
        return Ok(None);
    };
    first.copy_from_slice(opening);
    stream.read_exact(rest).await?;
    Ok(Some(preface))
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use cloudless_splice::Pipes;
    use socket2::SockRef;
    use tokio::net::TcpListener;

    use super::*;
    use crate::crowd::ranks::Standing;
    use crate::crowd::{Room, Shed};
    use crate::home_share::HomeShares;
    use crate::strangers::Arrival;
    use crate::visitors::{Goal, Visitors};

    fn visit() -> Visit {
        let key = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
            .parse()
            .unwrap();
        let home = HomeShares::new(Pipes::new(1), 1).of(key);
        let address = "192.0.2.1".parse().unwrap();
        let visitors = Arc::new(Visitors::default());
        let goal = (Goal::Home(key), 1);
        let (shed, room) = (Shed::default(), Room::for_all(1));
        let seat = visitors.admit(&shed, address, goal, room, Standing::Stranger);
        let arrival = Arrival::of_nobody(key, address);
        let hostname = "home.example.test".parse().unwrap();
        Visit::new(Arc::default(), &hostname, home, (seat, arrival))
    }

    fn is_by_bbr(leg: &Leg) -> bool {
        let name = SockRef::from(&leg.stream).tcp_congestion().unwrap();
        name.starts_with(b"bbr")
    }

    #[tokio::test]
    async fn one_leg_of_a_session_at_a_time_sends_by_bbr() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (all, visit) = (Arc::<Legs>::default(), visit());
        let of_session = OfSession::default();
        let leg = async || {
            let offer = all.offer(&visit, &Limits::default()).unwrap();
            let stream = TcpStream::connect(address).await.unwrap();
            // Here BBR may be the default.
            SockRef::from(&stream).set_tcp_congestion(b"reno").unwrap();
            all.make(&offer.ticket, stream).unwrap();
            let mut leg = offer.leg().await.unwrap();
            of_session.send_by_bbr(&mut leg);
            leg
        };
        let first = leg().await;
        let is_chosen = is_by_bbr(&first);
        let socket = SockRef::from(&first.stream);
        if socket.set_tcp_congestion(b"bbr").is_err() {
            eprintln!("NOT TESTED: BBR, because this machine lets nobody choose it");
            return;
        }
        assert!(is_chosen);
        assert!(!is_by_bbr(&leg().await));
        drop(first);
        assert!(is_by_bbr(&leg().await));
    }
}
