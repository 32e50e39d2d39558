//! ClientHellos: no bytes panic, no cut makes a difference, every byte is kept, and what rustls reads
//! is not read differently.

use cloudless_proto::InvalidHostname;
use cloudless_proto::client_hello::{MAX_LEN, Malformed, Parsed, Reader};
use rustls::server::Acceptor;

/// Panics when that does not hold.
pub fn check(bytes: &[u8]) {
    // The first byte says where to cut.
    let Some((cut, stream)) = bytes.split_first() else {
        return;
    };
    let mut whole = Reader::new();
    let parsed = whole.push(stream);
    assert_eq!(whole.bytes(), stream);
    let mut pieces = Reader::new();
    let mut outcome = Parsed::Incomplete;
    for piece in stream.chunks(usize::from(*cut) + 1) {
        let next = pieces.push(piece);
        assert!(outcome == Parsed::Incomplete || outcome == next);
        outcome = next;
    }
    assert_eq!(outcome, parsed);
    assert_eq!(pieces.into_bytes(), stream);
    assert!(stream.len() < MAX_LEN || parsed != Parsed::Incomplete);
    if let Parsed::Name(hostname, _) = &parsed {
        assert_eq!(hostname.as_str().parse().as_ref(), Ok(hostname));
    }
    let reading = read_with_rustls(stream);
    assert!(agree(&parsed, &reading), "{parsed:?}, {reading:?}");
}

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
        if acceptor.read_tls(&mut stream).is_err() {
            return Reading::Refused;
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let alpn = hello.alpn().into_iter().flatten();
                return Reading::Hello {
                    name: hello.server_name().map(str::to_owned),
                    alpn: alpn.map(<[u8]>::to_vec).collect(),
                };
            }
            Err(_) => return Reading::Refused,
        }
    }
    Reading::Incomplete
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
