//! Version 2: a signature, a command, a family, a length, the addresses, additional values.

use std::net::{IpAddr, SocketAddr};

use super::{Addresses, Header, MAX_LEN, Malformed, NotYet};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length of what follows.
const FIXED_LEN: usize = 16;
const VERSION: u8 = 2;
const LOCAL: u8 = 0;
const PROXY: u8 = 1;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
/// An additional value that holds the checksum of the whole header.
const CRC32C: u8 = 3;

pub(super) fn parse(bytes: &[u8]) -> Result<Header, NotYet> {
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED_LEN) else {
        return Err(NotYet::Missing(FIXED_LEN - bytes.len()));
    };
    let (version, command) = (fixed[12] >> 4, fixed[12] & 0xf);
    if version != VERSION {
        return Err(Malformed::Version(version).into());
    }
    if !matches!(command, LOCAL | PROXY) {
        return Err(Malformed::Command(command).into());
    }
    let rest_len = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let len = FIXED_LEN + rest_len;
    if len > MAX_LEN {
        return Err(Malformed::TooLong.into());
    }
    let Some(rest) = rest.get(..rest_len) else {
        return Err(NotYet::Missing(len - bytes.len()));
    };
    if command == LOCAL {
        // Family, addresses and all else are to be ignored.
        return Ok((len, None));
    }
    let addresses_len = match fixed[13] {
        0 => return Ok((len, None)),
        TCP4 | 0x12 => 12,
        TCP6 | 0x22 => 36,
        // Paths of unix sockets.
        0x31 | 0x32 => 216,
        family => return Err(Malformed::Family(family).into()),
    };
    let (addresses, values) = rest
        .split_at_checked(addresses_len)
        .ok_or(Malformed::Addresses)?;
    check_values(&bytes[..len], values)?;
    let addresses = match fixed[13] {
        TCP4 => Some(connection::<4>(addresses)),
        TCP6 => Some(connection::<16>(addresses)),
        // No TCP connection has such addresses.
        _ => None,
    };
    Ok((len, addresses))
}

/// Reads two addresses of `N` bytes each and two ports.
fn connection<const N: usize>(bytes: &[u8]) -> Addresses
where
    IpAddr: From<[u8; N]>,
{
    let end = |address: usize, port: usize| {
        let mut octets = [0; N];
        octets.copy_from_slice(&bytes[address..address + N]);
        let port = u16::from_be_bytes([bytes[port], bytes[port + 1]]);
        SocketAddr::new(IpAddr::from(octets).to_canonical(), port)
    };
    Addresses {
        source: end(0, 2 * N),
        destination: end(N, 2 * N + 2),
    }
}

/// Walks over the additional values, and checks the checksum if it is among them.
fn check_values(header: &[u8], mut values: &[u8]) -> Result<(), Malformed> {
    while let [kind, high, low, rest @ ..] = values {
        let value_len = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, rest) = rest.split_at_checked(value_len).ok_or(Malformed::Value)?;
        if *kind == CRC32C {
            let value_at = header.len() - rest.len() - value.len();
            check_checksum(header, value, value_at)?;
        }
        values = rest;
    }
    if values.is_empty() {
        Ok(())
    } else {
        Err(Malformed::Value)
    }
}

/// The checksum is that of the header with zeros in its own place.
fn check_checksum(header: &[u8], value: &[u8], value_at: usize) -> Result<(), Malformed> {
    let value: [u8; 4] = value.try_into().map_err(|_| Malformed::Checksum)?;
    let before = &header[..value_at];
    let after = &header[value_at + value.len()..];
    let bytes = before.iter().chain(&[0; 4]).chain(after);
    if crc32c(bytes) == u32::from_be_bytes(value) {
        Ok(())
    } else {
        Err(Malformed::Checksum)
    }
}

/// CRC-32C (RFC 9260 appendix A), bit by bit: headers are short and checksums in them rare.
fn crc32c<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    !bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg())
        })
    })
}

pub(super) fn encode(addresses: Option<Addresses>) -> Vec<u8> {
    let (command, family, block) = match addresses {
        None => (LOCAL, 0, Vec::new()),
        Some(Addresses {
            source,
            destination,
        }) => {
            let mut block = Vec::new();
            for address in [source.ip(), destination.ip()] {
                match address {
                    IpAddr::V4(address) => block.extend(address.octets()),
                    IpAddr::V6(address) => block.extend(address.octets()),
                }
            }
            block.extend(source.port().to_be_bytes());
            block.extend(destination.port().to_be_bytes());
            let family = if source.is_ipv4() { TCP4 } else { TCP6 };
            (PROXY, family, block)
        }
    };
    // At most 36.
    let block_len = u16::try_from(block.len()).unwrap_or_default();
    let mut header = SIGNATURE.to_vec();
    header.extend([VERSION << 4 | command, family]);
    header.extend(block_len.to_be_bytes());
    header.extend(block);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc_32c() {
        assert_eq!(crc32c(b"123456789".iter()), 0xe306_9283);
    }
}
