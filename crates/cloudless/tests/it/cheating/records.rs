//! A relay that changes, drops, doubles, delays and reorders the TLS records that it passes on: the
//! phone sees an error or waits, and nobody is ever given anything else than was said.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{self, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::cards;
use crate::client::Client;
use crate::pair::Pair;

/// A phone that waits for what will not come is told after this time that it has waited enough.
const STALL: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);
const DELAY: Duration = Duration::from_millis(200);

const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    FromPhone,
    ToPhone,
}

/// Which record of a connection is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The ClientHello, or the ServerHello.
    Hello,
    /// That many encrypted records have gone by before.
    Sealed(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// A bit of its content is another.
    Flip,
    /// It says that it is of a type that there is not.
    Retype,
    /// It ends a byte earlier, and says so.
    Shorten,
    Drop,
    Double,
    /// It comes after the one behind it.
    Swap,
    /// The connection ends in its place, as if all had been said.
    End,
    /// It comes late.
    Delay,
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    way: Way,
    place: Place,
    fault: Fault,
}

/// Passes visitors on, until it is dropped.
struct Meddler {
    address: SocketAddr,
    /// What is done to the next record that fits, once.
    plan: Arc<Mutex<Option<Plan>>>,
    cuts: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Meddler {
    async fn before(relay: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let plan = Arc::<Mutex<Option<Plan>>>::default();
        let (cuts, cut) = watch::channel(());
        let shared = plan.clone();
        let task = tokio::spawn(async move {
            let mut visitors = JoinSet::new();
            while let Ok((visitor, _)) = listener.accept().await {
                let (plan, mut cut) = (shared.clone(), cut.clone());
                cut.mark_unchanged();
                visitors.spawn(async move {
                    tokio::select! {
                        _ = cut.changed() => {}
                        // The two ends see what it was.
                        _ = pass(visitor, relay, &plan) => {}
                    }
                });
            }
        });
        Self {
            address,
            plan,
            cuts,
            task,
        }
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(visitor: TcpStream, relay: SocketAddr, plan: &Mutex<Option<Plan>>) -> io::Result<()> {
    let relay = TcpStream::connect(relay).await?;
    visitor.set_nodelay(true)?;
    relay.set_nodelay(true)?;
    let (from_phone, to_phone) = visitor.into_split();
    let (from_relay, to_relay) = relay.into_split();
    let up = records(from_phone, to_relay, Way::FromPhone, plan);
    let down = records(from_relay, to_phone, Way::ToPhone, plan);
    tokio::try_join!(up, down).map(drop)
}

/// Passes records on one by one.
async fn records(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Way,
    plan: &Mutex<Option<Plan>>,
) -> io::Result<()> {
    let mut n_sealed = 0;
    loop {
        let Some(mut record) = read(&mut from).await? else {
            return to.shutdown().await;
        };
        let place = match record[0] {
            HANDSHAKE => Some(Place::Hello),
            APPLICATION_DATA => {
                n_sealed += 1;
                Some(Place::Sealed(n_sealed - 1))
            }
            _ => None,
        };
        let fault = {
            let mut plan = plan.lock().unwrap();
            let fits = |it: &mut Plan| it.way == way && Some(it.place) == place;
            plan.take_if(fits).map(|it| it.fault)
        };
        match fault {
            None => {}
            // In the random number of a hello, and in the middle of what is encrypted.
            Some(Fault::Flip) => {
                let at = 15.min(record.len() - 1);
                record[at] ^= 0x10;
            }
            Some(Fault::Retype) => record[0] ^= 0x80,
            Some(Fault::Shorten) => {
                record.pop();
                let length = u16::try_from(record.len() - 5).unwrap();
                record[3..5].copy_from_slice(&length.to_be_bytes());
            }
            Some(Fault::Drop) => continue,
            Some(Fault::Double) => to.write_all(&record).await?,
            Some(Fault::Swap) => {
                if let Some(next) = read(&mut from).await? {
                    to.write_all(&next).await?;
                }
            }
            Some(Fault::End) => return to.shutdown().await,
            Some(Fault::Delay) => {
                let _ = timeout(DELAY, pending::<()>()).await;
            }
        }
        to.write_all(&record).await?;
    }
}

/// A whole record (RFC 8446 section 5.1); `None` at the end.
async fn read(from: &mut OwnedReadHalf) -> io::Result<Option<Vec<u8>>> {
    let mut record = vec![0; 5];
    match from.read_exact(&mut record).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
    record.resize(5 + length, 0);
    from.read_exact(&mut record[5..]).await?;
    Ok(Some(record))
}

/// How far a phone got with a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
    Nothing,
    Written,
    /// Written, and read again as it was. Anything else that is read is a failure of the test.
    Read,
}

async fn sync(phone: &Client, card: &[u8]) -> Reached {
    let Ok(mut connection) = phone.connect().await else {
        return Reached::Nothing;
    };
    let put = connection.put("large.vcf", card).await;
    // Home may be able to say that it has not got all of it.
    if !put.is_ok_and(|put| put.status.is_success()) {
        return Reached::Nothing;
    }
    match connection.get("large.vcf").await {
        Ok(got) => assert!(got.body == card, "other bytes than were written"),
        Err(_) => return Reached::Written,
    }
    Reached::Read
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_a_relay_meddles_with_cause_errors_and_nothing_else() {
    let pair = Pair::start();
    let meddler = Meddler::before(pair.relay_address()).await;
    let phone = pair.phone().at(meddler.address);
    let stored = async || {
        let mut local = pair.local_program().connect().await.unwrap();
        local.get("large.vcf").await.unwrap().body.to_vec()
    };
    let mut number = 0;
    let mut sent = vec![cards::large(number)];
    assert_eq!(sync(&phone, &sent[0]).await, Reached::Read);
    for way in [Way::FromPhone, Way::ToPhone] {
        for fault in [
            Fault::Flip,
            Fault::Retype,
            Fault::Shorten,
            Fault::Drop,
            Fault::Double,
            Fault::Swap,
            Fault::End,
            Fault::Delay,
        ] {
            for place in [
                Place::Hello,
                Place::Sealed(0),
                Place::Sealed(3),
                Place::Sealed(12),
            ] {
                let plan = Plan { way, place, fault };
                number += 1;
                sent.push(cards::large(number));
                let card = &sent[number];
                *meddler.plan.lock().unwrap() = Some(plan);
                let patience = if fault == Fault::Delay {
                    PATIENCE
                } else {
                    STALL
                };
                let reached = timeout(patience, sync(&phone, card)).await;
                let is_waiting = meddler.plan.lock().unwrap().take().is_some();
                assert!(!is_waiting || reached.is_err(), "{plan:?}: too late");
                meddler.cuts.send_replace(());
                match (fault, &reached) {
                    (Fault::Delay, reached) => assert_eq!(*reached, Ok(Reached::Read), "{plan:?}"),
                    (_, Ok(reached)) => assert_ne!(*reached, Reached::Read, "{plan:?}"),
                    // It waits.
                    (_, Err(_)) => {}
                }
                // What home has is what was said once, to the byte.
                let after = stored().await;
                assert!(sent.contains(&after), "{plan:?}: a changed card");
                if reached.is_ok_and(|it| it >= Reached::Written) {
                    assert!(
                        after == *card,
                        "{plan:?}: a write that was confirmed is lost"
                    );
                }
            }
        }
    }
}
