//! Join codes: no text panics, and what was read is written and read back as itself.

use cloudless_proto::join_code::{ADDRESSES_MAX, JoinCode, check_address};
use data_encoding::BASE32_NOPAD;
use sha2::{Digest as _, Sha256};

/// Panics when that does not hold.
pub fn check(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        check_code(text);
    }
    // A right checksum, which no fuzzer guesses.
    const START: &str = "cloudless1-";
    let sum = Sha256::new()
        .chain_update(START)
        .chain_update(bytes)
        .finalize();
    let encoded = BASE32_NOPAD.encode(&[bytes, &sum[..4]].concat());
    check_code(&format!("{START}{}", encoded.to_ascii_lowercase()));
}

fn check_code(text: &str) {
    let Ok(code) = text.parse::<JoinCode>() else {
        return;
    };
    assert!((1..=ADDRESSES_MAX).contains(&code.addresses.len()));
    assert!(code.addresses.iter().all(|it| check_address(it).is_ok()));
    assert_eq!(code.to_string().parse(), Ok(code));
}
