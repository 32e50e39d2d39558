//! The decoding of header blocks (RFC 7541 sections 3, 5 and 6).

use super::huffman;
use super::table::{Field, Table};

/// Decodes the header blocks of one connection, in the order in which they arrive.
///
/// It holds the dynamic table and nothing else between two blocks.
#[derive(Debug)]
pub(crate) struct Decoder {
    table: Table,
}

/// Why a header block cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// A string holds the end-of-string symbol, which stands for no byte (section 5.2).
    #[error("a Huffman-encoded string holds the end-of-string symbol")]
    HuffmanEos,
    /// A string ends in 8 or more bits of padding, or in bits that are not all ones (section 5.2).
    #[error("a Huffman-encoded string is not padded with up to 7 one bits")]
    HuffmanPadding,
    /// An integer is larger than 32 bits or takes more bytes than such a one (section 5.1).
    #[error("an integer does not fit in 32 bits")]
    IntegerOverflow,
    /// Whoever takes the fields takes no more of them.
    #[error("the list of fields is too long")]
    ListTooLong,
    /// A dynamic table size update follows a field (section 4.2).
    #[error("a dynamic table size update is not at the start of its header block")]
    TableSizeUpdateLate,
    /// A dynamic table size update exceeds SETTINGS_HEADER_TABLE_SIZE (section 6.3).
    #[error("a dynamic table size update to {0} bytes is above our limit")]
    TableSizeUpdateTooLarge(u32),
    /// The block ends within a field.
    #[error("the header block ends within a field")]
    Truncated,
    /// An index is zero or behind the last entry of the dynamic table (section 2.3.3).
    #[error("there is no table entry with the index {0}")]
    UnknownIndex(u32),
}

impl Decoder {
    /// A decoder for a new connection.
    ///
    /// Its dynamic table holds at most 4,096 bytes, the default of SETTINGS_HEADER_TABLE_SIZE
    /// (RFC 9113 section 6.5.2), which we never change.
    pub(crate) fn new() -> Self {
        Self {
            table: Table::new(),
        }
    }

    /// Decodes a whole header block, its CONTINUATION frames included, and hands each field over
    /// in order, name first, for as long as `field` says that it takes more.
    ///
    /// Names and values are any bytes: whether HTTP allows them is for the caller to check. A
    /// field of 4 kB can take a single byte of the block, so the caller has to bound what it takes:
    /// that bounds the work, too.
    ///
    /// # Errors
    ///
    /// Fields may have been handed over before. The decoder is then out of step with its peer and
    /// must not be used again: the connection ends with COMPRESSION_ERROR.
    pub(crate) fn decode(
        &mut self,
        block: &[u8],
        mut field: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), DecodeError> {
        let mut take = |name: &[u8], value: &[u8]| match field(name, value) {
            true => Ok(()),
            false => Err(DecodeError::ListTooLong),
        };
        let mut block = Reader(block);
        let mut name_buffer = Vec::new();
        let mut value_buffer = Vec::new();
        let mut at_start = true;
        while let Some(first) = block.0.first() {
            // The number of zeros before the first one tells the representations apart.
            match first.leading_zeros() {
                // An indexed field (section 6.1).
                0 => {
                    let (name, value) = self.entry(block.integer(7)?)?;
                    take(name, value)?;
                }
                // A dynamic table size update (section 6.3).
                2 => {
                    if !at_start {
                        return Err(DecodeError::TableSizeUpdateLate);
                    }
                    let size = block.integer(5)?;
                    if !self.table.resize(size) {
                        return Err(DecodeError::TableSizeUpdateTooLarge(size));
                    }
                    continue;
                }
                // A literal field (section 6.2): with incremental indexing, or without it, or
                // never to be indexed, which tells nothing to a decoder that forwards no block.
                zeros => {
                    let is_indexing = zeros == 1;
                    let name = match block.integer(if is_indexing { 6 } else { 4 })? {
                        0 => block.string(&mut name_buffer)?,
                        index => self.entry(index)?.0,
                    };
                    let value = block.string(&mut value_buffer)?;
                    take(name, value)?;
                    if is_indexing {
                        // The name may lie in an entry that makes room for this one (section 4.4).
                        let entry = Field::new(name, value);
                        self.table.insert(entry);
                    }
                }
            }
            at_start = false;
        }
        Ok(())
    }

    fn entry(&self, index: u32) -> Result<(&[u8], &[u8]), DecodeError> {
        self.table
            .get(index)
            .ok_or(DecodeError::UnknownIndex(index))
    }
}

/// The rest of a header block.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads a string, and decodes it into `buffer` if it is Huffman-encoded (section 5.2).
    fn string<'b>(&mut self, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], DecodeError>
    where
        'a: 'b,
    {
        let is_huffman = self.0.first().is_some_and(|first| first & 0x80 != 0);
        let len = usize::try_from(self.integer(7)?).map_err(|_| DecodeError::Truncated)?;
        let (string, rest) = self.0.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        if !is_huffman {
            return Ok(string);
        }
        buffer.clear();
        huffman::decode(string, buffer)?;
        Ok(buffer)
    }

    /// Reads an integer that starts in the low `prefix_bits` bits of the next byte (section 5.1).
    fn integer(&mut self, prefix_bits: u32) -> Result<u32, DecodeError> {
        let prefix_max = u8::MAX >> (8 - prefix_bits);
        let prefix = self.byte()? & prefix_max;
        if prefix < prefix_max {
            return Ok(prefix.into());
        }
        let mut integer = u64::from(prefix);
        // Five bytes hold all 32 bits. More could only add zeros, without end.
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            integer += u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(integer).map_err(|_| DecodeError::IntegerOverflow);
            }
        }
        Err(DecodeError::IntegerOverflow)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        let (&byte, rest) = self.0.split_first().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_appendix_c_1() {
        check_integer(5, &[0b1110_1010], Ok(10));
        check_integer(5, &[0b1111_1111, 0b1001_1010, 0b0000_1010], Ok(1337));
        check_integer(7, &[42], Ok(42));
    }

    #[test]
    fn integers_end_at_32_bits() {
        check_integer(5, &[31, 0], Ok(31));
        check_integer(5, &[31, 0x80, 0x80, 0x80, 0x80, 0], Ok(31));
        check_integer(5, &[31, 0xe0, 0xff, 0xff, 0xff, 0x0f], Ok(u32::MAX));
        check_integer(
            5,
            &[31, 0xe1, 0xff, 0xff, 0xff, 0x0f],
            Err(DecodeError::IntegerOverflow),
        );
        check_integer(
            5,
            &[31, 0xff, 0xff, 0xff, 0xff, 0x7f],
            Err(DecodeError::IntegerOverflow),
        );
        check_integer(
            5,
            &[31, 0x80, 0x80, 0x80, 0x80, 0x80],
            Err(DecodeError::IntegerOverflow),
        );
        check_integer(
            5,
            &[31, 0x80, 0x80, 0x80, 0x80],
            Err(DecodeError::Truncated),
        );
        check_integer(5, &[31], Err(DecodeError::Truncated));
        check_integer(5, &[], Err(DecodeError::Truncated));
    }

    #[test]
    fn indexes_are_those_of_the_tables() {
        check(&[0x80], Err(DecodeError::UnknownIndex(0)));
        check(&[0xbd], Ok(vec![("www-authenticate", "")]));
        check(&[0xbe], Err(DecodeError::UnknownIndex(62)));
        check(&[0x7e, 0], Err(DecodeError::UnknownIndex(62)));
        check(&[0x0f, 0x2f, 0], Err(DecodeError::UnknownIndex(62)));
        check(
            &[0x40, 1, b'a', 1, b'b', 0xbe],
            Ok(vec![("a", "b"), ("a", "b")]),
        );
        check(
            &[0xff, 0x80, 0xff, 0xff, 0xff, 0x0f],
            Err(DecodeError::UnknownIndex(u32::MAX)),
        );
    }

    #[test]
    fn a_table_size_update_only_starts_a_block() {
        check(&[0x20], Ok(vec![]));
        check(
            &[0x20, 0x3f, 0xe1, 0x1f, 0x82],
            Ok(vec![(":method", "GET")]),
        );
        check(
            &[0x3f, 0xe2, 0x1f],
            Err(DecodeError::TableSizeUpdateTooLarge(4097)),
        );
        check(&[0x82, 0x20], Err(DecodeError::TableSizeUpdateLate));
        check(
            &[0x20, 0x10, 0, 0, 0x20],
            Err(DecodeError::TableSizeUpdateLate),
        );
    }

    #[test]
    fn a_table_of_size_zero_holds_nothing() {
        check(
            &[0x20, 0x40, 1, b'a', 1, b'b', 0xbe],
            Err(DecodeError::UnknownIndex(62)),
        );
    }

    #[test]
    fn a_name_outlives_the_entry_that_it_comes_from() {
        let mut block = vec![0x3f, 0x03, 0x40, 1, b'a', 1, b'b', 0x7e, 1, b'c', 0xbe];
        check(&block, Ok(vec![("a", "b"), ("a", "c"), ("a", "c")]));
        block.push(0xbf);
        check(&block, Err(DecodeError::UnknownIndex(63)));
    }

    #[test]
    fn a_long_string_is_not_awaited() {
        check(
            &[0x00, 0x7f, 0x80, 0xff, 0xff, 0xff, 0x0f],
            Err(DecodeError::Truncated),
        );
    }

    #[test]
    fn a_buffer_holds_one_string_at_a_time() {
        // Twice `a: 0`, all four strings Huffman-encoded.
        let field = [0x00, 0x81, 0x1f, 0x81, 0x07];
        check(&[field, field].concat(), Ok(vec![("a", "0"), ("a", "0")]));
        check(&[0x00, 0x81, 0x18, 0], Err(DecodeError::HuffmanPadding));
        check(
            &[0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0],
            Err(DecodeError::HuffmanEos),
        );
    }

    fn check_integer(prefix_bits: u32, bytes: &[u8], expected: Result<u32, DecodeError>) {
        assert_eq!(Reader(bytes).integer(prefix_bits), expected);
    }

    fn check(block: &[u8], expected: Result<Vec<(&str, &str)>, DecodeError>) {
        let mut fields = Vec::new();
        let result = Decoder::new().decode(block, |name, value| {
            let text = |bytes| str::from_utf8(bytes).unwrap().to_owned();
            fields.push((text(name), text(value)));
            true
        });
        let fields = fields
            .iter()
            .map(|(name, value)| (&name[..], &value[..]))
            .collect();
        assert_eq!(result.map(|()| fields), expected);
    }
}
