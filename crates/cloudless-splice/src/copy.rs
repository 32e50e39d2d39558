//! Bytes on their way through this process's memory.

use std::cell::Cell;
use std::mem;

use crate::socket::{Socket, read, write};

const BUFFER_LEN: usize = 64 * 1024;

thread_local! {
    /// The buffer that was used last: it need not be made again, and is still in the cache.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Holds bytes that were read and not yet written.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    n_written: usize,
}

impl Buffer {
    pub(crate) fn new() -> Self {
        let mut bytes = SPARE.take();
        bytes.clear();
        bytes.reserve_exact(BUFFER_LEN);
        Self {
            bytes,
            n_written: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.n_written == self.bytes.len()
    }

    /// Reads into the empty buffer; 0 is the FIN.
    pub(crate) fn fill(&mut self, from: &impl Socket) -> std::io::Result<usize> {
        self.bytes.clear();
        self.n_written = 0;
        read(from, &mut self.bytes)
    }

    pub(crate) fn drain(&mut self, to: &impl Socket) -> std::io::Result<usize> {
        let n = write(to, &self.bytes[self.n_written..])?;
        self.n_written += n;
        Ok(n)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        SPARE.set(mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn many_bytes_are_64_kib_at_a_time_and_the_buffer_is_used_again() {
        let (mut near, from) = UnixStream::pair().unwrap();
        let (to, mut far) = UnixStream::pair().unwrap();
        let mut places = Vec::new();
        for number in 1..=2 {
            near.write_all(&[number; 64 * 1024]).await.unwrap();
            near.write_all(&[0; 100]).await.unwrap();
            from.ready(Interest::READABLE).await.unwrap();
            let mut buffer = Buffer::new();
            places.push(buffer.bytes.as_ptr());
            assert_eq!(buffer.fill(&from).unwrap(), 64 * 1024);
            assert_eq!(buffer.drain(&to).unwrap(), 64 * 1024);
            assert!(buffer.is_empty());
            assert_eq!(buffer.fill(&from).unwrap(), 100);
            let mut received = vec![0; 64 * 1024];
            far.read_exact(&mut received).await.unwrap();
            assert!(received.iter().all(|byte| *byte == number));
        }
        assert_eq!(places[0], places[1]);
    }
}
