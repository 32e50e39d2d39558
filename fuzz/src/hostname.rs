//! Hostnames, of ClientHellos, heads, CONNECT streams and files: no bytes panic, there is one spelling
//! of each, and none is an address or anything that a shell, a log or a URL reads differently.

use std::net::IpAddr;

use cloudless_proto::{Hostname, PublicKey, UpstreamAddress};

/// Panics when that does not hold.
pub fn check(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(key) = text.parse::<PublicKey>() {
            assert_eq!(key.to_string(), text);
        }
        if let Ok(address) = text.parse::<UpstreamAddress>() {
            assert_eq!(address.to_string().parse(), Ok(address));
        }
    }
    let Ok(hostname) = Hostname::from_bytes(bytes) else {
        return;
    };
    let text = hostname.as_str();
    assert!(text.len() <= 253 && !text.ends_with('.'));
    assert!(
        text.bytes()
            .all(|it| matches!(it, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
    );
    assert!(text.parse::<IpAddr>().is_err());
    assert_eq!(
        Hostname::from_bytes(text.as_bytes()).as_ref(),
        Ok(&hostname)
    );
}
