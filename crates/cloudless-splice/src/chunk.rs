use std::cell::Cell;
use std::io;

use bytes::Bytes;

use crate::socket::{Socket, read};

/// A read that fills less of its buffer than one part in so many is copied, so that few bytes do not
/// hold a large buffer while they wait to be sent.
const COPIED_PART: usize = 4;

thread_local! {
    /// The buffer that was used last and is not any more. It is made and wiped once, not for each
    /// read; what stays in it is encrypted for somebody else.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A buffer that is used again.
struct Lent(Vec<u8>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        // At the end of a thread there is no next time.
        let _ = SPARE.try_with(|spare| spare.set(buffer));
    }
}

/// Bytes that were read from a socket.
#[derive(Debug)]
pub struct Chunk {
    /// The bytes; none are the FIN.
    pub bytes: Bytes,
    /// The memory that they hold.
    pub held: usize,
}

impl Chunk {
    /// Reads what the socket has, up to `len_max` bytes.
    ///
    /// # Errors
    /// Those of read(2), `WouldBlock` among them.
    pub fn read(from: &impl Socket, len_max: usize) -> io::Result<Self> {
        let mut buffer = SPARE.take();
        buffer.clear();
        if buffer.capacity() != len_max {
            buffer = Vec::with_capacity(len_max);
        }
        let n = read(from, &mut buffer);
        if let Ok(n) = n
            && n >= len_max / COPIED_PART
        {
            return Ok(Self {
                bytes: Bytes::from_owner(Lent(buffer)),
                held: len_max,
            });
        }
        let bytes = Bytes::copy_from_slice(&buffer);
        drop(Lent(buffer));
        n.map(|held| Self { bytes, held })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, Interest};
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn few_bytes_hold_little_and_many_are_not_copied() {
        let (mut near, far) = UnixStream::pair().unwrap();
        for (n, held) in [(100, 100), (3999, 3999), (4000, 16_000), (16_000, 16_000)] {
            near.write_all(&vec![7; n]).await.unwrap();
            far.ready(Interest::READABLE).await.unwrap();
            let chunk = Chunk::read(&far, 16_000).unwrap();
            assert_eq!((chunk.bytes.len(), chunk.held), (n, held));
            assert!(chunk.bytes.iter().all(|byte| *byte == 7));
        }
        // A buffer that somebody still reads is not the next one's, and one that nobody does is.
        near.write_all(&[1; 8000]).await.unwrap();
        far.ready(Interest::READABLE).await.unwrap();
        let first = Chunk::read(&far, 8000).unwrap().bytes;
        near.write_all(&[2; 8000]).await.unwrap();
        far.ready(Interest::READABLE).await.unwrap();
        let second = Chunk::read(&far, 8000).unwrap().bytes;
        assert_eq!((&first[..], &second[..]), (&[1; 8000][..], &[2; 8000][..]));
        let place = second.as_ptr();
        drop(second);
        near.write_all(&[3; 8000]).await.unwrap();
        far.ready(Interest::READABLE).await.unwrap();
        let third = Chunk::read(&far, 8000).unwrap().bytes;
        assert_eq!((third[0], third.as_ptr()), (3, place));

        let nothing = Chunk::read(&far, 16_000).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        // With room for less, no more is read.
        near.write_all(&[8; 100]).await.unwrap();
        far.ready(Interest::READABLE).await.unwrap();
        assert_eq!(Chunk::read(&far, 60).unwrap().bytes, [8; 60][..]);
        drop(near);
        assert_eq!(Chunk::read(&far, 60).unwrap().bytes, [8; 40][..]);
        far.ready(Interest::READABLE).await.unwrap();
        assert!(Chunk::read(&far, 60).unwrap().bytes.is_empty());
    }
}
