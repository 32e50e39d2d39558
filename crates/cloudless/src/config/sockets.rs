//! One socket address or a list of them.

use std::fmt;
use std::net::SocketAddr;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

/// Socket addresses to listen on: a string for one, an array for several or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SocketAddresses(pub(crate) Vec<SocketAddr>);

/// One socket address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketAddress(pub(crate) SocketAddr);

impl<'de> Deserialize<'de> for SocketAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).map(Self).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for SocketAddresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = SocketAddresses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a socket address such as \"127.0.0.1:8443\" or \"[::]:443\", or an array of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                parse(text)
                    .map(|address| SocketAddresses(vec![address]))
                    .map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut texts: A) -> Result<Self::Value, A::Error> {
                let mut addresses = Vec::new();
                while let Some(SocketAddress(address)) = texts.next_element()? {
                    addresses.push(address);
                }
                Ok(SocketAddresses(addresses))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

/// Reads one socket address.
///
/// # Errors
/// What was expected instead, with an example.
pub(crate) fn parse(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "`{text}` is not a socket address; expected an IP address and a port, such as \
             \"127.0.0.1:8443\" or \"[::]:443\""
        )
    })
}
