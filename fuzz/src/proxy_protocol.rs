//! PROXY protocol headers: no bytes panic, and what was read is written and read back.

use cloudless_proto::proxy_protocol::{Parsed, Version, encode, parse};

/// Panics when that does not hold.
pub fn check(bytes: &[u8]) {
    let Parsed::Header { len, addresses } = parse(bytes) else {
        return;
    };
    assert!(len <= bytes.len());
    assert_eq!(parse(&bytes[..len]), parse(bytes));
    for version in [Version::V1, Version::V2] {
        let header = encode(version, addresses);
        let Parsed::Header {
            addresses: read, ..
        } = parse(&header)
        else {
            panic!("{header:02x?} is not read back");
        };
        // A connection of two families becomes one of IPv6, where IPv4 addresses are mapped.
        let source = |it: cloudless_proto::proxy_protocol::Addresses| {
            (it.source.ip().to_canonical(), it.source.port())
        };
        assert_eq!(read.map(source), addresses.map(source));
    }
}
