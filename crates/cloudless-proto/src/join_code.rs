//! The one line that a relay prints and a home redeems.
//!
//! ```text
//! "cloudless1-" base32(payload ‖ first 4 bytes of SHA-256("cloudless1-" ‖ payload))
//! payload = expires_at (8 bytes, big endian) ‖ secret (16) ‖ relay key (32)
//!           ‖ server name, hostname, address… (ASCII, one space between two)
//! ```
//! Base32 is RFC 4648's in lower case without padding, so that a double click selects it all.

use std::{fmt, net::SocketAddr, str::FromStr};

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Hostname, PublicKey, Redacted};

/// The most addresses that a join code holds.
pub const ADDRESSES_MAX: usize = 8;

const NAME: &str = "cloudless";
const VERSION: u8 = 1;
const CHECKSUM_LEN: usize = 4;
/// Far above the longest code, which has ten names and addresses of about 260 bytes.
const TEXT_LEN_MAX: usize = 8 * 1024;

/// Everything that a home needs to reach a relay, to trust it, and to be given a name there.
///
/// Its `Display` is the code to hand over, its `FromStr` forgives case and white space. It holds a
/// secret: show it only to the person who asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinCode {
    /// Where the relay listens, 1 to [`ADDRESSES_MAX`] of `host:port` ([`check_address`]).
    pub addresses: Vec<String>,
    /// The relay's own name, which the home sends as server name.
    pub server_name: Hostname,
    /// The key that the relay must prove.
    pub relay_key: PublicKey,
    /// The name that the home is given.
    pub hostname: Hostname,
    /// What the home redeems, once.
    pub secret: JoinSecret,
    /// When the code expires, in seconds of Unix time. The relay decides; the home may warn.
    pub expires_at: u64,
}

impl fmt::Display for JoinCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut payload = Vec::new();
        payload.extend_from_slice(&self.expires_at.to_be_bytes());
        payload.extend_from_slice(self.secret.0.expose());
        payload.extend_from_slice(&self.relay_key.0);
        payload.extend_from_slice(self.server_name.as_str().as_bytes());
        for word in [self.hostname.as_str()]
            .into_iter()
            .chain(self.addresses.iter().map(|a| &**a))
        {
            payload.push(b' ');
            payload.extend_from_slice(word.as_bytes());
        }
        let checksum = checksum(&payload);
        payload.extend_from_slice(&checksum);
        let encoded = BASE32_NOPAD.encode(&payload).to_ascii_lowercase();
        write!(formatter, "{NAME}{VERSION}-{encoded}")
    }
}

impl FromStr for JoinCode {
    type Err = JoinCodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > TEXT_LEN_MAX {
            return Err(JoinCodeError::NotAJoinCode);
        }
        // A terminal or a mail program may have broken the line.
        let text: String = text
            .chars()
            .filter(|character| !character.is_whitespace())
            .collect();
        let text = text.to_ascii_lowercase();
        let (version, encoded) = text
            .strip_prefix(NAME)
            .and_then(|rest| rest.split_once('-'))
            .ok_or(JoinCodeError::NotAJoinCode)?;
        match version.parse::<u8>() {
            Ok(VERSION) => {}
            Ok(other) => return Err(JoinCodeError::Version(other)),
            Err(_) => return Err(JoinCodeError::NotAJoinCode),
        }
        let payload = BASE32_NOPAD
            .decode(encoded.to_ascii_uppercase().as_bytes())
            .map_err(|_| JoinCodeError::Checksum)?;
        let (payload, sum) = payload
            .split_last_chunk::<CHECKSUM_LEN>()
            .ok_or(JoinCodeError::Checksum)?;
        if checksum(payload) != *sum {
            return Err(JoinCodeError::Checksum);
        }
        read_payload(payload).ok_or(JoinCodeError::Malformed)
    }
}

/// Why some text is no [`JoinCode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinCodeError {
    /// It looks like one, but a character is wrong or missing.
    #[error("the join code has a typo or is cut off: copy the whole line again")]
    Checksum,
    /// Intact, but it holds a name or an address that is none.
    #[error("the join code is intact but holds a bad name or address: ask for a new one")]
    Malformed,
    /// Something else altogether.
    #[error("this is no join code: one starts with \"{NAME}{VERSION}-\"")]
    NotAJoinCode,
    /// Made by a program that writes another form.
    #[error(
        "the join code is of version {0}, this program reads version {VERSION}: upgrade the older of relay and home"
    )]
    Version(u8),
}

/// 128 random bits that are good for joining once.
///
/// The relay keeps only its [`hash`](Self::hash) and compares hashes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JoinSecret(#[serde(with = "crate::hex::secret")] Redacted<[u8; 16]>);

impl JoinSecret {
    /// The secret made of these random bytes.
    pub fn new(random: [u8; 16]) -> Self {
        Self(Redacted::new(random))
    }

    /// Its SHA-256, which says nothing about 128 random bits.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.expose()).into()
    }
}

/// Checks an address of a relay: `name:port`, `192.0.2.1:port` or `[2001:db8::1]:port`.
///
/// # Errors
///
/// [`InvalidAddress`], with the address.
pub fn check_address(address: &str) -> Result<(), InvalidAddress> {
    let invalid = || InvalidAddress {
        address: address.to_owned(),
    };
    if let Ok(address) = address.parse::<SocketAddr>() {
        return if address.port() == 0 {
            Err(invalid())
        } else {
            Ok(())
        };
    }
    let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
    let port_is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port_is_valid = port_is_number && port.parse::<u16>().is_ok_and(|port| port != 0);
    if port_is_valid && host.parse::<Hostname>().is_ok() {
        Ok(())
    } else {
        Err(invalid())
    }
}

/// The text is no address that a home could dial.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{address}\" is no address: write it as name:port or [IPv6 address]:port")]
pub struct InvalidAddress {
    /// The text.
    pub address: String,
}

fn checksum(payload: &[u8]) -> [u8; CHECKSUM_LEN] {
    let hash = Sha256::new()
        .chain_update(format!("{NAME}{VERSION}-"))
        .chain_update(payload)
        .finalize();
    let mut checksum = [0; CHECKSUM_LEN];
    checksum.copy_from_slice(&hash[..CHECKSUM_LEN]);
    checksum
}

fn read_payload(payload: &[u8]) -> Option<JoinCode> {
    let (expires_at, payload) = payload.split_first_chunk()?;
    let (secret, payload) = payload.split_first_chunk()?;
    let (relay_key, payload) = payload.split_first_chunk()?;
    let mut words = std::str::from_utf8(payload).ok()?.split(' ');
    let server_name = words.next()?.parse().ok()?;
    let hostname = words.next()?.parse().ok()?;
    let addresses: Vec<String> = words.map(str::to_owned).collect();
    let count_is_valid = (1..=ADDRESSES_MAX).contains(&addresses.len());
    if !count_is_valid
        || addresses
            .iter()
            .any(|address| check_address(address).is_err())
    {
        return None;
    }
    Some(JoinCode {
        addresses,
        server_name,
        relay_key: PublicKey(*relay_key),
        hostname,
        secret: JoinSecret::new(*secret),
        expires_at: u64::from_be_bytes(*expires_at),
    })
}

#[cfg(test)]
mod tests;
