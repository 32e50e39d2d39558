//! The reader against an independent one, rustls.

use std::io::Read;

use cloudless_proto::{
    InvalidHostname,
    client_hello::{Malformed, Parsed, Reader},
};
use proptest::{collection::vec, prelude::*, sample::Index};
use rustls::server::Acceptor;

use crate::{corpus, pieces::reframe};

#[derive(Debug)]
enum Reading {
    Hello {
        name: Option<String>,
        alpn: Vec<Vec<u8>>,
    },
    Incomplete,
    Refused,
}

fn read_with_rustls(mut stream: &[u8]) -> Reading {
    let mut acceptor = Acceptor::default();
    while !stream.is_empty() {
        if acceptor.read_tls(&mut stream.by_ref()).is_err() {
            return Reading::Refused;
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let alpn = hello
                    .alpn()
                    .into_iter()
                    .flatten()
                    .map(<[u8]>::to_vec)
                    .collect();
                return Reading::Hello {
                    name: hello.server_name().map(str::to_owned),
                    alpn,
                };
            }
            Err(_) => return Reading::Refused,
        }
    }
    Reading::Incomplete
}

fn read(stream: &[u8]) -> Parsed {
    Reader::new().push(stream)
}

/// Whether the two readings may stand beside each other: both may be stricter, for what they read
/// differs, but whenever both accept a hello they must read the same.
fn agree(parsed: &Parsed, reading: &Reading) -> bool {
    match (parsed, reading) {
        (Parsed::Name(hostname, offer), Reading::Hello { name, alpn }) => {
            let name = name
                .as_deref()
                .map(|name| name.strip_suffix('.').unwrap_or(name));
            name == Some(hostname.as_str()) && offer.alpn == *alpn
        }
        (Parsed::NoServerName(offer), Reading::Hello { name, alpn }) => {
            name.is_none() && offer.alpn == *alpn
        }
        // rustls allows an underscore, and passes over an IP address.
        (Parsed::Malformed(Malformed::Hostname(reason)), Reading::Hello { name, .. }) => {
            match reason {
                InvalidHostname::Character(b'_') | InvalidHostname::Hyphen => name.is_some(),
                _ => true,
            }
        }
        // rustls passes over what follows the first name, and over the hello's legacy version.
        (
            Parsed::Malformed(Malformed::DuplicateServerName | Malformed::HelloVersion(_)),
            Reading::Hello { .. },
        ) => true,
        (_, Reading::Refused) => true,
        // Refusing needs fewer bytes than accepting.
        (Parsed::Name(..) | Parsed::NoServerName(_), Reading::Incomplete) => false,
        (_, Reading::Incomplete) => true,
        _ => false,
    }
}

#[test]
fn real_hellos_read_the_same() {
    for capture in corpus::hellos().chain(corpus::hellos_without_name()) {
        let reading = read_with_rustls(&capture.bytes);
        assert!(
            matches!(reading, Reading::Hello { .. }),
            "{}: {reading:?}",
            capture.file_name
        );
        let parsed = read(&capture.bytes);
        assert!(
            agree(&parsed, &reading),
            "{}: {parsed:?}, {reading:?}",
            capture.file_name
        );
    }
}

proptest! {
    #[test]
    fn damaged_hellos_are_never_read_differently(
        damage in vec((any::<Index>(), any::<u8>()), 0..3),
        name_damage in proptest::option::of((0..24_usize, any::<u8>())),
        record_lengths in vec(1..400_usize, 0..8),
    ) {
        for capture in corpus::hellos() {
            let mut record = capture.bytes.clone();
            // Nine bytes before the name are its lengths and types.
            if let Some((at, byte)) = name_damage {
                record[capture.name_at() - 9 + at] = byte;
            }
            let mut stream = reframe(&record, record_lengths.iter().copied());
            for (at, byte) in &damage {
                *at.get_mut(&mut stream) = *byte;
            }
            let (parsed, reading) = (read(&stream), read_with_rustls(&stream));
            prop_assert!(agree(&parsed, &reading), "{}: {parsed:?}, {reading:?}", capture.file_name);
        }
    }
}
