//! Messages of the control stream, in both directions: no bytes panic, no cut makes a difference, a
//! message is written and read back as itself, and another version is always seen as such.

use cloudless_proto::PinnedKeys;
use cloudless_proto::control::{
    DecodeError, FromHome, FromRelay, MAX_LINE, Message, VERSION, decode,
};
use cloudless_proto::lines::{self, Decoder};

/// Panics when that does not hold.
pub fn check(bytes: &[u8]) {
    // The first byte says where to cut.
    let Some((cut, stream)) = bytes.split_first() else {
        return;
    };
    let cut_at_will = lines_of(stream.chunks(usize::from(*cut) + 1));
    assert_eq!(lines_of([stream]), cut_at_will);
    for line in cut_at_will {
        check_line::<FromHome>(&line);
        check_line::<FromRelay>(&line);
        if let Ok(Some(FromRelay::Keys { keys } | FromRelay::Welcome { keys, .. })) = decode(&line)
        {
            check_keys(&keys);
        }
    }
}

fn lines_of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut decoder = Decoder::new(MAX_LINE);
    let mut found = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        while let Ok(Some(line)) = decoder.next_line() {
            assert!(line.len() <= MAX_LINE);
            found.push(line);
        }
    }
    found
}

fn check_line<T: Message + PartialEq + std::fmt::Debug>(line: &[u8]) {
    match decode::<T>(line) {
        Ok(Some(message)) => {
            let written = lines::encode(&message);
            assert_eq!(decode(&written).ok(), Some(Some(message)));
        }
        Err(DecodeError::Version { version }) => assert_ne!(version, u64::from(VERSION)),
        Ok(None) | Err(_) => {}
    }
}

/// Whatever a relay announces, the key that it has proven stays.
fn check_keys(keys: &[cloudless_proto::PublicKey]) {
    let Some(proven) = keys.last() else {
        return;
    };
    if let Some(pinned) = PinnedKeys::new(*proven).after(proven, keys) {
        assert!(pinned.contains(proven));
    }
}
