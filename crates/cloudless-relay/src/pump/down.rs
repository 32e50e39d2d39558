//! The direction from the home to the visitor.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cloudless_http2::{DeliveryError, Observer, RecvStream};
use cloudless_proto::leg::{self, StreamEnd, TRAILER};
use cloudless_splice::{ForwardError, forward};

use super::{Cut, Shared};
use crate::socket;

pub(super) async fn down(shared: &Arc<Shared>, receive: &RecvStream) -> Result<(), Cut> {
    let counted = Arc::new(Counted(Arc::clone(shared)));
    let delivery = receive.deliver_to(Arc::clone(&shared.visitor), counted);
    let delivered = async {
        delivery.await.map_err(|error| match error {
            DeliveryError::Socket(error) => Cut::Visitor(error),
            DeliveryError::Stream(error) => Cut::Home(error),
        })
    };
    // The home's end is heard before the visitor has taken all: from then on it does without the
    // tunnel.
    let heard = async {
        let trailers = receive.ended().await.map_err(Cut::Home)?;
        let number = trailers
            .as_ref()
            .and_then(|trailers| trailers.get(TRAILER))
            .and_then(|value| leg::from_trailer(value.as_bytes()));
        shared.ways.stream_ended(number).map_err(Cut::Lost)
    };
    let ((), end) = tokio::select! {
        both = async { tokio::try_join!(delivered, heard) } => both?,
        () = shared.share.evicted() => return Err(Cut::Evicted),
    };
    match end {
        StreamEnd::Fin => finish(shared),
        StreamEnd::GoesOn => on_leg(shared).await,
    }
}

fn finish(shared: &Shared) -> Result<(), Cut> {
    socket::finish(&shared.visitor).map_err(Cut::Visitor)?;
    shared.activity.half_closed();
    Ok(())
}

/// Bytes that the visitor takes from the tunnel.
struct Counted(Arc<Shared>);

impl Observer for Counted {
    fn moved(&self, n: usize) {
        self.0.went_down(n as u64);
        self.0.ways.moved_down(n);
    }

    fn waiting(&self, n: usize) {
        self.0.share.set(n);
    }
}

async fn on_leg(shared: &Shared) -> Result<(), Cut> {
    let Shared {
        visitor,
        ways,
        activity,
        visit,
        ..
    } = shared;
    let counters = visit.counters();
    let moved = |n| {
        shared.went_down(n);
        counters.leg_bytes_down.fetch_add(n, Ordering::Relaxed);
    };
    match forward(ways.leg().await, &**visitor, &visit.home().pipes, moved).await {
        Ok(_) => {
            activity.half_closed();
            ways.leg_ended().map_err(Cut::Lost)
        }
        Err(ForwardError::Read(error)) => Err(Cut::Leg(error)),
        Err(ForwardError::Write(error)) => Err(Cut::Visitor(error)),
    }
}
