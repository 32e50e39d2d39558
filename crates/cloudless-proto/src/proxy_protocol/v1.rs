//! Version 1: `PROXY TCP4 192.0.2.7 192.0.2.1 54321 443` and CR LF.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Addresses, Header, Malformed, NotYet};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";
/// "PROXY UNKNOWN" and the end of the line.
const LEN_MIN: usize = 15;
/// With its end, as the specification reckons.
const LEN_MAX: usize = 107;

pub(super) fn parse(bytes: &[u8]) -> Result<Header, NotYet> {
    let line = &bytes[..bytes.len().min(LEN_MAX)];
    let Some(end) = line.windows(2).position(|end| end == b"\r\n") else {
        return match line.len() {
            LEN_MAX => Err(Malformed::TooLong.into()),
            len if len < LEN_MIN => Err(NotYet::Missing(LEN_MIN - len)),
            _ if line.ends_with(b"\r") => Err(NotYet::Missing(1)),
            _ => Err(NotYet::Missing(2)),
        };
    };
    let text = std::str::from_utf8(&line[..end]).map_err(|_| Malformed::Line)?;
    let mut words = text.split(' ').skip(1);
    let addresses = match words.next() {
        // Whatever else such a line says is to be ignored.
        Some("UNKNOWN") => None,
        Some("TCP4") => Some(connection::<Ipv4Addr>(words)?),
        Some("TCP6") => Some(connection::<Ipv6Addr>(words)?),
        _ => return Err(Malformed::Line.into()),
    };
    Ok((end + 2, addresses))
}

/// Two addresses, then two ports, and nothing else.
fn connection<'a, A>(mut words: impl Iterator<Item = &'a str>) -> Result<Addresses, Malformed>
where
    A: FromStr + Into<IpAddr>,
{
    let mut address = || {
        let address: Option<A> = words.next().and_then(|word| word.parse().ok());
        address.map(Into::into).ok_or(Malformed::Addresses)
    };
    let (source, destination) = (address()?, address()?);
    let mut port = || words.next().and_then(port).ok_or(Malformed::Addresses);
    let (source_port, destination_port) = (port()?, port()?);
    match words.next() {
        None => Ok(Addresses {
            source: SocketAddr::new(source, source_port),
            destination: SocketAddr::new(destination, destination_port),
        }),
        Some(_) => Err(Malformed::Line),
    }
}

/// A decimal number without sign and leading zeros.
fn port(word: &str) -> Option<u16> {
    let port: u16 = word.parse().ok()?;
    (port.to_string() == word).then_some(port)
}

pub(super) fn encode(addresses: Option<Addresses>) -> Vec<u8> {
    let Some(Addresses {
        source,
        destination,
    }) = addresses
    else {
        return b"PROXY UNKNOWN\r\n".to_vec();
    };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (source_port, destination_port) = (source.port(), destination.port());
    format!(
        "PROXY {family} {} {} {source_port} {destination_port}\r\n",
        source.ip(),
        destination.ip()
    )
    .into_bytes()
}
