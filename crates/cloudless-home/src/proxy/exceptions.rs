//! Hosts that are reached without the proxy.

use std::net::IpAddr;

/// A list such as `NO_PROXY` holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Exceptions(Vec<Exception>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    /// Every host.
    All,
    /// This name, in lower case, and all names below it.
    Domain(String),
    /// The addresses that begin with so many bits of this one.
    Network(IpAddr, u8),
}

impl Exceptions {
    pub(super) fn new(list: &str) -> Self {
        let items = list.split(',').map(str::trim);
        Self(items.filter_map(Exception::new).collect())
    }

    /// Whether this host, a name or an address (an IPv6 one perhaps in brackets), is on the list or
    /// on this very machine.
    pub(super) fn contain(&self, host: &str) -> bool {
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        self.0.iter().any(|exception| match exception {
            Exception::All => true,
            Exception::Domain(domain) => host
                .strip_suffix(domain.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
            Exception::Network(network, bits) => {
                address.is_some_and(|address| begin_alike(address, *network, *bits))
            }
        })
    }
}

impl Exception {
    fn new(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        match (address.trim_matches(['[', ']']).parse::<IpAddr>(), bits) {
            (Ok(address), None) => Some(Self::Network(address, 128)),
            (Ok(address), Some(bits)) => Some(Self::Network(address, bits.parse().ok()?)),
            (Err(_), Some(_)) => None,
            (Err(_), None) => {
                let domain = text.trim_start_matches('.').to_ascii_lowercase();
                (!domain.is_empty()).then_some(Self::Domain(domain))
            }
        }
    }
}

/// Whether two addresses of one family have their first bits in common; more bits than there are
/// mean all.
fn begin_alike(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    let (difference, length) = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            let difference = u128::from(one.to_bits() ^ other.to_bits());
            (difference, 32)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits(), 128),
        _ => return false,
    };
    let rest = u32::saturating_sub(length, bits.into());
    difference.checked_shr(rest).unwrap_or(0) == 0
}
