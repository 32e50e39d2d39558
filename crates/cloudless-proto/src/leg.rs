//! Legs: how a visitor's bytes leave the tunnel for a TCP connection of their own.
//!
//! A visitor begins on its HTTP/2 stream. Once [`THRESHOLD`] bytes have gone either way, the relay
//! may offer a leg over the control stream: a [`Ticket`], good once and for [`LIFETIME`]. The home
//! dials the relay anew, where its tunnel reached it, and sends the ticket's [`preface`](Ticket::preface).
//! The relay says over the tunnel that the leg is ready; then each side, on its own, ends its half
//! of the stream with the trailer [`TRAILER`] and goes on on the leg at that very byte.
//! [`HandOver`] has the rules.
//!
//! ```text
//! home                             relay
//!       ◀── control: leg ─────────        stream, number, token
//!   TCP ─── preface ─────────────▶        number, token
//!       ◀── control: leg_ready ───        stream, number
//!       ◀── stream: trailer ──────        up goes on on the leg
//!       ─── stream: trailer ─────▶        down goes on on the leg
//! ```
//!
//! A leg is neither encrypted nor authenticated: it carries the inside of a TLS session whose
//! handshake went through the tunnel.

mod due;
mod hand_over;
mod luck;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Redacted;

pub use due::Due;
pub use hand_over::{HandOver, Lost, Send, StreamEnd};
pub use luck::Luck;

/// How many bytes go through the tunnel in one direction before a leg is offered.
pub const THRESHOLD: u64 = 64 * 1024;
/// How long a ticket is good.
pub const LIFETIME: Duration = Duration::from_secs(5);
/// The trailer with which half of a stream ends that goes on on a leg; its value is the leg's
/// number in decimal. END_STREAM without it is FIN.
pub const TRAILER: &str = "cloudless-leg";
/// The length of a [preface](Ticket::preface), in bytes.
pub const PREFACE_LEN: usize = MAGIC.len() + 8 + 16;

/// A TLS record begins with its type, which is 20 or more, an SSLv2 hello with a length of 128 or
/// more, HTTP/1 and the PROXY protocol with a letter or a line end.
const MAGIC: &[u8; 16] = b"\0cloudless-leg/1";

/// 128 random bits that bind a leg to its visitor, good once.
///
/// A relay that is shown one compares its [`bytes`](Self::bytes) in constant time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(#[serde(with = "crate::hex::secret")] Redacted<[u8; 16]>);

impl Token {
    /// The token made of these random bytes.
    pub fn new(random: [u8; 16]) -> Self {
        Self(Redacted::new(random))
    }

    /// The random bytes.
    pub fn bytes(&self) -> &[u8; 16] {
        self.0.expose()
    }
}

/// What a home shows for a leg that was offered to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Tells the leg from all others that the relay has offered since it started. No secret.
    pub number: u64,
    /// The secret.
    pub token: Token,
}

impl Ticket {
    /// The first bytes of a leg, home to relay.
    pub fn preface(&self) -> [u8; PREFACE_LEN] {
        let mut preface = [0; PREFACE_LEN];
        let (magic, rest) = preface.split_at_mut(MAGIC.len());
        let (number, token) = rest.split_at_mut(8);
        magic.copy_from_slice(MAGIC);
        number.copy_from_slice(&self.number.to_be_bytes());
        token.copy_from_slice(self.token.bytes());
        preface
    }

    /// Reads a whole preface; `None` when it is none.
    pub fn from_preface(preface: &[u8; PREFACE_LEN]) -> Option<Self> {
        let rest = preface.strip_prefix(MAGIC)?;
        let (number, token) = rest.split_first_chunk()?;
        Some(Self {
            number: u64::from_be_bytes(*number),
            token: Token::new(token.try_into().ok()?),
        })
    }
}

/// Whether a connection that begins with these bytes can be a leg. Nothing else that a relay is
/// asked for begins so.
pub fn begins(first: &[u8]) -> bool {
    let n = first.len().min(MAGIC.len());
    n > 0 && first[..n] == MAGIC[..n]
}

/// The trailer's value for a leg.
pub fn trailer(number: u64) -> String {
    number.to_string()
}

/// The leg that a trailer's value names; `None` when it names none.
pub fn from_trailer(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    is_number
        .then(|| std::str::from_utf8(value).ok()?.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_hello::{Parsed, Reader};

    fn ticket() -> Ticket {
        Ticket {
            number: 0x0102_0304_0506_0708,
            token: Token::new([0xab; 16]),
        }
    }

    #[test]
    fn a_preface_is_read_back_and_nothing_else_is() {
        let preface = ticket().preface();
        assert_eq!(Ticket::from_preface(&preface), Some(ticket()));
        for index in 0..MAGIC.len() {
            let mut wrong = preface;
            wrong[index] ^= 1;
            assert!(Ticket::from_preface(&wrong).is_none());
            assert!(!begins(&wrong[..=index]));
            assert!(begins(&preface[..=index]));
        }
        assert!(!begins(b""));
    }

    #[test]
    fn a_preface_is_neither_tls_nor_http_after_its_first_byte() {
        let first = &ticket().preface()[..1];
        assert_eq!(Reader::new().push(first), Parsed::NotTls);
        let mut http = crate::request_head::Reader::new();
        assert!(matches!(
            http.push(&ticket().preface()),
            crate::request_head::Parsed::Malformed(_) | crate::request_head::Parsed::Incomplete
        ));
        for other in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\r\n\r\n\0\r\nQUIT\n",
            b"PROXY TCP4",
            b"\x16\x03\x01",
            b"\x80\x2e\x01",
        ] {
            assert!(!begins(other));
        }
    }

    #[test]
    fn a_trailer_is_a_number() {
        assert_eq!(from_trailer(trailer(u64::MAX).as_bytes()), Some(u64::MAX));
        for wrong in [
            &b""[..],
            b"+1",
            b" 1",
            b"-1",
            b"99999999999999999999999",
            b"x",
        ] {
            assert_eq!(from_trailer(wrong), None);
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        assert!(!format!("{:?}", ticket()).contains("ab"));
    }
}
