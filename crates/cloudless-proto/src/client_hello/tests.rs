use super::*;

/// `content` behind its length of one byte.
fn vector_u8(content: &[u8]) -> Vec<u8> {
    [&[u8::try_from(content.len()).unwrap()], content].concat()
}

/// `content` behind its length of two bytes.
fn vector_u16(content: &[u8]) -> Vec<u8> {
    [
        &u16::try_from(content.len()).unwrap().to_be_bytes(),
        content,
    ]
    .concat()
}

fn extension(extension_type: u16, content: &[u8]) -> Vec<u8> {
    [&extension_type.to_be_bytes()[..], &vector_u16(content)].concat()
}

fn server_name(name: &[u8]) -> Vec<u8> {
    extension(0, &vector_u16(&[&[0], &vector_u16(name)[..]].concat()))
}

fn alpn(protocols: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = protocols
        .iter()
        .flat_map(|protocol| vector_u8(protocol))
        .collect();
    extension(16, &vector_u16(&list))
}

/// A hello up to its extensions.
fn start() -> Vec<u8> {
    [
        &[3, 3][..],
        &[0x55; 32],
        &vector_u8(&[7; 32]),
        &vector_u16(&[0x13, 1]),
        &vector_u8(&[0]),
    ]
    .concat()
}

fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    [start(), vector_u16(&extensions.concat())].concat()
}

fn handshake(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1], &length[1..], body].concat()
}

fn record(fragment: &[u8]) -> Vec<u8> {
    [&[22, 3, 1], &vector_u16(fragment)[..]].concat()
}

fn records(handshake: &[u8], fragment_len: usize) -> Vec<u8> {
    handshake.chunks(fragment_len).flat_map(record).collect()
}

/// A hello with these extensions in one record.
fn stream(extensions: &[Vec<u8>]) -> Vec<u8> {
    record(&handshake(&hello(extensions)))
}

fn name(text: &str, alpn: &[&[u8]]) -> Parsed {
    let alpn = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Parsed::Name(text.parse().unwrap(), Offer { alpn })
}

/// Reads `stream` at once and byte by byte; both must end in `expected`.
#[track_caller]
fn check(stream: &[u8], expected: &Parsed) {
    let mut reader = Reader::new();
    assert_eq!(reader.push(stream), *expected);
    assert_eq!(reader.bytes(), stream);

    let mut reader = Reader::new();
    let mut parsed = Parsed::Incomplete;
    for (at, byte) in stream.iter().enumerate() {
        let next = reader.push(&[*byte]);
        if parsed != Parsed::Incomplete {
            assert_eq!(next, parsed, "the outcome changed after byte {at}");
        }
        parsed = next;
    }
    assert_eq!(parsed, *expected);
    assert_eq!(reader.into_bytes(), stream);
}

#[track_caller]
fn check_malformed(stream: &[u8], expected: Malformed) {
    check(stream, &Parsed::Malformed(expected));
}

#[test]
fn server_name_and_alpn() {
    let sni = server_name(b"home.example.test");
    check(
        &stream(std::slice::from_ref(&sni)),
        &name("home.example.test", &[]),
    );
    let grease = extension(0x0a0a, &[]);
    let protocols: &[&[u8]] = &[b"h2", b"http/1.1"];
    for extensions in [
        [sni.clone(), grease.clone(), alpn(protocols)],
        [alpn(protocols), grease, sni.clone()],
    ] {
        check(&stream(&extensions), &name("home.example.test", protocols));
    }
    let Parsed::Name(_, offer) = Reader::new().push(&stream(&[alpn(protocols), sni])) else {
        panic!("no name");
    };
    assert!(offer.offers(b"h2") && !offer.offers(b"h") && !offer.offers(b"acme-tls/1"));
}

#[test]
fn the_name_is_in_its_one_spelling() {
    for spelling in [&b"HOME.Example.TEST"[..], b"home.example.test."] {
        check(
            &stream(&[server_name(spelling)]),
            &name("home.example.test", &[]),
        );
    }
}

#[test]
fn without_server_name() {
    let offer = Offer {
        alpn: vec![b"h2".to_vec()],
    };
    check(&stream(&[alpn(&[b"h2"])]), &Parsed::NoServerName(offer));
    check(&stream(&[]), &Parsed::NoServerName(Offer::default()));
    check(
        &record(&handshake(&start())),
        &Parsed::NoServerName(Offer::default()),
    );
}

#[test]
fn not_tls() {
    let ssl_2 = [0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10];
    for start in [
        &ssl_2[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"\0",
        b"\x15\x03\x01",
    ] {
        check(start, &Parsed::NotTls);
    }
    assert_eq!(Reader::new().push(b""), Parsed::Incomplete);
}

#[test]
fn malformed_records() {
    let handshake = handshake(&hello(&[server_name(b"a.test")]));
    let (first, second) = handshake.split_at(20);
    check_malformed(&[0x16, 2], Malformed::RecordVersion(2));
    check_malformed(
        &[&record(first)[..], &[22, 4]].concat(),
        Malformed::RecordVersion(4),
    );
    check_malformed(&[22, 3, 1, 0, 0], Malformed::EmptyRecord);
    check_malformed(
        &[&record(first)[..], &record(&[])].concat(),
        Malformed::EmptyRecord,
    );
    check_malformed(&[22, 3, 1, 0x40, 1], Malformed::RecordLength(0x4001));
    let change_cipher_spec = [20, 3, 3, 0, 1, 1];
    check_malformed(
        &[&record(first)[..], &change_cipher_spec, &record(second)].concat(),
        Malformed::RecordType(20),
    );
    check_malformed(
        &record(&[&handshake[..], &[0]].concat()),
        Malformed::TrailingBytes,
    );
    check_malformed(
        &[record(first), record(&[second, &handshake].concat())].concat(),
        Malformed::TrailingBytes,
    );
}

#[test]
fn malformed_hellos() {
    let check_hello = |body: &[u8], expected| check_malformed(&record(&handshake(body)), expected);
    check_malformed(&record(&[2, 0, 0, 0]), Malformed::HandshakeType(2));
    check_hello(&[], Malformed::HelloLength);
    check_hello(&start()[..33], Malformed::HelloLength);
    check_hello(
        &[&[2, 3], &start()[2..]].concat(),
        Malformed::HelloVersion(0x0203),
    );
    check_hello(&start()[..34], Malformed::SessionIdLength);
    check_hello(&start()[..66], Malformed::SessionIdLength);
    let with_middle = |session_id: &[u8], cipher_suites: &[u8], compression: &[u8]| {
        let vectors = [
            vector_u8(session_id),
            vector_u16(cipher_suites),
            vector_u8(compression),
        ]
        .concat();
        [&start()[..34], &vectors].concat()
    };
    check_hello(
        &with_middle(&[7; 33], &[0x13, 1], &[0]),
        Malformed::SessionIdLength,
    );
    check_hello(&with_middle(&[], &[], &[0]), Malformed::CipherSuitesLength);
    check_hello(
        &with_middle(&[], &[0x13, 1, 2], &[0]),
        Malformed::CipherSuitesLength,
    );
    check_hello(&start()[..68], Malformed::CipherSuitesLength);
    check_hello(
        &with_middle(&[], &[0x13, 1], &[]),
        Malformed::CompressionMethodsLength,
    );
    check_hello(
        &start()[..start().len() - 1],
        Malformed::CompressionMethodsLength,
    );
    check_hello(&[&start()[..], &[0]].concat(), Malformed::ExtensionsLength);
    check_hello(
        &[&start()[..], &[0, 1]].concat(),
        Malformed::ExtensionsLength,
    );
    check_hello(
        &[&hello(&[])[..], &[0]].concat(),
        Malformed::ExtensionsLength,
    );
    check_hello(&hello(&[vec![0, 16, 0]]), Malformed::ExtensionLength);
    check_hello(&hello(&[vec![0, 16, 0, 1]]), Malformed::ExtensionLength);
}

#[test]
fn malformed_server_names() {
    let check_name = |content: &[u8], expected| {
        check_malformed(&stream(&[extension(0, content)]), expected);
    };
    check_name(&[], Malformed::ServerNameLength);
    check_name(&vector_u16(&[]), Malformed::ServerNameLength);
    check_name(&vector_u16(&[0, 0, 0]), Malformed::ServerNameLength);
    check_name(&vector_u16(&[0, 0, 2, b'a']), Malformed::ServerNameLength);
    check_name(&[0, 5, 0, 0, 1, b'a'], Malformed::ServerNameLength);
    check_name(&[0, 4, 0, 0, 1, b'a', b'b'], Malformed::ServerNameLength);
    check_name(&vector_u16(&[1, 0, 1, b'a']), Malformed::NameType(1));
    check_name(
        &vector_u16(&[0, 0, 1, b'a', 0, 0, 1, b'b']),
        Malformed::DuplicateServerName,
    );
    check_malformed(
        &stream(&[server_name(b"a.test"), server_name(b"a.test")]),
        Malformed::DuplicateServerName,
    );
    let hostnames: &[(&[u8], _)] = &[
        (b"home.example.test\0", InvalidHostname::Character(0)),
        (b"home.example.test\0x", InvalidHostname::Character(0)),
        (b"home_1.example.test", InvalidHostname::Character(b'_')),
        (
            "höme.example.test".as_bytes(),
            InvalidHostname::Character(0xc3),
        ),
        (b"192.0.2.1", InvalidHostname::IpLiteral),
        (b"2001:db8::1", InvalidHostname::Character(b':')),
        (b"home..example", InvalidHostname::EmptyLabel),
        (b".", InvalidHostname::Empty),
    ];
    for (hostname, expected) in hostnames {
        check_malformed(
            &stream(&[server_name(hostname)]),
            Malformed::Hostname(*expected),
        );
    }
}

#[test]
fn malformed_alpn() {
    let check_alpn = |content: &[u8]| {
        let extensions = [server_name(b"a.test"), extension(16, content)];
        check_malformed(&stream(&extensions), Malformed::AlpnLength);
    };
    for content in [
        &[][..],
        &[0, 0],
        &[0, 1, 0],
        &[0, 2, 2, b'h'],
        &[0, 2, 1, b'h', 0],
        &[0, 9],
    ] {
        check_alpn(content);
    }
    check_malformed(
        &stream(&[alpn(&[b"h2"]), alpn(&[b"h2"])]),
        Malformed::DuplicateAlpn,
    );
}

#[test]
fn what_follows_the_hello_is_kept_and_changes_nothing() {
    let hello = handshake(&hello(&[server_name(b"home.example.test")]));
    let early_data = [&[23, 3, 3, 0x40, 0][..], &[0xee; 0x4000]].concat();
    for stream in [record(&hello), records(&hello, 3)] {
        for rest in [
            &[20, 3, 3, 0, 1, 1][..],
            b"garbage",
            &record(&hello),
            &early_data,
        ] {
            check(&[&stream, rest].concat(), &name("home.example.test", &[]));
        }
    }
}

/// A hello with a padding extension, so that it takes `stream_len` bytes in records of
/// `fragment_len`.
fn padded(stream_len: usize, fragment_len: usize) -> Vec<u8> {
    let sni = server_name(b"home.example.test");
    let build = |padding| {
        let hello = hello(&[extension(21, &vec![0; padding]), sni.clone()]);
        records(&handshake(&hello), fragment_len)
    };
    let stream = (0..=stream_len)
        .rev()
        .map(build)
        .find(|stream| stream.len() <= stream_len);
    let stream = stream.unwrap();
    assert_eq!(stream.len(), stream_len);
    stream
}

#[test]
fn the_limit_is_exact() {
    check(&padded(MAX_LEN, 0x4000), &name("home.example.test", &[]));
    check(&padded(MAX_LEN + 1, 0x4000), &Parsed::TooLong);
    // Early data behind the hello does not count.
    let early_data = [23; 40];
    let stream = [&padded(MAX_LEN, 0x4000)[..], &early_data].concat();
    check(&stream, &name("home.example.test", &[]));
}

#[test]
fn a_hello_that_announces_too_much_is_refused_at_once() {
    // Nine bytes of headers leave 0x7ff7 of the 0x8000 allowed.
    check(&[22, 3, 1, 0, 4, 1, 0, 0x7f, 0xf7], &Parsed::Incomplete);
    check(&[22, 3, 1, 0, 4, 1, 0, 0x7f, 0xf8], &Parsed::TooLong);
    check(&[22, 3, 1, 0, 4, 1, 0, 0x80, 0], &Parsed::TooLong);
    check(&[22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff], &Parsed::TooLong);
}

#[test]
fn record_headers_count() {
    let hello = handshake(&hello(&[server_name(b"home.example.test")]));
    let announced = [&[1, 0, 0x60, 0][..], &hello[4..]].concat();
    let endless: Vec<u8> = announced.iter().cycle().copied().take(MAX_LEN).collect();
    let mut stream = records(&endless, 1);
    stream.truncate(MAX_LEN);
    assert_eq!(
        Reader::new().push(&stream[..MAX_LEN - 1]),
        Parsed::Incomplete
    );
    check(&stream, &Parsed::TooLong);
}
