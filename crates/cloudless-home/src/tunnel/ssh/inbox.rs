//! What the visitors of one SSH session have sent and home has not read.
//!
//! SSH has a window for each channel (RFC 4254 section 5.2), but russh opens it again as it
//! receives, not as somebody reads: the server cannot be told to wait with one visitor alone, and to
//! wait with all would let one stop the others. So what is unread is kept here, and has a bound for
//! all visitors together: who has left most of it unread then is reset.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::ReadBuf;
use tokio::sync::SetOnce;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::tunnel::connection::VISITORS_MAX;
use crate::visitor::VisitorRefusal;

/// What all visitors of a session may leave unread, in bytes.
const UNREAD_MAX: usize = 64 * 1024 * 1024;
/// Visitors of one session.
const INBOXES_MAX: usize = VISITORS_MAX as usize;
/// Whoever has been silent for so long makes room for another one: long enough for a visitor to answer
/// home, and less than one that never says anything is waited for.
const SILENT: Duration = Duration::from_secs(2);
/// A buffer that has grown larger is not kept once it is empty.
const KEPT_LEN: usize = 64 * 1024;

/// The inboxes of one session.
#[derive(Clone)]
pub(super) struct Inboxes(Arc<Mutex<Table>>);

struct Table {
    max: usize,
    inboxes_max: usize,
    unread: usize,
    /// By the number of the channel.
    inboxes: HashMap<u32, Contents>,
    /// The session is over.
    is_closed: bool,
}

struct Contents {
    bytes: BytesMut,
    end: Option<End>,
    reader: Option<Waker>,
    /// When bytes last came or went.
    moved: Instant,
    evicted: Evicted,
    closed: CancellationToken,
}

/// Why a visitor has to go, once it has.
pub(super) type Evicted = Arc<SetOnce<VisitorRefusal>>;

/// How the direction from a visitor has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The visitor has said all.
    Fin,
    /// Nothing more comes, and perhaps something is missing.
    Reset,
}

impl Inboxes {
    pub(super) fn new() -> Self {
        Self::bounded(UNREAD_MAX, INBOXES_MAX)
    }

    fn bounded(max: usize, inboxes_max: usize) -> Self {
        Self(Arc::new(Mutex::new(Table {
            max,
            inboxes_max,
            unread: 0,
            inboxes: HashMap::new(),
            is_closed: false,
        })))
    }

    /// Makes room for one more visitor: where there is none, the one that has been silent longest has to
    /// go, unless that is not long. Returns whether there is room.
    pub(super) fn make_room(&self) -> bool {
        let mut table = self.lock();
        // Those who were told to go are there until their channels are closed.
        table.inboxes.len() < 2 * table.inboxes_max
            && (table.staying().count() < table.inboxes_max || table.evict_silent())
    }

    /// An inbox for a new visitor, which is there until the returned value is dropped.
    pub(super) fn open(&self, channel: u32) -> Inbox {
        let (evicted, closed) = (Evicted::default(), CancellationToken::new());
        let mut table = self.lock();
        let mut contents = Contents {
            bytes: BytesMut::new(),
            end: None,
            reader: None,
            moved: Instant::now(),
            evicted: evicted.clone(),
            closed: closed.clone(),
        };
        if table.is_closed {
            contents.close();
        }
        table.inboxes.insert(channel, contents);
        Inbox {
            inboxes: self.clone(),
            channel,
            evicted,
            closed,
        }
    }

    /// A visitor has sent these bytes.
    pub(super) fn received(&self, channel: u32, bytes: &[u8]) {
        let mut table = self.lock();
        let Some(contents) = table.inboxes.get_mut(&channel) else {
            return;
        };
        if contents.end.is_some() {
            return;
        }
        contents.moved = Instant::now();
        contents.bytes.extend_from_slice(bytes);
        contents.wake();
        table.unread += bytes.len();
        while table.unread > table.max {
            table.evict_largest();
        }
    }

    /// A visitor has said all.
    pub(super) fn finished(&self, channel: u32) {
        if let Some(contents) = self.lock().inboxes.get_mut(&channel) {
            contents.ended(End::Fin);
        }
    }

    /// A visitor is gone: nothing more comes from it, and nothing more gets to it.
    pub(super) fn closed(&self, channel: u32) {
        if let Some(contents) = self.lock().inboxes.get_mut(&channel) {
            contents.close();
        }
    }

    /// All of them are.
    pub(super) fn close(&self) {
        let mut table = self.lock();
        table.is_closed = true;
        for contents in table.inboxes.values_mut() {
            contents.close();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn evict_largest(&mut self) {
        let inboxes = self.inboxes.values_mut();
        let Some(largest) = inboxes.max_by_key(|contents| contents.bytes.len()) else {
            return;
        };
        tracing::debug!(
            length = largest.bytes.len(),
            "A visitor that leaves too much unread is reset"
        );
        self.unread -= largest.evict(VisitorRefusal::UnreadLimit);
    }

    fn staying(&mut self) -> impl Iterator<Item = &mut Contents> {
        let inboxes = self.inboxes.values_mut();
        inboxes.filter(|contents| !contents.evicted.initialized())
    }

    /// Returns whether anybody has been silent for long.
    fn evict_silent(&mut self) -> bool {
        let silent = self.staying().min_by_key(|contents| contents.moved);
        let Some(silent) = silent.filter(|silent| silent.moved.elapsed() >= SILENT) else {
            return false;
        };
        let unread = silent.evict(VisitorRefusal::VisitorLimit);
        self.unread -= unread;
        true
    }
}

impl Contents {
    fn ended(&mut self, end: End) {
        self.end.get_or_insert(end);
        self.wake();
    }

    /// Returns how much it leaves unread.
    fn evict(&mut self, why: VisitorRefusal) -> usize {
        let unread = std::mem::take(&mut self.bytes).len();
        self.end = Some(End::Reset);
        // Whoever has to go already has a reason.
        let _ = self.evicted.set(why);
        self.wake();
        unread
    }

    fn close(&mut self) {
        // sshd closes the channel of whoever has said FIN, too.
        self.ended(End::Reset);
        self.closed.cancel();
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn wait<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        self.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The inbox of one visitor. One reads it at a time.
pub(super) struct Inbox {
    inboxes: Inboxes,
    channel: u32,
    /// Set when the visitor has to go.
    pub(super) evicted: Evicted,
    /// Cancelled when the server has closed the channel. What is written to it then waits for ever.
    pub(super) closed: CancellationToken,
}

impl Inbox {
    /// Bytes have gone where they belong, either way, which is as good as if the visitor said something.
    pub(super) fn moved(&self) {
        if let Some(contents) = self.inboxes.lock().inboxes.get_mut(&self.channel) {
            contents.moved = Instant::now();
        }
    }

    /// When bytes last came or went.
    pub(super) fn last_moved(&self) -> Instant {
        let table = self.inboxes.lock();
        let contents = table.inboxes.get(&self.channel);
        contents.map_or_else(Instant::now, |contents| contents.moved)
    }

    /// Reads what is there; nothing at the visitor's FIN.
    pub(super) fn poll_read(
        &self,
        cx: &Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_some(cx, 0, |bytes| {
            let length = bytes.len().min(buf.remaining());
            buf.put_slice(&bytes[..length]);
            length
        })
    }

    /// The next bytes; none at the visitor's FIN.
    pub(super) fn poll_chunk(&self, cx: &Context<'_>, max: usize) -> Poll<io::Result<Bytes>> {
        let mut chunk = Bytes::new();
        let polled = self.poll_some(cx, 0, |bytes| {
            let length = bytes.len().min(max);
            chunk = Bytes::copy_from_slice(&bytes[..length]);
            length
        });
        polled.map_ok(|()| chunk)
    }

    /// A copy of what is there, which stays to be read, once that is more than `known` bytes or all
    /// that will ever be.
    pub(super) fn poll_peek(&self, cx: &Context<'_>, known: usize) -> Poll<io::Result<Bytes>> {
        let mut peeked = Bytes::new();
        let polled = self.poll_some(cx, known, |bytes| {
            peeked = Bytes::copy_from_slice(bytes);
            0
        });
        polled.map_ok(|()| peeked)
    }

    /// Drops all that comes, until the end.
    pub(super) fn poll_discard(&self, cx: &Context<'_>) -> Poll<()> {
        loop {
            let mut length = 0;
            let polled = self.poll_some(cx, 0, |bytes| {
                length = bytes.len();
                length
            });
            match polled {
                Poll::Ready(Ok(())) if length > 0 => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Gives `take` what is there once it is more than `known` bytes, or the visitor has said all;
    /// takes as many of them away as it returns.
    fn poll_some(
        &self,
        cx: &Context<'_>,
        known: usize,
        take: impl FnOnce(&[u8]) -> usize,
    ) -> Poll<io::Result<()>> {
        let mut table = self.inboxes.lock();
        let Some(contents) = table.inboxes.get_mut(&self.channel) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        if contents.bytes.len() <= known {
            match contents.end {
                None => return contents.wait(cx),
                Some(End::Reset) => {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                Some(End::Fin) => {}
            }
        }
        let taken = take(&contents.bytes);
        contents.bytes.advance(taken);
        if contents.bytes.is_empty() && contents.bytes.capacity() > KEPT_LEN {
            contents.bytes = BytesMut::new();
        }
        table.unread -= taken;
        Poll::Ready(Ok(()))
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut table = self.inboxes.lock();
        if let Some(contents) = table.inboxes.remove(&self.channel) {
            table.unread -= contents.bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::future::poll_fn;

    async fn read(inbox: &Inbox) -> io::Result<Bytes> {
        poll_fn(|cx| inbox.poll_chunk(cx, 100)).await
    }

    #[tokio::test]
    async fn who_leaves_most_unread_is_reset_and_nobody_else() {
        let inboxes = Inboxes::bounded(100, 10);
        let (reader, hoarder) = (inboxes.open(1), inboxes.open(2));
        inboxes.received(1, &[1; 30]);
        inboxes.received(2, &[2; 70]);
        assert!(!hoarder.evicted.initialized());
        inboxes.received(1, &[1]);
        assert!(hoarder.evicted.initialized() && !reader.evicted.initialized());
        assert!(read(&hoarder).await.is_err());
        // What it goes on sending counts no more, and the room is there for others.
        inboxes.received(2, &[2; 1000]);
        inboxes.received(1, &[1; 69]);
        assert_eq!(read(&reader).await.unwrap().len(), 100);
        drop(hoarder);
        inboxes.received(1, &[1; 100]);
        assert!(!reader.evicted.initialized());
        // What is dropped unread gives its room back too.
        drop(reader);
        assert_eq!(inboxes.lock().unread, 0);
        inboxes.received(1, &[1; 1000]);
        assert_eq!(inboxes.lock().unread, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_been_silent_longest_makes_room_and_nobody_who_has_just_come() {
        let inboxes = Inboxes::bounded(100, 2);
        let (silent, speaker) = (inboxes.open(1), inboxes.open(2));
        assert!(!inboxes.make_room(), "both have just come");
        tokio::time::advance(SILENT).await;
        inboxes.received(2, b"hello");
        assert!(inboxes.make_room());
        assert_eq!(silent.evicted.get(), Some(&VisitorRefusal::VisitorLimit));
        tokio::time::advance(SILENT).await;
        assert!(
            inboxes.make_room() && !speaker.evicted.initialized(),
            "there is room"
        );
        inboxes.received(2, b"more");
        assert!(read(&silent).await.is_err());
        let newcomer = inboxes.open(3);
        assert!(!inboxes.make_room());
        tokio::time::advance(SILENT).await;
        newcomer.moved();
        assert!(inboxes.make_room());
        assert!(speaker.evicted.initialized() && !newcomer.evicted.initialized());
        // What it had left unread counts no more.
        assert_eq!(inboxes.lock().unread, 0);
        // Nor are there more who have to go than who may stay.
        let _last = inboxes.open(4);
        tokio::time::advance(SILENT).await;
        assert!(!inboxes.make_room());
    }

    #[tokio::test]
    async fn what_has_come_is_read_before_the_end_and_a_reset_is_no_fin() {
        let inboxes = Inboxes::bounded(100, 10);
        let (polite, rude) = (inboxes.open(1), inboxes.open(2));
        for number in [1, 2] {
            inboxes.received(number, b"last words");
        }
        inboxes.finished(1);
        assert!(!polite.closed.is_cancelled());
        inboxes.closed(1);
        inboxes.closed(2);
        assert!(polite.closed.is_cancelled() && rude.closed.is_cancelled());
        for inbox in [&polite, &rude] {
            assert_eq!(read(inbox).await.unwrap(), "last words");
        }
        assert_eq!(read(&polite).await.unwrap(), "");
        assert!(read(&rude).await.is_err());
    }

    #[tokio::test]
    async fn a_peek_waits_for_more_and_takes_nothing() {
        let inboxes = Inboxes::bounded(100, 10);
        let inbox = inboxes.open(1);
        inboxes.received(1, b"one");
        assert_eq!(poll_fn(|cx| inbox.poll_peek(cx, 0)).await.unwrap(), "one");
        let more = poll_fn(|cx| inbox.poll_peek(cx, 3));
        let (more, ()) = tokio::join!(more, async { inboxes.received(1, b" two") });
        assert_eq!(more.unwrap(), "one two");
        inboxes.close();
        assert_eq!(read(&inbox).await.unwrap(), "one two");
        // Who comes after the end of the session is told so.
        let late = inboxes.open(2);
        assert!(read(&late).await.is_err() && late.closed.is_cancelled());
    }
}
