//! The direction from the visitor to the home.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::Ordering;
use std::task::Poll;

use bytes::Bytes;
use cloudless_proto::leg::{self, TRAILER};
use cloudless_splice::{Chunk, ForwardError, Pace, forward};
use h2::{Reason, SendStream};
use http::{HeaderMap, HeaderValue};

use super::{Cut, Shared, send_all};
use crate::budget::Share;

/// Who ended the direction from the visitor to the home.
pub(super) enum UpEnd {
    /// The home has said all and wants no more: RST_STREAM with NO_ERROR (RFC 9113 section 8.1),
    /// or the end of the leg.
    Home,
    Visitor,
}

pub(super) async fn up(
    shared: &Shared<'_>,
    send: &mut SendStream<Bytes>,
    share: &Share,
) -> Result<UpEnd, Cut> {
    let Shared {
        visitor,
        ways,
        activity,
        visit,
    } = shared;
    let mut pace = Pace::in_tunnel();
    loop {
        if let leg::Send::ChangeOver(number) = ways.send() {
            send.send_trailers(trailers(number)).map_err(Cut::Home)?;
            return on_leg(shared).await;
        }
        let readable = async {
            visitor.readable().await?;
            io::Result::Ok(share.room().await)
        };
        let room = tokio::select! {
            room = readable => room.map_err(Cut::Visitor)?,
            reset = poll_fn(|cx| send.poll_reset(cx)) => {
                activity.half_closed();
                return end(reset);
            }
            _ = ways.leg() => continue,
        };
        let chunk = match Chunk::read(*visitor, room.len()) {
            Ok(chunk) if chunk.bytes.is_empty() => {
                send.send_data(Bytes::new(), true).map_err(Cut::Home)?;
                ways.finish();
                activity.half_closed();
                return Ok(UpEnd::Visitor);
            }
            Ok(chunk) => chunk,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(Cut::Visitor(error)),
        };
        let n = chunk.bytes.len();
        if let Err(error) = send_all(send, room.fill(chunk)).await {
            activity.half_closed();
            // A stream that was reset says so with an error that does not tell why.
            let reset = poll_fn(|cx| Poll::Ready(send.poll_reset(cx))).await;
            return match reset {
                Poll::Ready(reset) => end(reset),
                Poll::Pending => Err(Cut::Home(error)),
            };
        }
        visit.moved_up(n as u64);
        activity.moved();
        ways.moved_up(n);
        pace.moved(n as u64).await;
    }
}

async fn on_leg(shared: &Shared<'_>) -> Result<UpEnd, Cut> {
    let Shared {
        visitor,
        ways,
        activity,
        visit,
    } = shared;
    let counters = visit.counters();
    let moved = |n| {
        visit.moved_up(n);
        counters.leg_bytes_up.fetch_add(n, Ordering::Relaxed);
        activity.moved();
    };
    match forward(*visitor, ways.leg().await, &visit.home().pipes, moved).await {
        Ok(_) => {
            ways.finish();
            activity.half_closed();
            Ok(UpEnd::Visitor)
        }
        Err(ForwardError::Write(_)) if ways.has_heard_all() => Ok(UpEnd::Home),
        Err(ForwardError::Write(error)) => Err(Cut::Leg(error)),
        Err(ForwardError::Read(error)) => Err(Cut::Visitor(error)),
    }
}

fn trailers(number: u64) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(TRAILER, HeaderValue::from(number));
    trailers
}

fn end(reset: Result<Reason, h2::Error>) -> Result<UpEnd, Cut> {
    match reset {
        Ok(Reason::NO_ERROR) => Ok(UpEnd::Home),
        Ok(reason) => Err(Cut::Home(reason.into())),
        Err(error) => Err(Cut::Home(error)),
    }
}
