//! The body of a ClientHello, complete in memory.

use super::{Malformed, Offer};
use crate::Hostname;

const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_ALPN: u16 = 16;
const NAME_TYPE_HOST_NAME: u8 = 0;
const RANDOM_LEN: usize = 32;
const SESSION_ID_LEN_MAX: usize = 32;

/// Reads the ClientHello of RFC 8446 section 4.1.2, and those of older versions, which are alike.
pub(super) fn read(body: &[u8]) -> Result<(Option<Hostname>, Offer), Malformed> {
    let mut hello = Bytes(body);
    let version = hello.u16().ok_or(Malformed::HelloLength)?;
    if version >> 8 != 3 {
        return Err(Malformed::HelloVersion(version));
    }
    hello.take(RANDOM_LEN).ok_or(Malformed::HelloLength)?;
    let session_id = hello.vector_u8().ok_or(Malformed::SessionIdLength)?;
    if session_id.0.len() > SESSION_ID_LEN_MAX {
        return Err(Malformed::SessionIdLength);
    }
    let cipher_suites = hello.vector_u16().ok_or(Malformed::CipherSuitesLength)?;
    if cipher_suites.is_empty() || !cipher_suites.0.len().is_multiple_of(2) {
        return Err(Malformed::CipherSuitesLength);
    }
    let compression_methods = hello
        .vector_u8()
        .ok_or(Malformed::CompressionMethodsLength)?;
    if compression_methods.is_empty() {
        return Err(Malformed::CompressionMethodsLength);
    }
    if hello.is_empty() {
        // TLS 1.2 and older know a hello without extensions.
        return Ok((None, Offer::default()));
    }
    let extensions = hello.vector_u16().ok_or(Malformed::ExtensionsLength)?;
    if !hello.is_empty() {
        return Err(Malformed::ExtensionsLength);
    }
    read_extensions(extensions)
}

fn read_extensions(mut extensions: Bytes<'_>) -> Result<(Option<Hostname>, Offer), Malformed> {
    let mut server_name = None;
    let mut alpn = None;
    while !extensions.is_empty() {
        let extension_type = extensions.u16().ok_or(Malformed::ExtensionLength)?;
        let content = extensions.vector_u16().ok_or(Malformed::ExtensionLength)?;
        match extension_type {
            EXTENSION_SERVER_NAME if server_name.is_some() => {
                return Err(Malformed::DuplicateServerName);
            }
            EXTENSION_SERVER_NAME => server_name = Some(read_server_name(content)?),
            EXTENSION_ALPN if alpn.is_some() => return Err(Malformed::DuplicateAlpn),
            EXTENSION_ALPN => alpn = Some(read_alpn(content).ok_or(Malformed::AlpnLength)?),
            _ => {}
        }
    }
    Ok((
        server_name,
        Offer {
            alpn: alpn.unwrap_or_default(),
        },
    ))
}

/// Reads the ServerNameList of RFC 6066 section 3, which holds one host name.
fn read_server_name(mut content: Bytes<'_>) -> Result<Hostname, Malformed> {
    let mut names = content.vector_u16().ok_or(Malformed::ServerNameLength)?;
    if !content.is_empty() {
        return Err(Malformed::ServerNameLength);
    }
    let name_type = names.u8().ok_or(Malformed::ServerNameLength)?;
    if name_type != NAME_TYPE_HOST_NAME {
        return Err(Malformed::NameType(name_type));
    }
    let name = names.vector_u16().ok_or(Malformed::ServerNameLength)?;
    if name.is_empty() {
        return Err(Malformed::ServerNameLength);
    }
    if !names.is_empty() {
        return Err(Malformed::DuplicateServerName);
    }
    Hostname::from_bytes(name.0).map_err(Malformed::Hostname)
}

/// Reads the ProtocolNameList of RFC 7301 section 3.1.
fn read_alpn(mut content: Bytes<'_>) -> Option<Vec<Vec<u8>>> {
    let mut protocols = content.vector_u16()?;
    if !content.is_empty() || protocols.is_empty() {
        return None;
    }
    let mut alpn = Vec::new();
    while !protocols.is_empty() {
        let protocol = protocols.vector_u8()?;
        if protocol.is_empty() {
            return None;
        }
        alpn.push(protocol.0.to_vec());
    }
    Some(alpn)
}

/// Bytes not read yet. A reading method answers `None` when there are too few.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, length: usize) -> Option<Self> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Self(taken))
    }

    fn u8(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn u16(&mut self) -> Option<u16> {
        let (&bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(bytes))
    }

    /// A vector with a length of one byte in front (RFC 8446 section 3.4).
    fn vector_u8(&mut self) -> Option<Self> {
        let length = self.u8()?;
        self.take(length.into())
    }

    /// A vector with a length of two bytes in front (RFC 8446 section 3.4).
    fn vector_u16(&mut self) -> Option<Self> {
        let length = self.u16()?;
        self.take(length.into())
    }
}
