//! Bytes that have arrived and wait to be taken.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// What begins behind others that wait has room for more, so that a peer that sends few bytes at a
/// time does not fill the memory with what each piece costs.
const CHUNK_MIN: usize = 4 * 1024;

/// A queue of bytes that costs hardly more memory than they are.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    chunks: VecDeque<BytesMut>,
    len: usize,
}

impl Waiting {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len();
        if let Some(last) = self.chunks.back_mut() {
            let n = bytes.len().min(last.capacity() - last.len());
            let (now, later) = bytes.split_at(n);
            last.extend_from_slice(now);
            bytes = later;
        }
        if !bytes.is_empty() {
            let room = if self.chunks.is_empty() {
                bytes.len()
            } else {
                bytes.len().max(CHUNK_MIN)
            };
            let mut chunk = BytesMut::with_capacity(room);
            chunk.extend_from_slice(bytes);
            self.chunks.push_back(chunk);
        }
    }

    /// The first bytes, as they lie.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.pop_front()?;
        self.len -= chunk.len();
        if self.chunks.is_empty() {
            self.chunks = VecDeque::new();
        }
        Some(chunk.freeze())
    }

    /// Fills `slices` with the first bytes; returns how many slices they are.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let n = slices.len().min(self.chunks.len());
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            *slice = IoSlice::new(chunk);
        }
        n
    }

    /// Forgets the first `n` bytes.
    pub(crate) fn advance(&mut self, mut n: usize) {
        while let Some(first) = self.chunks.front_mut() {
            let step = n.min(first.len());
            first.advance(step);
            self.len -= step;
            n -= step;
            if !first.is_empty() {
                return;
            }
            self.chunks.pop_front();
        }
        self.chunks = VecDeque::new();
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in_and_single_ones_cost_little() {
        let mut waiting = Waiting::default();
        let bytes: Vec<u8> = (0..20_000_u32).map(|n| n as u8).collect();
        for byte in bytes.chunks(1) {
            waiting.push(byte);
        }
        assert_eq!(waiting.len(), bytes.len());
        let capacity: usize = waiting.chunks.iter().map(BytesMut::capacity).sum();
        assert!(capacity < bytes.len() + 2 * CHUNK_MIN && waiting.chunks.len() < 10);
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(waiting.slices(&mut slices), 4);
        let first: usize = slices.iter().map(|slice| slice.len()).sum();
        assert_eq!(slices.map(|slice| slice.to_vec()).concat(), bytes[..first]);
        waiting.advance(4097);
        let mut rest = Vec::new();
        while let Some(chunk) = waiting.pop() {
            rest.extend_from_slice(&chunk);
        }
        assert_eq!(rest, bytes[4097..]);
        assert!(waiting.is_empty() && waiting.chunks.capacity() == 0);
    }
}
