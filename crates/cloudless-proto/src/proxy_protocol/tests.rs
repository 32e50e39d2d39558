use super::*;

fn addresses(source: &str, destination: &str) -> Addresses {
    Addresses {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

fn header(len: usize, addresses: Option<Addresses>) -> Parsed {
    Parsed::Header { len, addresses }
}

/// The start of a header of `len` bytes is incomplete, and asks for none of the client's bytes.
#[track_caller]
fn check_missing(start: &[u8], len: usize) {
    let Parsed::Incomplete { missing } = parse(start) else {
        panic!("{start:02x?} is not incomplete");
    };
    assert!((1..=len - start.len()).contains(&missing), "{start:02x?}");
}

/// A header of version 2 with this command, family, addresses and additional values.
fn block(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([0x20 | command, family]);
    bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    bytes.extend(rest);
    bytes
}

const TCP4_ADDRESSES: [u8; 12] = [192, 0, 2, 7, 192, 0, 2, 1, 0xd4, 0x31, 1, 0xbb];

fn tcp4() -> Addresses {
    addresses("192.0.2.7:54321", "192.0.2.1:443")
}

#[test]
fn lines_of_version_1() {
    let tcp6 = addresses("[2001:db8::7]:1", "[2001:db8::1]:65535");
    for (line, expected) in [
        ("PROXY TCP4 192.0.2.7 192.0.2.1 54321 443", Some(tcp4())),
        ("PROXY TCP6 2001:db8::7 2001:db8::1 1 65535", Some(tcp6)),
        ("PROXY UNKNOWN", None),
        (
            "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535",
            None,
        ),
    ] {
        let bytes = format!("{line}\r\n");
        assert_eq!(
            parse(bytes.as_bytes()),
            header(bytes.len(), expected),
            "{line}"
        );
        let more = format!("{bytes}\r\nGET / HTTP/1.1\r\n");
        assert_eq!(
            parse(more.as_bytes()),
            header(bytes.len(), expected),
            "{line}"
        );
        for cut in 0..bytes.len() {
            check_missing(&bytes.as_bytes()[..cut], bytes.len());
        }
    }
}

#[test]
fn what_is_no_line_of_version_1() {
    use Malformed::{Addresses, Line, Signature, TooLong};
    for (line, malformed) in [
        ("PROXY TCP4 192.0.2.7 192.0.2.1 54321", Addresses),
        ("PROXY TCP4 192.0.2.7 192.0.2.1 54321 443 ", Line),
        ("PROXY TCP4 192.0.2.7  192.0.2.1 54321 443", Addresses),
        ("PROXY TCP4 2001:db8::7 2001:db8::1 1 2", Addresses),
        ("PROXY TCP4 192.0.2.07 192.0.2.1 1 2", Addresses),
        ("PROXY TCP4 192.0.2.7 192.0.2.1 65536 443", Addresses),
        ("PROXY TCP4 192.0.2.7 192.0.2.1 +1 443", Addresses),
        ("PROXY TCP4 192.0.2.7 192.0.2.1 01 443", Addresses),
        ("PROXY TCP6 192.0.2.7 192.0.2.1 1 443", Addresses),
        ("PROXY UDP4 192.0.2.7 192.0.2.1 1 443", Line),
        ("PROXY ", Line),
        ("proxy TCP4 192.0.2.7 192.0.2.1 1 443", Signature),
        ("GET / HTTP/1.1", Signature),
    ] {
        let bytes = format!("{line}\r\n");
        assert_eq!(
            parse(bytes.as_bytes()),
            Parsed::Malformed(malformed),
            "{line}"
        );
    }
    let line = format!("PROXY UNKNOWN {}", "x".repeat(107));
    assert_eq!(parse(line.as_bytes()), Parsed::Malformed(TooLong));
}

#[test]
fn blocks_of_version_2() {
    let mut tcp6 = [0; 36];
    tcp6[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
    tcp6[15] = 7;
    tcp6[31] = 1;
    tcp6[33] = 1;
    let no_op = [&TCP4_ADDRESSES[..], &[4, 0, 2, 0, 0]].concat();
    for (bytes, expected) in [
        (block(1, 0x11, &TCP4_ADDRESSES), Some(tcp4())),
        (block(1, 0x11, &no_op), Some(tcp4())),
        (
            block(1, 0x21, &tcp6),
            Some(addresses("[2001:db8::7]:1", "[::1]:0")),
        ),
        // A health check of the load balancer itself, whatever it says otherwise.
        (block(0, 0x11, &TCP4_ADDRESSES), None),
        (block(0, 0xff, b"?"), None),
        (block(1, 0, b""), None),
        (block(1, 0x12, &TCP4_ADDRESSES), None),
        (block(1, 0x31, &[0; 216]), None),
    ] {
        assert_eq!(parse(&bytes), header(bytes.len(), expected), "{bytes:02x?}");
        for cut in 0..bytes.len() {
            check_missing(&bytes[..cut], bytes.len());
        }
        let more = [&bytes[..], b"\x16\x03\x01"].concat();
        assert_eq!(parse(&more), header(bytes.len(), expected), "{bytes:02x?}");
    }
}

#[test]
fn what_is_no_block_of_version_2() {
    use Malformed::{Addresses, Command, Family, Signature, TooLong, Value, Version};
    let with = |values: &[u8]| block(1, 0x11, &[&TCP4_ADDRESSES[..], values].concat());
    let mut version = block(1, 0x11, &TCP4_ADDRESSES);
    version[12] = 0x31;
    for (bytes, malformed) in [
        (version, Version(3)),
        (block(2, 0x11, &TCP4_ADDRESSES), Command(2)),
        (block(1, 0x13, &TCP4_ADDRESSES), Family(0x13)),
        (block(1, 0x41, &TCP4_ADDRESSES), Family(0x41)),
        (block(1, 0x11, &TCP4_ADDRESSES[..11]), Addresses),
        (block(1, 0x21, &[0; 35]), Addresses),
        (with(&[4, 0]), Value),
        (with(&[4, 0, 2, 0]), Value),
        (block(1, 0, &[0; MAX_LEN]), TooLong),
        (b"\r\n\r\n\0\r\nQUIT\r".to_vec(), Signature),
        (b"\x16\x03\x01".to_vec(), Signature),
    ] {
        assert_eq!(parse(&bytes), Parsed::Malformed(malformed), "{bytes:02x?}");
    }
}

#[test]
fn a_checksum_that_is_there_must_be_right() {
    let mut bytes = block(
        1,
        0x11,
        &[&TCP4_ADDRESSES[..], &[3, 0, 4, 0, 0, 0, 0], &[4, 0, 0]].concat(),
    );
    // Reckoned by another implementation.
    let crc = 0xf83c_e277_u32;
    bytes[31..35].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(parse(&bytes), header(bytes.len(), Some(tcp4())));
    bytes[20] ^= 1;
    assert_eq!(parse(&bytes), Parsed::Malformed(Malformed::Checksum));
    let short = block(1, 0x11, &[&TCP4_ADDRESSES[..], &[3, 0, 1, 0]].concat());
    assert_eq!(parse(&short), Parsed::Malformed(Malformed::Checksum));
}

#[test]
fn two_families_become_one() {
    let mixed = addresses("192.0.2.7:1", "[2001:db8::1]:443");
    let line = encode(Version::V1, Some(mixed));
    assert_eq!(
        String::from_utf8_lossy(&line),
        "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 1 443\r\n"
    );
    let mapped = addresses("[::ffff:192.0.2.7]:54321", "192.0.2.1:443");
    let line = encode(Version::V1, Some(mapped));
    assert_eq!(
        String::from_utf8_lossy(&line),
        "PROXY TCP4 192.0.2.7 192.0.2.1 54321 443\r\n"
    );
    assert_eq!(
        encode(Version::V2, Some(mapped)),
        block(1, 0x11, &TCP4_ADDRESSES)
    );
    assert_eq!(encode(Version::V2, None), block(0, 0, b""));
    assert_eq!(encode(Version::V1, None), b"PROXY UNKNOWN\r\n");
}
