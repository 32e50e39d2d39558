//! Paths and URLs of clients: no input panics, and a name has one spelling that leads back to it.

use cloudless_dav_proto::href::{decode_path, encode_segment};

/// Panics when that does not hold.
pub fn check(bytes: &[u8]) {
    let Ok(href) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(names) = decode_path(href) else {
        return;
    };
    let spelled: String = names
        .iter()
        .map(|name| format!("/{}", encode_segment(name)))
        .collect();
    let path = if names.is_empty() { "/" } else { &spelled };
    assert_eq!(decode_path(path), Ok(names));
}
