//! One visitor's channel, which is closed properly however its visitor leaves.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use russh::server::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::time::timeout;

use crate::session::{Link, Session};
use crate::slots::Slot;

/// How long a home has to close a channel whose visitor has left, and how much it may still send.
const FAREWELL: Duration = Duration::from_secs(2);
const FAREWELL_LEN_MAX: usize = 256 * 1024;

/// A channel that the home has confirmed.
pub(super) struct Channel {
    open: Option<Open>,
    session: Arc<Session>,
}

struct Open {
    read: ChannelReadHalf,
    write: ChannelWriteHalf<Msg>,
    is_finished: bool,
    slot: Slot,
}

/// What comes on a channel.
#[derive(Debug)]
pub(super) enum Received {
    Bytes(Bytes),
    /// The home has said all.
    Eof,
    /// The home wants no more, or is gone.
    Closed,
}

impl Channel {
    pub(super) fn new(channel: russh::Channel<Msg>, slot: Slot, session: Arc<Session>) -> Self {
        let (read, write) = channel.split();
        let open = Open {
            read,
            write,
            is_finished: false,
            slot,
        };
        Self {
            open: Some(open),
            session,
        }
    }

    pub(super) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Both directions, to be used at the same time; `None` after the home has closed the channel.
    pub(super) fn halves(&mut self) -> (Receiver<'_>, Sender<'_>) {
        let (read, write) = match &mut self.open {
            Some(open) => (
                Some(&mut open.read),
                Some((&open.write, &mut open.is_finished)),
            ),
            None => (None, None),
        };
        (Receiver(read), Sender(write))
    }

    /// Notes that the home has closed the channel, so that nothing is left to be done.
    pub(super) fn closed(&mut self) {
        self.open = None;
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        if let Some(open) = self.open.take()
            && let Link::Ssh(link) = &self.session.link
        {
            link.tasks().spawn(close(open, Arc::clone(&self.session)));
        }
    }
}

/// Closes a channel whose visitor has left.
///
/// The home is asked to, because `russh` forgets a channel only when the other side closes it. One that
/// goes on sending is not waited for.
async fn close(mut open: Open, session: Arc<Session>) {
    if !open.is_finished {
        let _ = open.write.eof().await;
    }
    let closed = async {
        let mut len = 0;
        while let Some(message) = open.read.wait().await {
            match message {
                ChannelMsg::Close => return true,
                ChannelMsg::Data { data } => len += data.len(),
                _ => {}
            }
            if len > FAREWELL_LEN_MAX {
                return false;
            }
        }
        true
    };
    if timeout(FAREWELL, closed).await.unwrap_or(false) {
        return;
    }
    let _ = open.write.close().await;
    drop(open.slot);
    if let Link::Ssh(link) = &session.link
        && link.has_closed_too_many()
    {
        tracing::info!(
            session = session.number,
            "An SSH connection has had so many visitors that left early that it is ended"
        );
        session.closed.cancel();
    }
}

/// The direction from the home.
pub(super) struct Receiver<'a>(Option<&'a mut ChannelReadHalf>);

impl Receiver<'_> {
    pub(super) async fn receive(&mut self) -> Received {
        let Some(read) = &mut self.0 else {
            return Received::Closed;
        };
        loop {
            match read.wait().await {
                Some(ChannelMsg::Data { data }) => return Received::Bytes(data),
                Some(ChannelMsg::Eof) => return Received::Eof,
                Some(ChannelMsg::Close) | None => return Received::Closed,
                // Windows, and what has no meaning on such a channel.
                Some(_) => {}
            }
        }
    }
}

/// The direction to the home.
pub(super) struct Sender<'a>(Option<(&'a ChannelWriteHalf<Msg>, &'a mut bool)>);

impl Sender<'_> {
    /// Sends all, as fast as the home takes it.
    pub(super) async fn send(&mut self, bytes: Bytes) -> Result<(), russh::Error> {
        match &self.0 {
            Some((write, _)) => write.data_bytes(bytes).await,
            None => Err(russh::Error::SendError),
        }
    }

    /// Says that the visitor has said all.
    pub(super) async fn finish(&mut self) -> Result<(), russh::Error> {
        match &mut self.0 {
            Some((write, is_finished)) => {
                **is_finished = true;
                write.eof().await
            }
            None => Err(russh::Error::SendError),
        }
    }
}
