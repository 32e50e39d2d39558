//! `metrics` in `relay.toml` and `home.toml`: where metrics are read.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, de};

use super::sockets::SocketAddress;

/// A loopback address: metrics are told to whoever asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MetricsAddress(pub(crate) SocketAddr);

impl<'de> Deserialize<'de> for MetricsAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let SocketAddress(address) = SocketAddress::deserialize(deserializer)?;
        if address.ip().is_loopback() {
            return Ok(Self(address));
        }
        Err(de::Error::custom(format!(
            "`{address}` can be reached from other machines, and metrics have no password; expected \
             a loopback address, such as \"127.0.0.1:9464\""
        )))
    }
}
