//! The head of an HTTP/1 response from a stranger: of a proxy that is asked for a connection, or of
//! whatever answers in a relay's place (RFC 9112 section 4).

/// The longest head that is read, in bytes, interim responses before it included.
pub const MAX_LEN: usize = 16 * 1024;

const VERSION: &[u8] = b"HTTP/1.";

/// Reads a head byte by byte: what follows it belongs to somebody else.
#[derive(Debug, Default)]
pub struct Reader {
    head: Vec<u8>,
    /// Of all heads read.
    len: usize,
}

/// What answers is no HTTP/1 server, or talks too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is no HTTP/1 response")]
pub struct NotHttp;

impl Reader {
    /// Takes the next byte. Returns the status once the head is whole, that of the final response:
    /// interim ones are skipped (RFC 9110 section 15.2). A lone LF ends a line too (RFC 9112
    /// section 2.2).
    ///
    /// # Errors
    /// [`NotHttp`] as soon as that is clear; nothing more is to be pushed then.
    pub fn push(&mut self, byte: u8) -> Result<Option<u16>, NotHttp> {
        self.len += 1;
        self.head.push(byte);
        let begun = self.head.len().min(VERSION.len());
        if self.head[..begun] != VERSION[..begun] {
            return Err(NotHttp);
        }
        if self.head.ends_with(b"\n\n") || self.head.ends_with(b"\n\r\n") {
            let status = status(&self.head).ok_or(NotHttp)?;
            // 101 is the last that is said in HTTP, and was not asked for.
            if !(100..200).contains(&status) || status == 101 {
                return Ok(Some(status));
            }
            self.head.clear();
        }
        if self.len >= MAX_LEN {
            return Err(NotHttp);
        }
        Ok(None)
    }
}

/// The status of a response that begins so.
pub fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(VERSION)?;
    let [minor, b' ', code @ ..] = rest else {
        return None;
    };
    let (code, rest) = code.split_first_chunk::<3>()?;
    let is_status = minor.is_ascii_digit()
        && code.iter().all(u8::is_ascii_digit)
        && matches!(rest.first(), None | Some(b' ' | b'\r' | b'\n'));
    std::str::from_utf8(code)
        .ok()
        .filter(|_| is_status)?
        .parse()
        .ok()
}

/// Where a redirect leads, as it was written; `None` for any other response. The head may be cut
/// off, and bytes of the body may follow it.
pub fn location(head: &[u8]) -> Option<&[u8]> {
    status(head).filter(|status| (300..400).contains(status))?;
    let lines = head.split(|byte| *byte == b'\n').skip(1);
    lines
        .map(<[u8]>::trim_ascii)
        .take_while(|line| !line.is_empty())
        .find_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at(colon);
            let is_location = name.eq_ignore_ascii_case(b"location");
            is_location.then(|| value[1..].trim_ascii())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status, and how many bytes were taken for it.
    fn read(bytes: &[u8]) -> Result<Option<(u16, usize)>, NotHttp> {
        let mut reader = Reader::default();
        for (index, byte) in bytes.iter().enumerate() {
            if let Some(status) = reader.push(*byte)? {
                return Ok(Some((status, index + 1)));
            }
        }
        Ok(None)
    }

    #[test]
    fn what_follows_the_head_is_left() {
        for head in [
            &b"HTTP/1.1 200 Connection established\r\n\r\n"[..],
            b"HTTP/1.0 200\r\nVia: a\r\nX: 1\r\n\r\n",
            b"HTTP/1.0 200 OK\nVia: a\n\n",
        ] {
            let bytes = [head, b"\x16\x03\x01"].concat();
            assert_eq!(read(&bytes), Ok(Some((200, head.len()))));
            assert_eq!(read(&head[..head.len() - 1]), Ok(None));
        }
    }

    #[test]
    fn interim_responses_are_skipped() {
        let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102\r\n\r\nHTTP/1.1 407 Who?\r\n\r\n";
        assert_eq!(read(bytes), Ok(Some((407, bytes.len()))));
        assert_eq!(read(b"HTTP/1.1 101 So\r\n\r\n"), Ok(Some((101, 19))));
        // Without end they end all the same.
        let many = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(MAX_LEN / 25 + 1);
        assert_eq!(read(&many), Err(NotHttp));
    }

    #[test]
    fn whoever_says_something_else_is_known_at_once() {
        for bytes in [
            &b"S"[..],
            b"HTTP/2",
            b"\x15",
            b"\r",
            b"HTTP/1.1 2x0 \r\n\r\n",
            b"HTTP/1.1\n\n",
        ] {
            assert_eq!(read(bytes), Err(NotHttp), "{}", bytes.escape_ascii());
        }
        let long = [&b"HTTP/1.1 200 OK\r\nA: "[..], &[b'a'; MAX_LEN]].concat();
        assert_eq!(read(&long), Err(NotHttp));
    }

    #[test]
    fn only_a_status_line_has_a_status() {
        assert_eq!(status(b"HTTP/1.1 200 OK\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 407\r\n\r\n"), Some(407));
        for head in [
            &b""[..],
            b"HTTP/1.",
            b"HTTP/1.1 ",
            b"HTTP/1.1 20",
            b"HTTP/1.1 +20",
            b"HTTP/1.1 2000 OK",
            b"HTTP/1.x 200 OK",
            b"SSH-2.0-x 200",
        ] {
            assert_eq!(status(head), None, "{}", head.escape_ascii());
        }
    }

    #[test]
    fn a_redirect_says_where_to() {
        let head =
            b"HTTP/1.1 302 Found\r\nServer: x\r\nlocation:  http://portal.example/?a:b \r\n\r\n";
        assert_eq!(location(head), Some(&b"http://portal.example/?a:b"[..]));
        for head in [
            &b"HTTP/1.1 200 OK\r\nLocation: http://portal.example\r\n\r\n"[..],
            b"HTTP/1.1 302 Found\r\n\r\nLocation: in the body",
            b"HTTP/1.1 302 Found\r\nX-Location: a\r\n\r\n",
            b"HTTP/1.1 302 Location: a",
            b"Location: a\r\n",
        ] {
            assert_eq!(location(head), None, "{}", head.escape_ascii());
        }
    }
}
