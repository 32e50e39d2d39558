//! What SSH clients ask a relay for, and the keys that people paste: no bytes panic, what is forwarded is
//! a name and one of two ports, and a key is read as the same one however it is spaced.

use cloudless_proto::ssh::{AuthorizedKey, Fingerprint, Forward};

/// Panics when that does not hold.
pub fn check(bytes: &[u8]) {
    // The first four bytes say which port, as they do on the wire.
    let Some((port, address)) = bytes.split_first_chunk() else {
        return;
    };
    let port = u32::from_be_bytes(*port);
    let Ok(text) = std::str::from_utf8(address) else {
        return;
    };
    match Forward::read(text, port) {
        Ok(forward) => {
            assert_eq!(u32::from(forward.port.number()), port);
            let again = Forward::read(forward.hostname.as_str(), port);
            assert_eq!(again.as_ref(), Ok(&forward));
            assert!(!forward.not_yours().to_string().contains(char::is_control));
        }
        // Shown to people, and never in a way that steers a terminal.
        Err(error) => assert!(!error.to_string().contains(char::is_control)),
    }
    if let Ok(fingerprint) = text.parse::<Fingerprint>() {
        assert_eq!(fingerprint.to_string(), text);
    }
    if let Ok(key) = text.parse::<AuthorizedKey>() {
        let words: Vec<_> = text.split_ascii_whitespace().take(2).collect();
        assert_eq!(words.join("\t").parse(), Ok(key));
    }
}
