//! A peer that writes its frames by hand.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::peers::{End, soon};
use crate::Reason;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const WITH_PRIORITY: u8 = 0x20;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// POST https /, from the static table.
pub(super) const POST: &[u8] = &[0x83, 0x87, 0x84];
/// 200, from the static table.
pub(super) const OK: &[u8] = &[0x88];

const SETTINGS_INITIAL_WINDOW_SIZE: u16 = 4;

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Bytes,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            kind,
            flags,
            stream,
            payload,
        } = self;
        let start = &payload[..payload.len().min(8)];
        let len = payload.len();
        write!(
            formatter,
            "type {kind} flags {flags} stream {stream}: {len} {start:x?}"
        )
    }
}

impl Frame {
    /// The error code of RST_STREAM or GOAWAY.
    pub(super) fn reason(&self) -> Reason {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        Reason::from_code(u32::from_be_bytes(
            self.payload[at..at + 4].try_into().unwrap(),
        ))
    }
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(payload.len(), kind, flags, stream).to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

/// Of a frame whose payload does not matter.
pub(super) fn header(len: usize, kind: u8, flags: u8, stream: u32) -> [u8; 9] {
    let [_, a, b, c] = u32::try_from(len).unwrap().to_be_bytes();
    let [w, x, y, z] = stream.to_be_bytes();
    [a, b, c, kind, flags, w, x, y, z]
}

/// A whole header block.
pub(super) fn headers(flags: u8, stream: u32, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, block)
}

pub(super) fn setting(identifier: u16, value: u32) -> Vec<u8> {
    let payload = [&identifier.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &payload)
}

/// SETTINGS_INITIAL_WINDOW_SIZE.
pub(super) fn window(len: u32) -> Vec<u8> {
    setting(SETTINGS_INITIAL_WINDOW_SIZE, len)
}

pub(super) fn window_update(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

pub(super) fn rst_stream(stream: u32, reason: Reason) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &reason.code().to_be_bytes())
}

pub(super) fn goaway(last: u32, reason: Reason) -> Vec<u8> {
    let payload = [last.to_be_bytes(), reason.code().to_be_bytes()].concat();
    frame(GOAWAY, 0, 0, &payload)
}

/// The peer, at its end of the pipe.
pub(super) struct Raw {
    io: End,
    n_pings: u64,
}

impl Raw {
    /// A client that has said its preface and no settings of its own.
    pub(super) async fn client(io: End) -> Self {
        let mut raw = Self::new(io);
        raw.say(PREFACE).await;
        raw.say(&frame(SETTINGS, 0, 0, &[])).await;
        raw
    }

    /// A server that has said no settings of its own, and has heard the preface.
    pub(super) async fn server(io: End) -> Self {
        let mut raw = Self::new(io);
        let mut preface = [0; PREFACE.len()];
        soon(raw.io.read_exact(&mut preface)).await.unwrap();
        assert_eq!(preface, PREFACE);
        raw.say(&frame(SETTINGS, 0, 0, &[])).await;
        raw
    }

    /// One that has said nothing.
    pub(super) fn new(io: End) -> Self {
        Self { io, n_pings: 0 }
    }

    pub(super) async fn say(&mut self, bytes: &[u8]) {
        soon(self.io.write_all(bytes)).await.unwrap();
    }

    /// Says all in pieces of this length, each heard before the next. The connection may end in
    /// between.
    pub(super) async fn say_in_pieces(&mut self, bytes: &[u8], len: usize) {
        for piece in bytes.chunks(len) {
            if soon(self.io.write_all(piece)).await.is_err() {
                return;
            }
            yield_now().await;
        }
    }

    /// How much of `bytes`, again and again, the other end takes before it ends the connection, or has
    /// taken `max`; reads nothing meanwhile.
    pub(super) async fn flood(&mut self, bytes: &[u8], max: usize) -> usize {
        let mut n_taken = 0;
        while n_taken < max {
            let rest = &bytes[n_taken % bytes.len()..];
            match soon(self.io.write(rest)).await {
                Ok(n) => n_taken += n,
                Err(_) => break,
            }
        }
        n_taken
    }

    /// The next frame; `None` when the connection has ended.
    pub(super) async fn hear(&mut self) -> Option<Frame> {
        let mut header = [0; 9];
        soon(self.io.read_exact(&mut header)).await.ok()?;
        let [a, b, c, kind, flags, w, x, y, z] = header;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        soon(self.io.read_exact(&mut payload)).await.ok()?;
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes([w, x, y, z]),
            payload: payload.into(),
        })
    }

    /// The next frame of this type, whatever comes before it.
    pub(super) async fn hear_of(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.hear().await.expect("the connection goes on");
            if frame.kind == kind && !(kind == SETTINGS && frame.flags == ACK) {
                return frame;
            }
        }
    }

    /// The next frame of this type, if it comes before the other end has nothing more to say.
    pub(super) async fn hear_at_once(&mut self, kind: u8) -> Option<Frame> {
        timeout(Duration::from_millis(1), self.hear_of(kind))
            .await
            .ok()
    }

    /// All that the other end says on streams and of their ends, until it has nothing more to say or
    /// has ended the connection.
    pub(super) async fn hear_all(&mut self) -> Vec<Frame> {
        let mut heard = Vec::new();
        // An answer goes before all else that is to be said at the time.
        for _ in 0..2 {
            self.n_pings += 1;
            let payload = self.n_pings.to_be_bytes();
            self.say_in_pieces(&frame(PING, 0, 0, &payload), usize::MAX)
                .await;
            while let Some(frame) = self.hear().await {
                match frame.kind {
                    PING if frame.flags == ACK && *frame.payload == payload => break,
                    DATA | HEADERS | RST_STREAM | GOAWAY => heard.push(frame),
                    WINDOW_UPDATE if frame.stream != 0 => heard.push(frame),
                    _ => {}
                }
            }
        }
        heard
    }

    /// Nothing more comes from this end, and what comes is still heard.
    pub(super) async fn finish(&mut self) {
        self.io.shutdown().await.unwrap();
    }
}
