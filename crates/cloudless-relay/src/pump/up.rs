//! The direction from the visitor to the home.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use cloudless_http2::{Error, Observer, Reason, RecvStream, SendFromError, SendStream};
use cloudless_proto::leg::{self, TRAILER};
use cloudless_splice::{ForwardError, Pace, finish, forward_to_fin};
use http::{HeaderMap, HeaderValue};

use super::{Cut, Shared};

/// Who ended the direction from the visitor to the home.
pub(super) enum UpEnd {
    /// The home has said all and wants no more: RST_STREAM with NO_ERROR (RFC 9113 section 8.1),
    /// or the end of the leg.
    Home,
    Visitor,
}

pub(super) async fn up(
    shared: &Arc<Shared>,
    send: &mut SendStream,
    receive: &RecvStream,
) -> Result<UpEnd, Cut> {
    let Shared { ways, activity, .. } = &**shared;
    loop {
        if let leg::Send::ChangeOver(number) = ways.send() {
            send.finish_with(&trailers(number)).map_err(Cut::Home)?;
            return on_leg(shared, receive).await;
        }
        let counted = Arc::new(Counted(Arc::clone(shared)));
        let visitor = Arc::clone(&shared.visitor);
        let sent = send.send_from(visitor, counted, Some(Pace::in_tunnel()));
        let sent = tokio::select! {
            sent = sent => Some(sent),
            _ = ways.leg() => {
                let end = send.unheard_end();
                end.map(|end| end.map_err(SendFromError::Socket))
            }
        };
        let Some(sent) = sent else { continue };
        match sent {
            Ok(()) => {
                send.finish(Bytes::new()).map_err(Cut::Home)?;
                ways.finish();
                activity.half_closed();
                return Ok(UpEnd::Visitor);
            }
            Err(SendFromError::Socket(error)) => return Err(Cut::Visitor(error)),
            Err(SendFromError::Stream(error)) => {
                activity.half_closed();
                return end(error);
            }
        }
    }
}

fn end(error: Error) -> Result<UpEnd, Cut> {
    match error {
        Error::Reset {
            reason: Reason::NO_ERROR,
            ..
        } => Ok(UpEnd::Home),
        error => Err(Cut::Home(error)),
    }
}

/// Bytes that the tunnel takes from the visitor.
struct Counted(Arc<Shared>);

impl Observer for Counted {
    fn moved(&self, n: usize) {
        self.0.went_up(n as u64);
        self.0.ways.moved_up(n);
    }

    fn waiting(&self, _n: usize) {}
}

async fn on_leg(shared: &Shared, receive: &RecvStream) -> Result<UpEnd, Cut> {
    let Shared {
        visitor,
        ways,
        activity,
        visit,
        ..
    } = shared;
    let counters = visit.counters();
    let moved = |n| {
        shared.went_up(n);
        counters.leg_bytes_up.fetch_add(n, Ordering::Relaxed);
    };
    let leg = ways.leg().await;
    let forwarded = forward_to_fin(&**visitor, leg, &visit.home().pipes, moved).await;
    let ended = forwarded.and_then(|_| {
        // The tunnel's task may have heard of a reset by writing.
        if receive.has_failed_to_deliver() {
            return Err(ForwardError::Read(io::ErrorKind::ConnectionReset.into()));
        }
        finish(leg).map_err(ForwardError::Write)
    });
    match ended {
        Ok(()) => {
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
