//! The Huffman code of HPACK (RFC 7541 appendix B), for the characters of canaries and of base64.

/// The code of a character, most significant bit first, and its length in bits.
fn code(character: u8) -> (u32, u32) {
    match character {
        b'0'..=b'2' => (u32::from(character - b'0'), 5),
        b'3'..=b'9' => (0x19 + u32::from(character - b'3'), 6),
        b'+' => (0x7fb, 11),
        b'-' => (0x16, 6),
        b'.' => (0x17, 6),
        b'/' => (0x18, 6),
        b'=' => (0x20, 6),
        b'A' => (0x21, 6),
        b'B'..=b'W' => (0x5d + u32::from(character - b'B'), 7),
        b'X' => (0xfc, 8),
        b'Y' => (0x73, 7),
        b'Z' => (0xfd, 8),
        b'a' => (0x03, 5),
        b'b' => (0x23, 6),
        b'c' => (0x04, 5),
        b'd' => (0x24, 6),
        b'e' => (0x05, 5),
        b'f'..=b'h' => (0x25 + u32::from(character - b'f'), 6),
        b'i' => (0x06, 5),
        b'j' | b'k' => (0x74 + u32::from(character - b'j'), 7),
        b'l'..=b'n' => (0x28 + u32::from(character - b'l'), 6),
        b'o' => (0x07, 5),
        b'p' => (0x2b, 6),
        b'q' => (0x76, 7),
        b'r' => (0x2c, 6),
        b's' => (0x08, 5),
        b't' => (0x09, 5),
        b'u' => (0x2d, 6),
        b'v'..=b'z' => (0x77 + u32::from(character - b'v'), 7),
        other => panic!("no canary has {other}"),
    }
}

/// The bytes of `text` that are the same whatever comes before and after it in an encoded string,
/// when it begins at bit `offset` of a byte.
pub(super) fn encode(text: &str, offset: usize) -> Vec<u8> {
    let mut bits = vec![false; offset];
    for character in text.bytes() {
        let (code, length) = code(character);
        bits.extend((0..length).rev().map(|bit| code >> bit & 1 == 1));
    }
    let whole = bits.chunks_exact(8).skip(usize::from(offset > 0));
    whole
        .map(|byte| {
            byte.iter()
                .fold(0, |value, bit| value << 1 | u8::from(*bit))
        })
        .collect()
}

#[test]
fn the_code_is_that_of_the_rfc() {
    // RFC 7541 appendix C.4, without the padding of the last byte.
    let host = [
        0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4,
    ];
    assert_eq!(encode("www.example.com", 0), host);
    assert_eq!(encode("no-cache", 0), [0xa8, 0xeb, 0x10, 0x64, 0x9c]);
    // "www" before it is 21 bits.
    assert_eq!(encode(".example.com", 5), host[3..]);
    // Appendix C.6: a cookie, and the end of a date.
    let cookie = [
        0x94, 0xe7, 0x82, 0x1d, 0xd7, 0xf2, 0xe6, 0xc7, 0xb3, 0x35, 0xdf, 0xdf, 0xcd, 0x5b, 0x39,
        0x60, 0xd5, 0xaf, 0x27, 0x08, 0x7f, 0x36, 0x72, 0xc1, 0xab, 0x27,
    ];
    let encoded = encode("foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU", 0);
    assert_eq!(encoded, cookie[..encoded.len()]);
    assert!(encoded.len() > 20);
    assert_eq!(encode("GMT", 5), [0x2d, 0x1b]);
}
