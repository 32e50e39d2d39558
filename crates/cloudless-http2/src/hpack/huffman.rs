//! The Huffman code for strings (RFC 7541 section 5.2 and appendix B).

use super::DecodeError;

/// The code: a length in bits, and the symbols whose codes have it, in the order of their codes.
///
/// The code is canonical. The first code is all zeros, each further one is the one before it plus
/// one, and a longer row continues with zeros appended. The lengths alone therefore define it. The
/// one code behind the last row is EOS: 30 ones.
const CODE: [(u32, &[u8]); 21] = [
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\x00$@[]~"),
    (14, b"^}"),
    (15, b"<`{"),
    (19, b"\\\xc3\xd0"),
    (20, b"\x80\x82\x83\xa2\xb8\xc2\xe0\xe2"),
    (21, b"\x99\xa1\xa7\xac\xb0\xb1\xb3\xd1\xd8\xd9\xe3\xe5\xe6"),
    (
        22,
        b"\x81\x84\x85\x86\x88\x92\x9a\x9c\xa0\xa3\xa4\xa9\xaa\xad\xb2\xb5\
          \xb9\xba\xbb\xbd\xbe\xc4\xc6\xe4\xe8\xe9",
    ),
    (
        23,
        b"\x01\x87\x89\x8a\x8b\x8c\x8d\x8f\x93\x95\x96\x97\x98\x9b\x9d\x9e\
          \xa5\xa6\xa8\xae\xaf\xb4\xb6\xb7\xbc\xbf\xc5\xe7\xef",
    ),
    (24, b"\x09\x8e\x90\x91\x94\x9f\xab\xce\xd7\xe1\xec\xed"),
    (25, b"\xc7\xcf\xea\xeb"),
    (
        26,
        b"\xc0\xc1\xc8\xc9\xca\xcd\xd2\xd5\xda\xdb\xee\xf0\xf2\xf3\xff",
    ),
    (
        27,
        b"\xcb\xcc\xd3\xd4\xd6\xdd\xde\xdf\xf1\xf4\xf5\xf6\xf7\xf8\xfa\xfb\
          \xfc\xfd\xfe",
    ),
    (
        28,
        b"\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x13\x14\
          \x15\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f\xdc\xf9",
    ),
    (30, b"\n\r\x16"),
];

const EOS_BITS: u32 = 30;

/// Appends the string that `encoded` stands for to `decoded`, at most 8/5 of its length.
pub(super) fn decode(encoded: &[u8], decoded: &mut Vec<u8>) -> Result<(), DecodeError> {
    let mut bytes = encoded.iter();
    // The next bits of the string, from the highest bit on, and how many they are.
    let mut bits = 0_u64;
    let mut bits_len = 0;
    loop {
        while bits_len < 32
            && let Some(&byte) = bytes.next()
        {
            bits |= u64::from(byte) << (56 - bits_len);
            bits_len += 8;
        }
        // The padding is the start of EOS, so behind it comes more of the same.
        let padded = bits | u64::MAX >> bits_len;
        if bits_len < 8 && padded == u64::MAX {
            return Ok(());
        }
        match symbol((padded >> 32) as u32) {
            Some((symbol, code_len)) if code_len <= bits_len => {
                decoded.push(symbol);
                bits <<= code_len;
                bits_len -= code_len;
            }
            None if bits_len >= EOS_BITS => return Err(DecodeError::HuffmanEos),
            _ => return Err(DecodeError::HuffmanPadding),
        }
    }
}

/// The symbol whose code is at the start of `bits`, and the length of that code. `None` is EOS.
fn symbol(bits: u32) -> Option<(u8, u32)> {
    // How far `bits` are behind the first code of the row.
    let mut distance = bits;
    for &(code_len, symbols) in &CODE {
        let unused_bits = u32::BITS - code_len;
        if let Some(&symbol) = symbols.get((distance >> unused_bits) as usize) {
            return Some((symbol, code_len));
        }
        distance -= (symbols.len() as u32) << unused_bits;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_complete() {
        let mut symbols = CODE.map(|(_, symbols)| symbols).concat();
        symbols.sort_unstable();
        assert!(symbols.into_iter().eq(0..=255));
        let share = |code_len: u32| 1_u64 << (32 - code_len);
        let shares: u64 = CODE
            .iter()
            .map(|&(code_len, symbols)| share(code_len) * symbols.len() as u64)
            .sum();
        assert_eq!(shares + share(EOS_BITS), 1 << 32);
    }

    #[test]
    fn the_code_is_canonical() {
        assert!(CODE.is_sorted_by(|(one, _), (next, _)| one < next));
        assert!(CODE.iter().all(|(_, symbols)| symbols.is_sorted()));
    }

    #[test]
    fn codes_of_appendix_b() {
        // The first and the last code of each length.
        let codes = [
            (b'0', 0x0, 5),
            (b't', 0x9, 5),
            (b' ', 0x14, 6),
            (b'u', 0x2d, 6),
            (b':', 0x5c, 7),
            (b'z', 0x7b, 7),
            (b'&', 0xf8, 8),
            (b'Z', 0xfd, 8),
            (b'!', 0x3f8, 10),
            (b'?', 0x3fc, 10),
            (b'\'', 0x7fa, 11),
            (b'|', 0x7fc, 11),
            (b'#', 0xffa, 12),
            (b'>', 0xffb, 12),
            (0, 0x1ff8, 13),
            (b'~', 0x1ffd, 13),
            (b'^', 0x3ffc, 14),
            (b'}', 0x3ffd, 14),
            (b'<', 0x7ffc, 15),
            (b'{', 0x7ffe, 15),
            (b'\\', 0x7fff0, 19),
            (208, 0x7fff2, 19),
            (128, 0xfffe6, 20),
            (226, 0xfffed, 20),
            (153, 0x1fffdc, 21),
            (230, 0x1fffe8, 21),
            (129, 0x3fffd2, 22),
            (233, 0x3fffeb, 22),
            (1, 0x7fffd8, 23),
            (239, 0x7ffff4, 23),
            (9, 0xffffea, 24),
            (237, 0xfffff5, 24),
            (199, 0x1ffffec, 25),
            (235, 0x1ffffef, 25),
            (192, 0x3ffffe0, 26),
            (255, 0x3ffffee, 26),
            (203, 0x7ffffde, 27),
            (254, 0x7fffff0, 27),
            (2, 0xfffffe2, 28),
            (249, 0xffffffe, 28),
            (10, 0x3ffffffc, 30),
            (22, 0x3ffffffe, 30),
        ];
        for (byte, code, code_len) in codes {
            assert_eq!(symbol(code << (32 - code_len)), Some((byte, code_len)));
        }
        assert_eq!(symbol(0x3fff_ffff << 2), None);
    }

    #[test]
    fn every_string_of_one_or_two_bytes() {
        for one in 0..=255 {
            check(&encode(&[one]), Ok(&[one]));
            for two in 0..=255 {
                check(&encode(&[one, two]), Ok(&[one, two]));
            }
        }
        check(&[], Ok(b""));
    }

    #[test]
    fn padding_is_less_than_a_byte_of_ones() {
        check(&[0b0000_0111], Ok(b"0"));
        check(&[0b0000_0110], Err(DecodeError::HuffmanPadding));
        check(&[0b0000_0000], Err(DecodeError::HuffmanPadding));
        check(&[0b0000_0111, 0xff], Err(DecodeError::HuffmanPadding));
        // `&` takes all 8 bits.
        check(&[0b1111_1000], Ok(b"&"));
        for padding in 1..=3 {
            let mut encoded = vec![0b1111_1000];
            encoded.resize(1 + padding, 0xff);
            check(&encoded, Err(DecodeError::HuffmanPadding));
        }
        check(&[0xff], Err(DecodeError::HuffmanPadding));
        // The start of a code that the string cuts off.
        check(&[0b1111_1110], Err(DecodeError::HuffmanPadding));
    }

    #[test]
    fn the_end_of_string_symbol_is_refused() {
        check(&[0xff; 4], Err(DecodeError::HuffmanEos));
        check(
            &[0b0000_0111, 0xff, 0xff, 0xff, 0xff],
            Err(DecodeError::HuffmanEos),
        );
        check(
            &[0xff, 0xff, 0xff, 0b1111_1100],
            Err(DecodeError::HuffmanEos),
        );
        // Two zeros of 5 bits each, and the 30 ones are the rest of the string.
        check(
            &[0b0000_0000, 0b0011_1111, 0xff, 0xff, 0xff],
            Err(DecodeError::HuffmanEos),
        );
    }

    fn check(encoded: &[u8], expected: Result<&[u8], DecodeError>) {
        let mut decoded = Vec::new();
        let result = decode(encoded, &mut decoded);
        assert_eq!(result.map(|()| &decoded[..]), expected, "{encoded:02x?}");
    }

    fn encode(string: &[u8]) -> Vec<u8> {
        let mut bits = String::new();
        for byte in string {
            let mut code = 0;
            let mut previous_len = 0;
            for (code_len, symbols) in CODE {
                code <<= code_len - previous_len;
                previous_len = code_len;
                if let Some(at) = symbols.iter().position(|symbol| symbol == byte) {
                    bits += &format!("{:0width$b}", code + at, width = code_len as usize);
                }
                code += symbols.len();
            }
        }
        bits += &"1".repeat(bits.len().next_multiple_of(8) - bits.len());
        let digits: Vec<_> = bits.bytes().map(|digit| digit - b'0').collect();
        digits
            .chunks(8)
            .map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | bit))
            .collect()
    }
}
