//! Frames on the wire (RFC 9113 sections 4.1 and 6).

use crate::error::Reason;

pub(crate) const HEADER_LEN: usize = 9;
/// What every peer takes, and the smallest that it may set (section 6.5.2).
pub(crate) const MAX_FRAME_SIZE_MIN: u32 = 1 << 14;
pub(crate) const MAX_FRAME_SIZE_MAX: u32 = (1 << 24) - 1;
pub(crate) const WINDOW_MAX: i64 = (1 << 31) - 1;
pub(crate) const WINDOW_DEFAULT: u32 = (1 << 16) - 1;
/// What a client says first (section 3.4).
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
pub(crate) const PADDED: u8 = 0x8;
pub(crate) const PRIORITY: u8 = 0x20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Data,
    Headers,
    Priority,
    RstStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// Of an extension, and ignored (section 4.1).
    Unknown,
}

impl Kind {
    fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::RstStream,
            4 => Self::Settings,
            5 => Self::PushPromise,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            _ => Self::Unknown,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Headers => 1,
            Self::Priority => 2,
            Self::RstStream => 3,
            Self::Settings => 4,
            Self::PushPromise => 5,
            Self::Ping => 6,
            Self::GoAway => 7,
            Self::WindowUpdate => 8,
            Self::Continuation => 9,
            Self::Unknown => u8::MAX,
        }
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Of the payload, below 2^24.
    pub(crate) len: usize,
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    /// 0 is the connection.
    pub(crate) stream: u32,
}

impl Header {
    pub(crate) fn parse(bytes: [u8; HEADER_LEN]) -> Self {
        let [a, b, c, kind, flags, w, x, y, z] = bytes;
        Self {
            len: u32::from_be_bytes([0, a, b, c]) as usize,
            kind: Kind::from_code(kind),
            flags,
            stream: u32::from_be_bytes([w & 0x7f, x, y, z]),
        }
    }

    pub(crate) fn encode(self) -> [u8; HEADER_LEN] {
        let [_, a, b, c] = (self.len as u32).to_be_bytes();
        let [w, x, y, z] = self.stream.to_be_bytes();
        [a, b, c, self.kind.code(), self.flags, w, x, y, z]
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Appends a frame of the connection's or a stream's own.
pub(crate) fn push(out: &mut Vec<u8>, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
    let header = Header {
        len: payload.len(),
        kind,
        flags,
        stream,
    };
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(payload);
}

/// The 31 bits of a WINDOW_UPDATE or of a stream in GOAWAY; `None` when the payload has another length.
pub(crate) fn u31(payload: &[u8]) -> Option<u32> {
    let bytes: [u8; 4] = payload.try_into().ok()?;
    Some(u32::from_be_bytes(bytes) & (u32::MAX >> 1))
}

/// The code of RST_STREAM.
pub(crate) fn reason(payload: &[u8]) -> Option<Reason> {
    let bytes: [u8; 4] = payload.try_into().ok()?;
    Some(Reason::from_code(u32::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_back_without_its_reserved_bit() {
        let header = Header {
            len: 0x01_02_03,
            kind: Kind::Ping,
            flags: 5,
            stream: 0x7f_ff_ff_fe,
        };
        let mut bytes = header.encode();
        assert_eq!(bytes, [1, 2, 3, 6, 5, 0x7f, 0xff, 0xff, 0xfe]);
        bytes[5] |= 0x80;
        assert_eq!(Header::parse(bytes), header);
        bytes[3] = 77;
        assert_eq!(Header::parse(bytes).kind, Kind::Unknown);
    }
}
