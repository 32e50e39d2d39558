//! Bytes on their way through this process's memory.

use std::os::fd::AsFd;

use rustix::buffer::spare_capacity;
use rustix::io;

const BUFFER_LEN: usize = 64 * 1024;

/// Holds bytes that were read and not yet written.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    n_written: usize,
}

impl Buffer {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(BUFFER_LEN),
            n_written: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.n_written == self.bytes.len()
    }

    /// Reads into the empty buffer; 0 is the FIN.
    pub(crate) fn fill(&mut self, from: impl AsFd) -> io::Result<usize> {
        self.bytes.clear();
        self.n_written = 0;
        io::read(from, spare_capacity(&mut self.bytes))
    }

    pub(crate) fn drain(&mut self, to: impl AsFd) -> io::Result<usize> {
        let n = io::write(to, &self.bytes[self.n_written..])?;
        self.n_written += n;
        Ok(n)
    }
}
