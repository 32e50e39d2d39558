//! The direction to the peer.

use std::cell::Cell;
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::{AlertDescription, ContentType, Error};
use tokio::io::AsyncWrite;

use crate::cipher::TAG_LEN;
use crate::keys::{Keys, Sealer};
use crate::record::{HEADER_LEN, PLAIN_MAX};

/// As soon as so much is sealed it has to leave before more is taken. Twice as much at a time costs more
/// than the system calls that it saves: it does not fit beside the rest into a processor's cache.
const SEALED_MAX: usize = 32 * 1024;
/// The longest record of ours, and a KeyUpdate before it.
const RECORDS_MAX: usize = HEADER_LEN + PLAIN_MAX + 1 + TAG_LEN + KEY_UPDATE_LEN;
const KEY_UPDATE_LEN: usize = HEADER_LEN + KEY_UPDATE.len() + 1 + TAG_LEN;

/// A KeyUpdate that asks for none in return (RFC 8446 section 4.6.3).
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
const WARNING: u8 = 1;
const FATAL: u8 = 2;

thread_local! {
    /// The buffer that was used last: it is made and wiped once, not for each write. What stays in it is
    /// sealed.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What was written and has not left.
pub(crate) struct Outbound {
    sealer: Sealer,
    /// Records, behind which may stand one that is not full: room for its header, and its data.
    buffer: Vec<u8>,
    /// Where that one begins.
    sealed_len: usize,
    /// Bytes of the records that have left.
    n_left: usize,
    /// The peer has asked for another key.
    is_update_due: bool,
    is_closed: bool,
}

impl Outbound {
    pub(crate) fn new(sealer: Sealer) -> Self {
        Self {
            sealer,
            buffer: Vec::new(),
            sealed_len: 0,
            n_left: 0,
            is_update_due: false,
            is_closed: false,
        }
    }

    /// Whether nothing more is taken until all that is sealed has left.
    pub(crate) fn is_full(&self) -> bool {
        self.sealed_len >= SEALED_MAX
    }

    /// What waits to leave, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len() - self.n_left
    }

    /// Takes as many of these bytes as there is room for.
    pub(crate) fn take(&mut self, keys: &mut Keys, bytes: &[u8]) -> Result<usize, Error> {
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_full() {
            if self.open_len() == 0 {
                self.begin();
            }
            let room = HEADER_LEN + PLAIN_MAX - self.open_len();
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.buffer.extend_from_slice(now);
            rest = later;
            if now.len() == room {
                self.seal_rest(keys)?;
            }
        }
        Ok(bytes.len() - rest.len())
    }

    /// Makes room for a record's header.
    fn begin(&mut self) {
        if self.buffer.capacity() == 0 {
            self.buffer = SPARE.try_with(Cell::take).unwrap_or_default();
            self.buffer.reserve_exact(SEALED_MAX + RECORDS_MAX);
        }
        self.buffer.extend_from_slice(&[0; HEADER_LEN]);
    }

    /// What is not sealed, its header's room included.
    fn open_len(&self) -> usize {
        self.buffer.len() - self.sealed_len
    }

    /// Makes a record of what does not fill one, by the right key.
    pub(crate) fn seal_rest(&mut self, keys: &mut Keys) -> Result<(), Error> {
        if self.open_len() == 0 {
            return Ok(());
        }
        if self.is_update_due || self.sealer.is_worn() {
            let open = self.buffer[self.sealed_len..].to_vec();
            self.forget_open();
            self.seal(ContentType::Handshake, &KEY_UPDATE)?;
            let next = keys.next_sealer();
            self.sealer = next.inspect_err(|_| self.is_closed = true)?;
            self.is_update_due = false;
            self.buffer.extend_from_slice(&open);
        }
        self.seal_open(ContentType::ApplicationData)
    }

    /// Makes a record of a message. All data is sealed already.
    pub(crate) fn seal(&mut self, content_type: ContentType, message: &[u8]) -> Result<(), Error> {
        self.buffer.extend_from_slice(&[0; HEADER_LEN]);
        self.buffer.extend_from_slice(message);
        self.seal_open(content_type)
    }

    /// Makes a record of what is not sealed. When that fails nothing is sealed any more.
    fn seal_open(&mut self, content_type: ContentType) -> Result<(), Error> {
        let sealed = self
            .sealer
            .seal(content_type, &mut self.buffer, self.sealed_len);
        if sealed.is_err() {
            self.forget_open();
            self.is_closed = true;
        }
        self.sealed_len = self.buffer.len();
        sealed
    }

    /// Forgets what is not sealed, also where it lay.
    fn forget_open(&mut self) {
        self.buffer[self.sealed_len..].fill(0);
        self.buffer.truncate(self.sealed_len);
    }

    /// The peer asks for another key, which goes before the next data.
    pub(crate) fn update(&mut self) {
        self.is_update_due = true;
    }

    /// Says that nothing more comes, once.
    pub(crate) fn close(&mut self, keys: &mut Keys) -> Result<(), Error> {
        if self.is_closed {
            return Ok(());
        }
        self.seal_rest(keys)?;
        self.is_closed = true;
        let alert = [WARNING, AlertDescription::CloseNotify.into()];
        self.seal(ContentType::Alert, &alert)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Says why nothing more is read or written. What was not sealed yet is forgotten.
    pub(crate) fn fail(&mut self, alert: AlertDescription) {
        self.forget_open();
        if self.is_closed {
            return;
        }
        self.is_closed = true;
        // The connection fails for another reason already.
        let _ = self.seal(ContentType::Alert, &[FATAL, alert.into()]);
    }

    /// Writes all that is sealed.
    pub(crate) fn poll_drain<S: AsyncWrite + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.n_left < self.sealed_len {
            let rest = &self.buffer[self.n_left..self.sealed_len];
            let n = ready!(Pin::new(&mut *io).poll_write(cx, rest))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.n_left += n;
        }
        self.buffer.drain(..self.sealed_len);
        self.sealed_len = 0;
        self.n_left = 0;
        if self.buffer.is_empty() {
            let buffer = mem::take(&mut self.buffer);
            if buffer.capacity() >= SEALED_MAX {
                // Without one, the thread is ending.
                let _ = SPARE.try_with(|spare| spare.set(buffer));
            }
        }
        Poll::Ready(Ok(()))
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    #[cfg(test)]
    pub(crate) fn is_update_due(&self) -> bool {
        self.is_update_due
    }

    #[cfg(test)]
    pub(crate) fn n_sealed(&self) -> u64 {
        self.sealer.n_sealed()
    }

    #[cfg(test)]
    pub(crate) fn wear(&mut self, left: u64) {
        self.sealer.wear(left);
    }

    #[cfg(test)]
    pub(crate) fn exhaust(&mut self) {
        self.sealer.exhaust();
    }
}
