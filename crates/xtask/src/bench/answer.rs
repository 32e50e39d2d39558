//! Answers of HTTP/1.1, read with as little work as can be: what the client costs would be taken
//! for what the servers cost.

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BytesMut};
use http::StatusCode;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use tokio::io::{AsyncRead, AsyncReadExt};

const READ_SIZE: usize = 64 * 1024;
const MAX_HEADERS: usize = 64;

/// What came before the body.
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    /// Whether the server closes the connection after this answer.
    pub(crate) is_closing: bool,
    length: Length,
}

/// Where the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Bytes(usize),
    Chunked,
    UntilClose,
}

/// What was read from a connection and not used yet.
#[derive(Default)]
pub(crate) struct Input(BytesMut);

impl Input {
    /// Reads up to the body.
    pub(crate) async fn head(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<Head> {
        loop {
            if let Some((head, size)) = parse_head(&self.0)? {
                self.0.advance(size);
                return Ok(head);
            }
            self.fill(stream).await?;
        }
    }

    /// Reads the body to its end and gives it to `sink` as it comes.
    pub(crate) async fn body(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        head: &Head,
        sink: &mut impl FnMut(&[u8]),
    ) -> Result<()> {
        match head.length {
            Length::Bytes(size) => self.give(stream, size, sink).await,
            Length::UntilClose => loop {
                sink(&self.0);
                self.0.clear();
                self.0.reserve(READ_SIZE);
                if stream.read_buf(&mut self.0).await.context("read a body")? == 0 {
                    return Ok(());
                }
            },
            Length::Chunked => loop {
                let size = self.chunk_size(stream).await?;
                self.give(stream, size, sink).await?;
                self.give(stream, b"\r\n".len(), &mut |_| {}).await?;
                if size == 0 {
                    return Ok(());
                }
            },
        }
    }

    async fn chunk_size(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<usize> {
        loop {
            let parsed = httparse::parse_chunk_size(&self.0)
                .ok()
                .context("a chunk without a size")?;
            if let httparse::Status::Complete((start, size)) = parsed {
                self.0.advance(start);
                return usize::try_from(size).context("a chunk larger than memory");
            }
            self.fill(stream).await?;
        }
    }

    async fn give(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        mut size: usize,
        sink: &mut impl FnMut(&[u8]),
    ) -> Result<()> {
        while size > 0 {
            if self.0.is_empty() {
                self.fill(stream).await?;
            }
            let part = size.min(self.0.len());
            sink(&self.0[..part]);
            self.0.advance(part);
            size -= part;
        }
        Ok(())
    }

    async fn fill(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<()> {
        self.0.reserve(READ_SIZE);
        let n_bytes = stream.read_buf(&mut self.0).await;
        ensure!(
            n_bytes.context("read an answer")? > 0,
            "the server closed the connection within an answer"
        );
        Ok(())
    }
}

/// The head and its size, as soon as all of it is there.
fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let parsed = answer.parse(bytes).context("read the head of an answer")?;
    let httparse::Status::Complete(size) = parsed else {
        return Ok(None);
    };
    let status = StatusCode::from_u16(answer.code.unwrap_or_default()).context("read a status")?;
    let mut is_closing = answer.version == Some(0);
    let mut length = Length::UntilClose;
    for header in answer.headers.iter() {
        let value = str::from_utf8(header.value)
            .context("read a header")?
            .trim();
        if header.name.eq_ignore_ascii_case(CONTENT_LENGTH.as_str()) {
            length = Length::Bytes(value.parse().context("read a content length")?);
        } else if header.name.eq_ignore_ascii_case(TRANSFER_ENCODING.as_str()) {
            length = Length::Chunked;
        } else if header.name.eq_ignore_ascii_case(CONNECTION.as_str()) {
            is_closing |= value.eq_ignore_ascii_case("close");
        }
    }
    if status.is_informational() {
        bail!("{status}, for which nothing asked");
    }
    if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        length = Length::Bytes(0);
    }
    is_closing |= length == Length::UntilClose;
    let head = Head {
        status,
        is_closing,
        length,
    };
    Ok(Some((head, size)))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(input: &mut Input, mut stream: &[u8]) -> (Head, Vec<u8>) {
        let head = input.head(&mut stream).await.expect("there is a head");
        let mut body = Vec::new();
        input
            .body(&mut stream, &head, &mut |it| body.extend_from_slice(it))
            .await
            .expect("there is a body");
        (head, body)
    }

    #[tokio::test]
    async fn bodies_of_a_length_and_in_chunks_end_where_the_next_answer_begins() {
        let mut input = Input::default();
        let answers = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc\
            HTTP/1.1 207 Multi-Status\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n\
            HTTP/1.1 204 No Content\r\n\r\n";
        let (head, body) = read(&mut input, answers).await;
        assert_eq!((head.status.as_u16(), body.as_slice()), (200, &b"abc"[..]));
        let (head, body) = read(&mut input, b"").await;
        assert_eq!((head.status.as_u16(), body.as_slice()), (207, &b"def"[..]));
        let (head, body) = read(&mut input, b"").await;
        assert_eq!((head.status.as_u16(), body.len()), (204, 0));
        assert!(!head.is_closing);
    }

    #[tokio::test]
    async fn a_body_without_a_length_ends_with_the_connection() {
        let (head, body) = read(&mut Input::default(), b"HTTP/1.0 200 OK\r\n\r\nabc").await;
        assert_eq!(body, b"abc");
        assert!(head.is_closing);
    }

    #[tokio::test]
    async fn a_cut_off_answer_is_an_error() {
        let mut stream = &b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab"[..];
        let mut input = Input::default();
        let head = input.head(&mut stream).await.expect("there is a head");
        assert!(input.body(&mut stream, &head, &mut |_| {}).await.is_err());
    }
}
