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
