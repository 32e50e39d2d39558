//! The encoding of header blocks (RFC 7541 sections 5 and 6).

use super::table::{StaticMatch, find_static};

/// Appends a header block with these fields, each a name in lower case and a value, to `block`.
///
/// A field of the static table becomes its index, any other a literal without indexing, with the
/// name by its static index where it has one. A peer with a dynamic table of any size decodes it.
pub(crate) fn encode<'a>(
    fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    block: &mut Vec<u8>,
) {
    for (name, value) in fields {
        match find_static(name, value) {
            Some(StaticMatch::Field(index)) => push_integer(0x80, 7, index, block),
            Some(StaticMatch::Name(index)) => {
                push_integer(0x00, 4, index, block);
                push_string(value, block);
            }
            None => {
                push_integer(0x00, 4, 0, block);
                push_string(name, block);
                push_string(value, block);
            }
        }
    }
}

/// Appends a string as it is (section 5.2).
fn push_string(string: &[u8], block: &mut Vec<u8>) {
    push_integer(0x00, 7, string.len(), block);
    block.extend_from_slice(string);
}

/// Appends an integer whose first byte begins with the bits of `pattern`, and has `prefix_bits` for
/// the integer (section 5.1).
fn push_integer(pattern: u8, prefix_bits: u32, integer: usize, block: &mut Vec<u8>) {
    let prefix_max = u8::MAX >> (8 - prefix_bits);
    let Some(mut rest) = integer.checked_sub(prefix_max.into()) else {
        block.push(pattern | integer as u8);
        return;
    };
    block.push(pattern | prefix_max);
    while rest >= 0x80 {
        block.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    block.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_appendix_c_1() {
        check_integer(0b1110_0000, 5, 10, &[0b1110_1010]);
        check_integer(
            0b0000_0000,
            5,
            1337,
            &[0b0001_1111, 0b1001_1010, 0b0000_1010],
        );
        check_integer(0b0000_0000, 8, 42, &[42]);
    }

    #[test]
    fn integers_at_the_edges_of_a_byte() {
        check_integer(0x00, 4, 14, &[14]);
        check_integer(0x00, 4, 15, &[15, 0]);
        check_integer(0x00, 4, 142, &[15, 127]);
        check_integer(0x00, 4, 143, &[15, 0x80, 1]);
    }

    #[test]
    fn fields_of_the_static_table_are_indexes() {
        check(&[(":authority", ""), (":method", "GET")], &[0x81, 0x82]);
        check(&[("accept-encoding", "gzip, deflate")], &[0x90]);
        check(&[("www-authenticate", "")], &[0xbd]);
    }

    #[test]
    fn names_of_the_static_table_are_indexes() {
        check(&[(":path", "/sample/path")], b"\x04\x0c/sample/path");
        check(&[(":method", "PUT")], b"\x02\x03PUT");
        check(&[(":status", "207")], b"\x08\x03207");
        check(&[("content-type", "a/b")], b"\x0f\x10\x03a/b");
    }

    #[test]
    fn other_fields_are_literals() {
        check(&[("depth", "0")], b"\x00\x05depth\x010");
        check(&[("", "")], b"\x00\x00\x00");
        let long = "a".repeat(200);
        let expected = [b"\x00\x01x\x7f\x49", long.as_bytes()].concat();
        check(&[("x", &long)], &expected);
    }

    fn check(fields: &[(&str, &str)], expected: &[u8]) {
        let mut block = b"before".to_vec();
        encode(
            fields
                .iter()
                .map(|(name, value)| (name.as_bytes(), value.as_bytes())),
            &mut block,
        );
        assert_eq!(block.strip_prefix(b"before"), Some(expected));
    }

    fn check_integer(pattern: u8, prefix_bits: u32, integer: usize, expected: &[u8]) {
        let mut block = Vec::new();
        push_integer(pattern, prefix_bits, integer, &mut block);
        assert_eq!(block, expected);
    }
}
