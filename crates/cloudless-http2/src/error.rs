//! Why a stream or a connection ends before its time.

use std::fmt;
use std::io;
use std::sync::Arc;

/// An error code of RST_STREAM and GOAWAY (RFC 9113 section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason(u32);

impl Reason {
    /// Nothing is wrong.
    pub const NO_ERROR: Self = Self(0);
    /// The peer breaks the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1);
    /// This side is at fault.
    pub const INTERNAL_ERROR: Self = Self(2);
    /// The peer sends more than it may.
    pub const FLOW_CONTROL_ERROR: Self = Self(3);
    /// A frame came for a stream that has ended.
    pub const STREAM_CLOSED: Self = Self(5);
    /// A frame's length is wrong.
    pub const FRAME_SIZE_ERROR: Self = Self(6);
    /// The stream was not looked at, and may be tried elsewhere.
    pub const REFUSED_STREAM: Self = Self(7);
    /// The stream is of no more use.
    pub const CANCEL: Self = Self(8);
    /// The header compression broke.
    pub const COMPRESSION_ERROR: Self = Self(9);
    /// The peer makes work without end.
    pub const ENHANCE_YOUR_CALM: Self = Self(11);

    pub(crate) fn from_code(code: u32) -> Self {
        Self(code)
    }

    pub(crate) fn code(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::NO_ERROR => "NO_ERROR",
            Self::PROTOCOL_ERROR => "PROTOCOL_ERROR",
            Self::INTERNAL_ERROR => "INTERNAL_ERROR",
            Self::FLOW_CONTROL_ERROR => "FLOW_CONTROL_ERROR",
            Self::STREAM_CLOSED => "STREAM_CLOSED",
            Self::FRAME_SIZE_ERROR => "FRAME_SIZE_ERROR",
            Self::REFUSED_STREAM => "REFUSED_STREAM",
            Self::CANCEL => "CANCEL",
            Self::COMPRESSION_ERROR => "COMPRESSION_ERROR",
            Self::ENHANCE_YOUR_CALM => "ENHANCE_YOUR_CALM",
            Self(code) => return write!(formatter, "error code {code}"),
        };
        formatter.write_str(name)
    }
}

/// An end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This one.
    Local,
    /// The peer.
    Remote,
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Local => "this side",
            Self::Remote => "the peer",
        })
    }
}

/// Why a stream or its connection ends.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// One stream was reset (RST_STREAM).
    #[error("the stream was reset by {by}: {reason}")]
    Reset {
        /// Why.
        reason: Reason,
        /// By whom.
        by: Side,
    },
    /// The connection was given up (GOAWAY), or takes no more streams.
    #[error("the connection was given up by {by}: {reason}")]
    GoneAway {
        /// Why.
        reason: Reason,
        /// By whom.
        by: Side,
    },
    /// The bytes below HTTP/2 broke.
    #[error("the connection broke")]
    Broken(#[source] Arc<io::Error>),
    /// The connection is closed.
    #[error("the connection is closed")]
    Closed,
    /// What is to be sent cannot be a head: it is too long, or has no method or authority.
    #[error("a message's head cannot be sent")]
    Head,
    /// This direction of the stream has ended already.
    #[error("the stream has ended already")]
    Ended,
    /// A ping is on its way already.
    #[error("a ping is on its way already")]
    Pinging,
}

impl Error {
    pub(crate) fn broken(error: io::Error) -> Self {
        Self::Broken(Arc::new(error))
    }

    /// A connection error of RFC 9113 section 5.4.1, found here.
    pub(crate) fn connection(reason: Reason) -> Self {
        Self::GoneAway {
            reason,
            by: Side::Local,
        }
    }

    /// Whether this is one stream's end, and not the connection's.
    pub fn is_reset(&self) -> bool {
        matches!(self, Self::Reset { .. })
    }

    /// Whether the peer has said so.
    pub fn is_remote(&self) -> bool {
        let (Self::Reset { by, .. } | Self::GoneAway { by, .. }) = self else {
            return false;
        };
        *by == Side::Remote
    }

    /// The error code, if one was said.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Reset { reason, .. } | Self::GoneAway { reason, .. } => Some(*reason),
            _ => None,
        }
    }
}
