//! Lines of JSON: the framing of the control stream and of the unix sockets.

use serde::Serialize;

/// One JSON value and the line feed that ends it.
///
/// # Panics
///
/// When `value` has a map whose keys are not strings, which JSON cannot say; no message has one.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("messages have only string keys");
    line.push(b'\n');
    line
}

/// Cuts a stream of bytes into lines of bounded length.
///
/// After each [`push`](Self::push) call [`next_line`](Self::next_line) until it answers `None`;
/// then the decoder holds at most one line that is not complete. Its cost is linear in the bytes
/// pushed, however small the pieces are.
#[derive(Debug)]
pub struct Decoder {
    max: usize,
    bytes: Vec<u8>,
    /// Where the next line starts in `bytes`.
    start: usize,
    /// Invariant: no line feed in `bytes[start..scanned]`.
    scanned: usize,
    failed: bool,
}

impl Decoder {
    /// A decoder of lines of at most `max` bytes, the line feed not counted.
    pub fn new(max: usize) -> Self {
        Self {
            max,
            bytes: Vec::new(),
            start: 0,
            scanned: 0,
            failed: false,
        }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed {
            return;
        }
        self.bytes.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next complete line without its line feed; `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// [`LineTooLong`], from then on every time: there is no way back into step, close the stream.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, LineTooLong> {
        if self.failed {
            return Err(LineTooLong { max: self.max });
        }
        let unread = &self.bytes[self.scanned..];
        let end = unread
            .iter()
            .position(|&byte| byte == b'\n')
            .map(|at| self.scanned + at);
        let length = end.unwrap_or(self.bytes.len()) - self.start;
        if length > self.max {
            self.failed = true;
            self.bytes = Vec::new();
            return Err(LineTooLong { max: self.max });
        }
        let Some(end) = end else {
            self.scanned = self.bytes.len();
            return Ok(None);
        };
        let line = self.bytes[self.start..end].to_vec();
        self.start = end + 1;
        self.scanned = self.start;
        Ok(Some(line))
    }
}

/// The peer sent a longer line than the protocol allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer sent a line of more than {max} bytes")]
pub struct LineTooLong {
    /// The longest line allowed, in bytes.
    pub max: usize,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drain(decoder: &mut Decoder) -> Result<Vec<Vec<u8>>, LineTooLong> {
        let mut lines = Vec::new();
        while let Some(line) = decoder.next_line()? {
            lines.push(line);
        }
        Ok(lines)
    }

    #[test]
    fn a_line_is_json_and_a_line_feed() {
        assert_eq!(encode(&"one\ntwo"), b"\"one\\ntwo\"\n");
    }

    #[test]
    fn the_limit_is_exact_and_final() {
        let mut decoder = Decoder::new(3);
        decoder.push(b"abc\nabcd");
        assert_eq!(decoder.next_line(), Ok(Some(b"abc".to_vec())));
        let too_long = Err(LineTooLong { max: 3 });
        assert_eq!(decoder.next_line(), too_long);
        decoder.push(b"\nabc\n");
        assert_eq!(decoder.next_line(), too_long);
    }

    #[test]
    fn a_complete_line_over_the_limit_is_refused() {
        let mut decoder = Decoder::new(3);
        decoder.push(b"abcd\n");
        assert_eq!(decoder.next_line(), Err(LineTooLong { max: 3 }));
    }

    #[test]
    fn many_small_pieces_cost_linear_time() {
        let mut decoder = Decoder::new(4 << 20);
        for _ in 0..4 << 20 {
            decoder.push(b"x");
            assert_eq!(decoder.next_line(), Ok(None));
        }
        decoder.push(b"\n");
        assert_eq!(decoder.next_line().unwrap().unwrap().len(), 4 << 20);
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(
            lines in proptest::collection::vec("[a-c]{0,6}", 0..8),
            piece in 1..9_usize,
        ) {
            let stream: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let mut decoder = Decoder::new(6);
            let mut decoded = Vec::new();
            for bytes in stream.as_bytes().chunks(piece) {
                decoder.push(bytes);
                decoded.extend(drain(&mut decoder).unwrap());
            }
            let expected: Vec<_> = lines.into_iter().map(String::into_bytes).collect();
            prop_assert_eq!(decoded, expected);
        }
    }
}
