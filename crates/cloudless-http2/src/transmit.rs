//! What this side sends: frames, in the order in which their turn comes.

use std::cmp::Reverse;

use crate::error::{Reason, Side};
use crate::frame::{END_HEADERS, END_STREAM, HEADER_LEN, Header, Kind};
use crate::sink::Sink;
use crate::source::Read;
use crate::state::{Role, State};
use crate::stream::End;

/// What is gathered before it is written: two TLS records of a tunnel.
pub(crate) const OUT_LEN: usize = 32 * 1024;
/// With less room than that a long frame waits for the next write.
const ROOM_MIN: usize = 4 * 1024;
/// RFC 7541 section 6.3: from here on there is no dynamic table.
const NO_TABLE: u8 = 0x20;

/// Frames that leave together.
#[derive(Debug, Default)]
pub(crate) struct Out {
    /// Empty, or [`OUT_LEN`] bytes.
    buffer: Vec<u8>,
    len: usize,
}

impl Out {
    /// In a buffer that was used before, if there is one.
    pub(crate) fn new(mut buffer: Vec<u8>) -> Self {
        buffer.resize(OUT_LEN, 0);
        Self { buffer, len: 0 }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    fn room(&self) -> usize {
        self.buffer.len() - self.len
    }

    /// Adds as many of these bytes as there is room for.
    fn put(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.room());
        self.buffer[self.len..self.len + n].copy_from_slice(&bytes[..n]);
        self.len += n;
        n
    }

    /// Adds a whole frame, if there is room for it.
    fn put_frame(&mut self, kind: Kind, flags: u8, stream: u32, payload: &[&[u8]]) -> bool {
        let len = payload.iter().map(|part| part.len()).sum();
        if self.room() < HEADER_LEN + len {
            return false;
        }
        let header = Header {
            len,
            kind,
            flags,
            stream,
        };
        self.put(&header.encode());
        for part in payload {
            self.put(part);
        }
        true
    }
}

/// How a stream's turn has ended.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    /// It has nothing more to be sent, or has to wait for something.
    Over,
    /// It wants another one.
    Again,
    /// There is no room for it in this write.
    NoRoom,
}

impl State {
    /// Gathers what is to be sent, up to what fills `out`.
    pub(crate) fn fill(&mut self, out: &mut Out) {
        let n = out.put(&self.control);
        self.control.drain(..n);
        if !self.control.is_empty() {
            return;
        }
        self.control = Vec::new();
        self.n_settings = 0;
        if !self.fill_resets(out) {
            return;
        }
        while let Some(id) = self.updates.front().copied() {
            if out.room() < HEADER_LEN + 4 {
                return;
            }
            self.updates.pop_front();
            self.update(id, out);
        }
        while let Some(id) = self.ready.pop_front() {
            match self.turn(id, out) {
                Turn::Over => self.end_turn(id),
                Turn::Again => self.ready.push_back(id),
                Turn::NoRoom => return self.ready.push_front(id),
            }
        }
        // Those that nobody has any more, once all was said.
        self.fill_resets(out);
    }

    /// Says which streams are reset; whether there was room for all of them.
    fn fill_resets(&mut self, out: &mut Out) -> bool {
        while let Some((id, reason)) = self.resets.front() {
            let reason = reason.code().to_be_bytes();
            if !out.put_frame(Kind::RstStream, 0, *id, &[&reason]) {
                return false;
            }
            self.resets.pop_front();
        }
        true
    }

    /// Tells the peer how much room a stream's reader has made.
    fn update(&mut self, id: u32, out: &mut Out) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let incoming = &mut stream.incoming;
        incoming.has_update = false;
        if incoming.has_ended || stream.reset.is_some() {
            return;
        }
        let more = std::mem::take(&mut incoming.released);
        incoming.window += more as i64;
        out.put_frame(Kind::WindowUpdate, 0, id, &[&(more as u32).to_be_bytes()]);
    }

    fn end_turn(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.outgoing.is_ready = false;
        }
        self.clear(id);
    }

    /// Sends one frame of a stream, its head besides.
    fn turn(&mut self, id: u32, out: &mut Out) -> Turn {
        let has_small_table = self.peer.has_small_table;
        let Some(stream) = self.streams.get_mut(&id) else {
            return Turn::Over;
        };
        if stream.reset.is_some() {
            return Turn::Over;
        }
        let outgoing = &mut stream.outgoing;
        if let Some(head) = &outgoing.head {
            let update: &[u8] = if has_small_table { &[NO_TABLE] } else { &[] };
            if !out.put_frame(Kind::Headers, END_HEADERS, id, &[update, head]) {
                return Turn::NoRoom;
            }
            outgoing.head = None;
            outgoing.is_known = true;
        }
        if outgoing.has_ended {
            return self.abandoned(id);
        }
        let window = outgoing.window.min(self.send_window).max(0) as usize;
        let len_max = window.min(self.peer.frame_len as usize);
        if let Some(first) = outgoing.queue.front_mut() {
            if len_max == 0 {
                return self.windowless(id);
            }
            let len = first.len().min(len_max);
            let Some(room) = out.room().checked_sub(HEADER_LEN).filter(|room| *room > 0) else {
                return Turn::NoRoom;
            };
            if len > room && room < ROOM_MIN {
                return Turn::NoRoom;
            }
            let bytes = first.split_to(len.min(room));
            if first.is_empty() {
                outgoing.queue.pop_front();
            }
            outgoing.queued -= bytes.len();
            let ends = outgoing.queue.is_empty() && matches!(outgoing.end, Some(End::Data));
            let flags = if ends { END_STREAM } else { 0 };
            out.put_frame(Kind::Data, flags, id, &[&bytes]);
            outgoing.window -= bytes.len() as i64;
            self.send_window -= bytes.len() as i64;
            outgoing.wake();
            if ends {
                outgoing.has_ended = true;
                return self.abandoned(id);
            }
            return if outgoing.wants_turn() || stream.is_abandoned {
                Turn::Again
            } else {
                Turn::Over
            };
        }
        if let Some(end) = &outgoing.end {
            let update: &[u8] = if has_small_table { &[NO_TABLE] } else { &[] };
            let has_room = match end {
                End::Data => out.put_frame(Kind::Data, END_STREAM, id, &[]),
                End::Trailers(block) => {
                    let flags = END_STREAM | END_HEADERS;
                    out.put_frame(Kind::Headers, flags, id, &[update, block])
                }
            };
            if !has_room {
                return Turn::NoRoom;
            }
            outgoing.end = None;
            outgoing.has_ended = true;
            return self.abandoned(id);
        }
        if stream.is_abandoned {
            return self.abandoned(id);
        }
        // The system tells of a reset once: whoever has heard of it by writing would read a FIN.
        let is_broken = stream.incoming.sink.as_ref().is_some_and(Sink::has_failed);
        let Some(source) = outgoing.source.as_mut().filter(|_| !is_broken) else {
            return Turn::Over;
        };
        if len_max == 0 {
            return self.windowless(id);
        }
        if out.room() < HEADER_LEN + ROOM_MIN {
            return Turn::NoRoom;
        }
        let start = out.len + HEADER_LEN;
        let len = len_max.min(out.buffer.len() - start);
        let read = source.read(&mut out.buffer[start..start + len]);
        let (n, turn) = match read {
            Read::More(n) => (n, Turn::Again),
            Read::Paced(n, due) => {
                self.paced.push(Reverse((due, id)));
                (n, Turn::Over)
            }
            Read::Nothing => return Turn::Over,
            Read::Ended => {
                outgoing.wake();
                return Turn::Over;
            }
        };
        let header = Header {
            len: n,
            kind: Kind::Data,
            flags: 0,
            stream: id,
        };
        out.put(&header.encode());
        out.len += n;
        outgoing.window -= n as i64;
        self.send_window -= n as i64;
        turn
    }

    /// A stream that cannot send before the peer makes room: its own window makes it ready again, as
    /// does the connection's.
    fn windowless(&mut self, id: u32) -> Turn {
        // A client's stream that nobody has any more holds what the peer may never take.
        if self.role == Role::Client
            && self
                .streams
                .get(&id)
                .is_some_and(|stream| stream.is_abandoned)
        {
            self.reset(id, Reason::CANCEL);
            return Turn::Over;
        }
        if self.send_window <= 0 {
            self.wait_for_window(id);
        }
        Turn::Over
    }

    /// Has a stream go on when the window of all has grown.
    pub(crate) fn wait_for_window(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !std::mem::replace(&mut stream.outgoing.is_windowless, true)
        {
            self.windowless.push_back(id);
        }
    }

    /// All was sent on a stream. If nobody has it any more it is reset, unless it is closed.
    fn abandoned(&mut self, id: u32) -> Turn {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Turn::Over;
        };
        if stream.is_abandoned && !stream.is_closed() {
            // A server that has said all wants no more (section 8.1).
            let reason = if self.role == Role::Server && stream.outgoing.has_ended {
                Reason::NO_ERROR
            } else {
                Reason::CANCEL
            };
            stream.reset(reason, Side::Local);
            if let Err(error) = self.tell_reset(id, reason) {
                self.fail(error);
            }
        }
        Turn::Over
    }

    /// Whether anything is to be sent, as far as is known without a look at sockets.
    pub(crate) fn wants_to_send(&self) -> bool {
        !self.control.is_empty()
            || !self.resets.is_empty()
            || !self.updates.is_empty()
            || !self.ready.is_empty()
    }

    /// Whether nothing more can happen on a client's connection.
    pub(crate) fn is_done(&self) -> bool {
        self.role == Role::Client && self.n_openers == 0 && self.streams.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_added_whole_or_not_at_all() {
        let mut out = Out::new(Vec::new());
        let payload = vec![7; OUT_LEN - 2 * HEADER_LEN];
        assert!(out.put_frame(Kind::Data, 0, 1, &[&payload]));
        assert!(!out.put_frame(Kind::Ping, 0, 0, &[&[1]]));
        assert!(out.put_frame(Kind::Data, END_STREAM, 1, &[]));
        assert_eq!(out.room(), 0);
        assert_eq!(out.bytes().len(), OUT_LEN);
    }
}
