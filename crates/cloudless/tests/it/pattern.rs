//! Bytes of which no two pieces are alike: what is lost on the way, comes twice, in another order or
//! changed is seen.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

const PIECE: usize = 64 * 1024;

/// So many bytes, others for each seed; in whole eights.
pub(crate) fn bytes(seed: u64, length: usize) -> Vec<u8> {
    assert!(length.is_multiple_of(8), "{length}");
    let mut bytes = Vec::with_capacity(length);
    let mut state = seed;
    while bytes.len() < length {
        bytes.extend_from_slice(&next(&mut state).to_le_bytes());
    }
    bytes
}

/// Writes so many of them into a file, and returns their digest.
pub(crate) fn write(path: &Path, seed: u64, length: u64) -> String {
    let mut file = File::create(path).unwrap();
    let mut digest = Sha256::new();
    let piece = PIECE as u64;
    assert!(length.is_multiple_of(piece), "{length}");
    for number in 0..length / piece {
        let bytes = bytes(seed.wrapping_add(number << 32), PIECE);
        digest.update(&bytes);
        file.write_all(&bytes).unwrap();
    }
    HEXLOWER.encode(&digest.finalize())
}

/// The SHA-256 of a file, as programs write it.
pub(crate) fn digest(path: &Path) -> String {
    let mut file = File::open(path).unwrap();
    let mut digest = Sha256::new();
    let mut buffer = vec![0; PIECE];
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return HEXLOWER.encode(&digest.finalize()),
            length => digest.update(&buffer[..length]),
        }
    }
}

/// The generator SplitMix64, which visits each number once.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
