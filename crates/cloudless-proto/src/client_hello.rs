//! Reads the server name out of the first bytes of a TLS connection.
//!
//! A ClientHello may arrive in any number of TCP segments and of TLS records (RFC 8446 section
//! 5.1), and the server name may be cut by both. The [`Reader`] puts it together again, keeps every
//! byte as it came for the home to replay, and has one outcome for each way in which a hello can be
//! wrong, so that no two readings of the same bytes are possible.

mod hello;

use crate::{Hostname, InvalidHostname};

/// How many bytes a ClientHello may take, its record headers included.
pub const MAX_LEN: usize = 32 * 1024;

const RECORD_HEADER_LEN: usize = 5;
const RECORD_TYPE_HANDSHAKE: u8 = 22;
/// The longest fragment of a record that is not encrypted (RFC 8446 section 5.1).
const RECORD_LEN_MAX: u16 = 1 << 14;
const HANDSHAKE_HEADER_LEN: usize = 4;
const HANDSHAKE_TYPE_CLIENT_HELLO: u8 = 1;

/// Collects the bytes of one connection until its ClientHello is complete.
///
/// Push what the socket gives until the outcome is no longer [`Parsed::Incomplete`], then stop and
/// replay [`bytes`](Self::bytes). The outcome depends on the bytes alone, never on how they were
/// cut, and the cost is linear in them even when they come one by one.
///
/// It holds at most [`MAX_LEN`] bytes and one push, and while incomplete the same again.
#[derive(Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
    /// Invariant: `bytes[..read]` is in `handshake` or was a record header.
    read: usize,
    /// How much of the record at `read` is not read yet; zero before a record header.
    record_remaining: usize,
    /// The fragments of the records, joined.
    handshake: Vec<u8>,
    /// The outcome, once it is final.
    parsed: Option<Parsed>,
}

impl Reader {
    /// A reader for a new connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and says what is known so far.
    ///
    /// Bytes behind the hello (a ChangeCipherSpec record, early data) are kept. Pushing after the
    /// outcome is final keeps the bytes, changes nothing else, and is not bounded.
    pub fn push(&mut self, bytes: &[u8]) -> Parsed {
        self.bytes.extend_from_slice(bytes);
        if self.parsed.is_none() {
            self.parsed = self.read_records();
            if self.parsed.is_some() {
                self.handshake = Vec::new();
            }
        }
        self.parsed.clone().unwrap_or(Parsed::Incomplete)
    }

    /// Everything pushed so far, byte for byte.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Everything pushed so far, byte for byte.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Reads on from `read`; `None` when more bytes are needed.
    fn read_records(&mut self) -> Option<Parsed> {
        // What lies beyond the limit may be early data, but never a part of the hello.
        let end = self.bytes.len().min(MAX_LEN);
        while self.read < end {
            if self.record_remaining == 0 {
                match record_length(&self.bytes[self.read..end]) {
                    Ok(None) => break,
                    Ok(Some(length)) => {
                        self.record_remaining = length;
                        self.read += RECORD_HEADER_LEN;
                    }
                    Err(Malformed::RecordType(_)) if self.read == 0 => return Some(Parsed::NotTls),
                    Err(malformed) => return Some(Parsed::Malformed(malformed)),
                }
            } else {
                let fragment_end = end.min(self.read + self.record_remaining);
                self.handshake
                    .extend_from_slice(&self.bytes[self.read..fragment_end]);
                self.record_remaining -= fragment_end - self.read;
                self.read = fragment_end;
                if let Some(parsed) = self.read_handshake() {
                    return Some(parsed);
                }
            }
        }
        (end == MAX_LEN).then_some(Parsed::TooLong)
    }

    /// Reads the handshake message if it is complete or will never be one that counts.
    fn read_handshake(&self) -> Option<Parsed> {
        let &message_type = self.handshake.first()?;
        if message_type != HANDSHAKE_TYPE_CLIENT_HELLO {
            return Some(Parsed::Malformed(Malformed::HandshakeType(message_type)));
        }
        let &[_, high, middle, low] = self.handshake.first_chunk::<HANDSHAKE_HEADER_LEN>()?;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        if length > MAX_LEN - RECORD_HEADER_LEN - HANDSHAKE_HEADER_LEN {
            return Some(Parsed::TooLong);
        }
        let message_end = HANDSHAKE_HEADER_LEN + length;
        let body = self.handshake.get(HANDSHAKE_HEADER_LEN..message_end)?;
        if self.handshake.len() > message_end || self.record_remaining > 0 {
            return Some(Parsed::Malformed(Malformed::TrailingBytes));
        }
        Some(match hello::read(body) {
            Ok((None, offer)) => Parsed::NoServerName(offer),
            Ok((Some(hostname), offer)) => Parsed::Name(hostname, offer),
            Err(malformed) => Parsed::Malformed(malformed),
        })
    }
}

/// What the first bytes of a connection are. All but `Incomplete` are final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The start of a ClientHello: read on.
    Incomplete,
    /// TLS, but not as the RFCs have it.
    Malformed(Malformed),
    /// A ClientHello for this server name.
    Name(Hostname, Offer),
    /// A ClientHello without a server name.
    NoServerName(Offer),
    /// No TLS: the first byte is not that of a handshake record.
    NotTls,
    /// A ClientHello that takes more than [`MAX_LEN`] bytes.
    TooLong,
}

/// What else a ClientHello offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The application protocols in the client's order (RFC 7301); empty without the extension.
    pub alpn: Vec<Vec<u8>>,
}

impl Offer {
    /// Whether the client offers this application protocol.
    pub fn offers(&self, protocol: &[u8]) -> bool {
        self.alpn.iter().any(|offered| offered == protocol)
    }
}

/// What is wrong with a ClientHello (RFC 8446 sections 4.1.2 and 5.1 unless said otherwise).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The list of application protocols is empty or overruns (RFC 7301 section 3.1).
    #[error("the list of application protocols has a wrong length")]
    AlpnLength,
    /// The cipher suites are none, odd in number of bytes, or overrun.
    #[error("the list of cipher suites has a wrong length")]
    CipherSuitesLength,
    /// The compression methods are none or overrun.
    #[error("the list of compression methods has a wrong length")]
    CompressionMethodsLength,
    /// Two extensions with application protocols.
    #[error("there are two lists of application protocols")]
    DuplicateAlpn,
    /// Two server name extensions, or two names in one (RFC 6066 section 3).
    #[error("there are two server names")]
    DuplicateServerName,
    /// A record without content.
    #[error("a record is empty")]
    EmptyRecord,
    /// An extension overruns the list of extensions.
    #[error("an extension has a wrong length")]
    ExtensionLength,
    /// The list of extensions is longer or shorter than the rest of the hello.
    #[error("the list of extensions has a wrong length")]
    ExtensionsLength,
    /// A handshake message that is no ClientHello.
    #[error("the first handshake message is of type {0}, not a ClientHello")]
    HandshakeType(u8),
    /// The hello ends before its session id.
    #[error("the ClientHello is cut off")]
    HelloLength,
    /// The hello is of a version that is not TLS and not SSL 3.
    #[error("the ClientHello is of version 0x{0:04x}")]
    HelloVersion(u16),
    /// The server name is no host name: an IP address, a NUL, a letter that is not ASCII.
    #[error("the server name is no host name")]
    Hostname(#[source] InvalidHostname),
    /// The server name is of a type other than `host_name` (RFC 6066 section 3).
    #[error("the server name is of type {0}, not a host name")]
    NameType(u8),
    /// A record longer than 16 KiB.
    #[error("a record has {0} bytes, more than {RECORD_LEN_MAX}")]
    RecordLength(u16),
    /// A record of another type before the ClientHello is complete.
    #[error("a record of type {0} interrupts the ClientHello")]
    RecordType(u8),
    /// A record whose major version is not 3.
    #[error("a record is of major version {0}, not 3")]
    RecordVersion(u8),
    /// The server name extension is empty or its lengths disagree (RFC 6066 section 3).
    #[error("the server name has a wrong length")]
    ServerNameLength,
    /// The session id is longer than 32 bytes or overruns.
    #[error("the session id has a wrong length")]
    SessionIdLength,
    /// The record that ends the hello goes on after it.
    #[error("more bytes follow the ClientHello in its record")]
    TrailingBytes,
}

/// The length that a record header gives; `None` when it is not complete.
///
/// Each byte is checked as soon as it is there, so that nobody waits for bytes that cannot help.
fn record_length(header: &[u8]) -> Result<Option<usize>, Malformed> {
    if let Some(&record_type) = header.first()
        && record_type != RECORD_TYPE_HANDSHAKE
    {
        return Err(Malformed::RecordType(record_type));
    }
    // The minor version says nothing: it is 1 or 3 in practice, and to be ignored.
    if let Some(&major) = header.get(1)
        && major != 3
    {
        return Err(Malformed::RecordVersion(major));
    }
    let Some(&[_, _, _, high, low]) = header.first_chunk::<RECORD_HEADER_LEN>() else {
        return Ok(None);
    };
    match u16::from_be_bytes([high, low]) {
        0 => Err(Malformed::EmptyRecord),
        length if length > RECORD_LEN_MAX => Err(Malformed::RecordLength(length)),
        length => Ok(Some(usize::from(length))),
    }
}

#[cfg(test)]
mod tests;
