//! Makes the legs that the relay offers: TCP connections to where the tunnel leads.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use cloudless_proto::leg::{LIFETIME, Luck, Ticket};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::dial::{connect, prefer_bbr};
use super::ways::Ways;

/// Legs that are being made at a time; offers beyond it are let go.
const MAKING_MAX: usize = 256;
/// A leg that the relay has not taken for so long it never will: its tunnel would be dead before.
const HOPELESS: Duration = Duration::from_secs(60);

/// The legs of one session.
pub(super) struct Legs {
    relay: SocketAddr,
    making: JoinSet<()>,
    luck: Arc<Mutex<Luck>>,
    by_bbr: ByBbr,
}

/// The leg of a session that sends by BBR, as long as it is there.
type ByBbr = Arc<Mutex<Weak<TcpStream>>>;

impl Legs {
    /// Legs to the address at which the tunnel has reached the relay.
    pub(super) fn new(relay: SocketAddr) -> Self {
        Self {
            relay,
            making: JoinSet::new(),
            luck: Arc::default(),
            by_bbr: Arc::default(),
        }
    }

    /// Makes a leg for a visitor, beside all else. If that fails the visitor stays on its stream.
    pub(super) fn make(&mut self, ticket: Ticket, ways: &Arc<Ways>) {
        while self.making.try_join_next().is_some() {}
        if self.making.len() >= MAKING_MAX || lock(&self.luck).is_resting(now()) {
            return;
        }
        let making = Making {
            relay: self.relay,
            ticket,
            ways: Arc::downgrade(ways),
            luck: self.luck.clone(),
            by_bbr: self.by_bbr.clone(),
        };
        let (settled, ways, luck) = (ways.settled(), making.ways.clone(), self.luck.clone());
        self.making.spawn(async move {
            settled.run_until_cancelled_owned(making.run()).await;
            if ways.upgrade().is_some_and(|ways| ways.has_leg()) {
                // Whether it lasts is for the relay to see: a visitor that leaves resets it, too.
                lock(&luck).went_well();
            }
        });
    }
}

struct Making {
    relay: SocketAddr,
    ticket: Ticket,
    /// The visitor may go meanwhile.
    ways: Weak<Ways>,
    luck: Arc<Mutex<Luck>>,
    by_bbr: ByBbr,
}

impl Making {
    /// Runs until the visitor has gone or changed over, which cancels it.
    async fn run(self) {
        let number = self.ticket.number;
        match timeout(LIFETIME, self.show()).await {
            Ok(Ok(true)) => {}
            // Its visitor has no use for it.
            Ok(Ok(false)) => return,
            Ok(Err(error)) => {
                tracing::debug!(%error, "A leg was not made");
                return self.failed();
            }
            Err(_) => return self.failed(),
        }
        // The relay's word takes as long as the tunnel needs, and counts whenever it comes.
        sleep(LIFETIME).await;
        self.failed();
        sleep(HOPELESS).await;
        if let Some(ways) = self.ways.upgrade() {
            ways.withdrawn(number);
        }
    }

    fn failed(&self) {
        if lock(&self.luck).failed(now()) {
            tracing::debug!("Legs come to nothing here: visitors stay in the tunnel for a while");
        }
    }

    /// Connects and sends the preface, unless nobody wants it any more.
    async fn show(&self) -> io::Result<bool> {
        let leg = Arc::new(connect(self.relay).await?);
        send_by_bbr(&self.by_bbr, &leg);
        let offered = |ways: Arc<Ways>| ways.offered(self.ticket.number, leg.clone());
        if !self.ways.upgrade().is_some_and(offered) {
            return Ok(false);
        }
        write_all(&leg, &self.ticket.preface()).await?;
        Ok(true)
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// Lets a leg send by BBR, unless another one does so. BBR keeps to its rate whatever is lost: one such
/// connection fills the path, and many overfill it, which loses much of all else that goes there.
fn send_by_bbr(by_bbr: &Mutex<Weak<TcpStream>>, leg: &Arc<TcpStream>) {
    let mut by_bbr = lock(by_bbr);
    if by_bbr.strong_count() == 0 {
        prefer_bbr(leg);
        *by_bbr = Arc::downgrade(leg);
    }
}

async fn write_all(leg: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        leg.writable().await?;
        match leg.try_write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use socket2::SockRef;
    use tokio::net::TcpListener;

    use super::*;

    fn is_by_bbr(leg: &TcpStream) -> bool {
        SockRef::from(leg)
            .tcp_congestion()
            .unwrap()
            .starts_with(b"bbr")
    }

    #[tokio::test]
    async fn one_leg_at_a_time_sends_by_bbr() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let by_bbr = Mutex::default();
        let leg = async || {
            let leg = TcpStream::connect(address).await.unwrap();
            // Here BBR may be the default.
            SockRef::from(&leg).set_tcp_congestion(b"reno").unwrap();
            let leg = Arc::new(leg);
            send_by_bbr(&by_bbr, &leg);
            leg
        };
        let first = leg().await;
        let is_chosen = is_by_bbr(&first);
        if SockRef::from(&*first).set_tcp_congestion(b"bbr").is_err() {
            eprintln!("NOT TESTED: BBR, because this machine lets nobody choose it");
            return;
        }
        assert!(is_chosen);
        assert!(!is_by_bbr(&*leg().await));
        drop(first);
        assert!(is_by_bbr(&*leg().await));
    }
}
