//! Header blocks, of one frame or many (RFC 9113 section 4.3).

use super::{frame_size_error, protocol_error};
use crate::error::{Error, Reason};
use crate::frame::{END_HEADERS, END_STREAM, Header, PADDED, PRIORITY};
use crate::head::Fields;
use crate::hpack::DecodeError;
use crate::state::{Role, State};

/// A header block whose end has not come.
pub(super) struct Block {
    pub(super) stream: u32,
    ends: bool,
    bytes: Vec<u8>,
}

impl State {
    pub(super) fn headers(&mut self, header: Header, mut payload: &[u8]) -> Result<(), Error> {
        if header.stream == 0 {
            return Err(protocol_error());
        }
        if header.has(PADDED) {
            let (pad_len, rest) = payload.split_first().ok_or_else(frame_size_error)?;
            let len = rest.len().checked_sub(usize::from(*pad_len));
            payload = &rest[..len.ok_or_else(protocol_error)?];
        }
        if header.has(PRIORITY) {
            payload = payload.get(5..).ok_or_else(frame_size_error)?;
        }
        self.parser.block = Some(Block {
            stream: header.stream,
            ends: header.has(END_STREAM),
            bytes: Vec::new(),
        });
        self.continuation(header, payload)
    }

    pub(super) fn continuation(&mut self, header: Header, payload: &[u8]) -> Result<(), Error> {
        let Some(mut block) = self.parser.block.take() else {
            return Err(protocol_error());
        };
        // Few are longer compressed than not: such a list is too long, too.
        if block.bytes.len() + payload.len() > self.config.header_list_len as usize {
            return Err(Error::connection(Reason::ENHANCE_YOUR_CALM));
        }
        block.bytes.extend_from_slice(payload);
        if !header.has(END_HEADERS) {
            // Without a byte it is no progress.
            if payload.is_empty() {
                return Err(Error::connection(Reason::ENHANCE_YOUR_CALM));
            }
            self.parser.block = Some(block);
            return Ok(());
        }
        let mut fields = Fields::new(self.config.header_list_len as usize);
        let push = |name: &[u8], value: &[u8]| fields.push(name, value);
        let decoded = self.parser.hpack.decode(&block.bytes, push);
        decoded.map_err(|error| match error {
            DecodeError::ListTooLong => Error::connection(Reason::ENHANCE_YOUR_CALM),
            _ => Error::connection(Reason::COMPRESSION_ERROR),
        })?;
        self.block(block.stream, block.ends, fields)
    }

    /// A header block came to nothing. A stream that was reset meanwhile has few of them; each costs
    /// work, and a peer must not have us do that for ever.
    fn in_vain(&mut self) -> Result<(), Error> {
        let left = self.spare_blocks.checked_sub(1);
        self.spare_blocks = left.ok_or_else(|| Error::connection(Reason::ENHANCE_YOUR_CALM))?;
        Ok(())
    }

    /// A whole header block has come.
    fn block(&mut self, id: u32, ends: bool, fields: Fields) -> Result<(), Error> {
        let role = self.role;
        if let Some(stream) = self.streams.get_mut(&id) {
            if stream.is_closed() {
                return self.in_vain();
            }
            let incoming = &mut stream.incoming;
            if incoming.has_ended {
                self.reset(id, Reason::STREAM_CLOSED);
            } else if incoming.has_head {
                match fields.trailers().filter(|_| ends) {
                    Some(trailers) => self.ended(id, Some(trailers)),
                    None => self.reset(id, Reason::PROTOCOL_ERROR),
                }
            } else {
                match fields.response() {
                    // What comes before the head that counts, and is not the end (section 8.1).
                    Some(response) if response.status().is_informational() => {
                        if ends {
                            self.reset(id, Reason::PROTOCOL_ERROR);
                        }
                        return self.in_vain();
                    }
                    Some(response) => {
                        incoming.has_head = true;
                        incoming.head = Some(response);
                        incoming.wake();
                        if ends {
                            self.ended(id, None);
                        }
                    }
                    None => self.reset(id, Reason::PROTOCOL_ERROR),
                }
            }
            return Ok(());
        }
        if role == Role::Client || id.is_multiple_of(2) {
            return if self.is_idle(id) {
                Err(protocol_error())
            } else {
                self.in_vain()
            };
        }
        if id <= self.last_stream {
            return self.in_vain();
        }
        if self.is_leaving {
            // The peer tries elsewhere, as it was told (section 6.8).
            return self.in_vain();
        }
        self.last_stream = id;
        if self.n_open >= self.config.streams_max as usize {
            self.tell_reset(id, Reason::REFUSED_STREAM)?;
            return self.in_vain();
        }
        let Some(request) = fields.request() else {
            self.tell_reset(id, Reason::PROTOCOL_ERROR)?;
            return self.in_vain();
        };
        let stream = self.open(id);
        stream.incoming.has_head = true;
        stream.incoming.has_ended = ends;
        stream.outgoing.is_known = true;
        self.arrivals.push_back((id, request));
        Ok(())
    }
}
