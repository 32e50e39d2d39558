use std::net::{IpAddr, SocketAddr};

use cloudless_proto::proxy_protocol::{Addresses, Parsed, Version, encode, parse};
use proptest::{collection::vec, prelude::*, sample::Index};

fn ends() -> impl Strategy<Value = Addresses> {
    let ipv4 = any::<([u8; 4], [u8; 4])>().prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b)));
    let ipv6 = any::<([u8; 16], [u8; 16])>().prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b)));
    (prop_oneof![ipv4, ipv6], any::<(u16, u16)>()).prop_map(|(ips, ports)| Addresses {
        source: SocketAddr::new(ips.0.to_canonical(), ports.0),
        destination: SocketAddr::new(ips.1.to_canonical(), ports.1),
    })
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V1), Just(Version::V2)]
}

proptest! {
    #[test]
    fn what_is_encoded_is_read_back(version in version(), addresses in ends(), behind in vec(any::<u8>(), 0..20)) {
        let mut bytes = encode(version, Some(addresses));
        let len = bytes.len();
        for cut in 0..len {
            let Parsed::Incomplete { missing } = parse(&bytes[..cut]) else {
                panic!("cut at {cut}");
            };
            prop_assert!((1..=len - cut).contains(&missing));
        }
        bytes.extend(behind);
        prop_assert_eq!(parse(&bytes), Parsed::Header { len, addresses: Some(addresses) });
    }

    /// What follows the bytes that decided changes nothing.
    #[test]
    fn an_outcome_is_final(
        version in version(),
        addresses in ends(),
        damage in vec((any::<Index>(), any::<u8>()), 0..3),
        behind in vec(any::<u8>(), 0..40),
    ) {
        let mut bytes = encode(version, Some(addresses));
        for (at, byte) in &damage {
            *at.get_mut(&mut bytes) = *byte;
        }
        bytes.extend(behind);
        let mut outcome = parse(b"");
        for len in 0..=bytes.len() {
            let parsed = parse(&bytes[..len]);
            let is_open = matches!(outcome, Parsed::Incomplete { .. });
            prop_assert!(is_open || outcome == parsed);
            if let Parsed::Header { len: header_len, .. } = parsed {
                prop_assert!(header_len <= len);
            }
            outcome = parsed;
        }
    }
}
