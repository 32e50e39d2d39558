//! The direction to the peer.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::{AlertDescription, ContentType, Error};
use tokio::io::AsyncWrite;

use crate::keys::{Keys, Sealer};
use crate::record::PLAIN_MAX;

/// As soon as so much is sealed it has to leave before more is taken. Twice as much at a time costs more
/// than the system calls that it saves: it does not fit beside the rest into a processor's cache.
const SEALED_MAX: usize = 32 * 1024;
/// Records that leave in one write.
const SLICES_MAX: usize = 8;

/// A KeyUpdate that asks for none in return (RFC 8446 section 4.6.3).
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
const WARNING: u8 = 1;
const FATAL: u8 = 2;

/// What was written and has not left.
pub(crate) struct Outbound {
    sealer: Sealer,
    /// Less than what fills a record.
    plain: Vec<u8>,
    sealed: VecDeque<Vec<u8>>,
    sealed_len: usize,
    /// Bytes of the first that have left.
    n_left: usize,
    /// The peer has asked for another key.
    is_update_due: bool,
    is_closed: bool,
}

impl Outbound {
    pub(crate) fn new(sealer: Sealer) -> Self {
        Self {
            sealer,
            plain: Vec::new(),
            sealed: VecDeque::new(),
            sealed_len: 0,
            n_left: 0,
            is_update_due: false,
            is_closed: false,
        }
    }

    /// Whether nothing more is taken until something has left.
    pub(crate) fn is_full(&self) -> bool {
        self.sealed_len >= SEALED_MAX
    }

    /// What waits to leave, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.plain.len() + self.sealed_len
    }

    /// Takes as many of these bytes as there is room for.
    pub(crate) fn take(&mut self, keys: &mut Keys, bytes: &[u8]) -> Result<usize, Error> {
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_full() {
            let room = PLAIN_MAX - self.plain.len();
            let Some((now, later)) = rest.split_at_checked(room) else {
                self.plain.extend_from_slice(rest);
                return Ok(bytes.len());
            };
            self.seal_data(keys, now)?;
            rest = later;
        }
        Ok(bytes.len() - rest.len())
    }

    /// Makes a record of what does not fill one.
    pub(crate) fn seal_rest(&mut self, keys: &mut Keys) -> Result<(), Error> {
        if !self.plain.is_empty() {
            self.seal_data(keys, &[])?;
        }
        Ok(())
    }

    fn seal_data(&mut self, keys: &mut Keys, more: &[u8]) -> Result<(), Error> {
        if self.is_update_due || self.sealer.is_worn() {
            self.seal(ContentType::Handshake, &KEY_UPDATE)?;
            self.sealer = keys.next_sealer()?;
            self.is_update_due = false;
        }
        let record = self
            .sealer
            .seal(ContentType::ApplicationData, &[&self.plain, more])?;
        self.plain.clear();
        self.push(record);
        Ok(())
    }

    pub(crate) fn seal(&mut self, content_type: ContentType, message: &[u8]) -> Result<(), Error> {
        let record = self.sealer.seal(content_type, &[message])?;
        self.push(record);
        Ok(())
    }

    fn push(&mut self, record: Vec<u8>) {
        self.sealed_len += record.len();
        self.sealed.push_back(record);
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
        self.plain = Vec::new();
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
        while !self.sealed.is_empty() {
            let n = ready!(self.poll_write(io, cx))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(n);
        }
        if self.plain.is_empty() {
            self.plain = Vec::new();
            self.sealed = VecDeque::new();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write<S: AsyncWrite + Unpin>(
        &self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut records = self.sealed.iter();
        let first = records
            .next()
            .map_or(&[][..], |first| &first[self.n_left..]);
        // Of one record that is also the cheaper system call.
        if !io.is_write_vectored() || self.sealed.len() == 1 {
            return Pin::new(io).poll_write(cx, first);
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        slices[0] = IoSlice::new(first);
        let mut n_slices = 1;
        for (slice, record) in slices[1..].iter_mut().zip(records) {
            *slice = IoSlice::new(record);
            n_slices += 1;
        }
        Pin::new(io).poll_write_vectored(cx, &slices[..n_slices])
    }

    fn advance(&mut self, mut n: usize) {
        self.sealed_len = self.sealed_len.saturating_sub(n);
        while let Some(first) = self.sealed.front() {
            let rest = first.len() - self.n_left;
            if n < rest {
                self.n_left += n;
                return;
            }
            n -= rest;
            self.n_left = 0;
            self.sealed.pop_front();
        }
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.plain.capacity() + self.sealed.capacity()
    }

    #[cfg(test)]
    pub(crate) fn wear(&mut self, left: u64) {
        self.sealer.wear(left);
    }
}
