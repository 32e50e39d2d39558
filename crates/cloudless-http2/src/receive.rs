//! What the peer sends: frames, and what follows from each.

mod frames;
mod heads;

use http::HeaderMap;

use self::heads::Block;
use crate::error::{Error, Reason};
use crate::frame::{ACK, END_STREAM, HEADER_LEN, Header, Kind, PADDED, PREFACE, WINDOW_MAX};
use crate::hpack;
use crate::state::{Role, State};

/// What the peer may send on all streams is told to it again when it has sent so much.
const WINDOW_STEP: i64 = 1 << 26;
/// Payloads that are kept until they are whole have this length at most. HEADERS are the longest.
const PAYLOAD_MAX: usize = 64 * 1024;

/// A longer piece of what a stream brings is worth a write of its own.
const PIECE_MIN: usize = 4 * 1024;

/// Where in the peer's bytes this side is.
pub(crate) struct Parser {
    place: Place,
    /// What has come of a header or payload that is not whole.
    partial: Vec<u8>,
    /// A header block whose end has not come.
    block: Option<Block>,
    hpack: hpack::Decoder,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// The client's preface.
    Preface,
    Header,
    Payload(Header),
    Data(Data),
}

/// A DATA frame whose payload is coming.
#[derive(Clone, Copy, Debug)]
struct Data {
    stream: u32,
    /// Bytes of the payload that have not come.
    left: usize,
    /// Bytes at its end that are padding.
    padding: usize,
    /// The length of the padding is still to come.
    has_pad_len: bool,
    ends: bool,
}

impl Parser {
    pub(crate) fn new(role: Role) -> Self {
        Self {
            place: match role {
                Role::Client => Place::Header,
                Role::Server => Place::Preface,
            },
            partial: Vec::new(),
            block: None,
            hpack: hpack::Decoder::new(),
        }
    }

    /// Takes the first `len` bytes of what has come, if so many are there; keeps those that are.
    fn take<'a>(&mut self, bytes: &mut &'a [u8], len: usize) -> Option<Taken<'a>> {
        if self.partial.is_empty()
            && let Some((whole, rest)) = bytes.split_at_checked(len)
        {
            *bytes = rest;
            return Some(Taken::Lying(whole));
        }
        let n = bytes.len().min(len - self.partial.len());
        let (now, rest) = bytes.split_at(n);
        self.partial.extend_from_slice(now);
        *bytes = rest;
        (self.partial.len() == len).then(|| Taken::Kept(std::mem::take(&mut self.partial)))
    }
}

/// Bytes that are whole.
enum Taken<'a> {
    Lying(&'a [u8]),
    Kept(Vec<u8>),
}

impl AsRef<[u8]> for Taken<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Lying(bytes) => bytes,
            Self::Kept(bytes) => bytes,
        }
    }
}

fn protocol_error() -> Error {
    Error::connection(Reason::PROTOCOL_ERROR)
}

fn frame_size_error() -> Error {
    Error::connection(Reason::FRAME_SIZE_ERROR)
}

impl State {
    /// Takes what the peer has sent. After an error the connection is over.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.batch += 1;
        let received = self.parse(bytes);
        for id in std::mem::take(&mut self.touched) {
            self.deliver(id);
        }
        received
    }

    fn parse(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        loop {
            match self.parser.place {
                Place::Preface => {
                    let Some(preface) = self.parser.take(&mut bytes, PREFACE.len()) else {
                        return Ok(());
                    };
                    if preface.as_ref() != PREFACE {
                        return Err(protocol_error());
                    }
                    self.parser.place = Place::Header;
                }
                Place::Header => {
                    let Some(header) = self.parser.take(&mut bytes, HEADER_LEN) else {
                        return Ok(());
                    };
                    let Ok(header) = header.as_ref().try_into() else {
                        return Ok(());
                    };
                    self.parser.place = self.begin(Header::parse(header))?;
                }
                Place::Payload(header) => {
                    let Some(payload) = self.parser.take(&mut bytes, header.len) else {
                        return Ok(());
                    };
                    self.parser.place = Place::Header;
                    self.payload(header, payload.as_ref())?;
                }
                Place::Data(data) => {
                    if bytes.is_empty() && data.left > 0 {
                        return Ok(());
                    }
                    self.parser.place = self.data(data, &mut bytes)?;
                }
            }
        }
    }

    /// A frame begins.
    fn begin(&mut self, header: Header) -> Result<Place, Error> {
        let Header {
            len, kind, stream, ..
        } = header;
        tracing::trace!(stream, ?kind, len, "A frame has come");
        if header.len > self.config.frame_len as usize {
            return Err(frame_size_error());
        }
        // Between the frames of a header block there is nothing else (section 6.10).
        let continues = self.parser.block.as_ref().map(|block| block.stream);
        let is_continuation = header.kind == Kind::Continuation;
        if is_continuation != continues.is_some() || continues.is_some_and(|it| it != header.stream)
        {
            return Err(protocol_error());
        }
        if !self.has_peers_settings && (header.kind != Kind::Settings || header.has(ACK)) {
            return Err(protocol_error());
        }
        if header.kind == Kind::Data {
            return self.begin_data(header).map(Place::Data);
        }
        if header.len > PAYLOAD_MAX {
            return Err(frame_size_error());
        }
        Ok(Place::Payload(header))
    }

    fn begin_data(&mut self, header: Header) -> Result<Data, Error> {
        if self.is_idle(header.stream) {
            return Err(protocol_error());
        }
        let len = header.len as i64;
        self.receive_window -= len;
        if self.receive_window < 0 {
            return Err(Error::connection(Reason::FLOW_CONTROL_ERROR));
        }
        let used = WINDOW_MAX - self.receive_window;
        if used >= WINDOW_STEP {
            self.receive_window = WINDOW_MAX;
            self.say(Kind::WindowUpdate, 0, 0, &(used as u32).to_be_bytes())?;
        }
        if let Some(stream) = self.streams.get_mut(&header.stream)
            && !stream.is_closed()
        {
            let incoming = &mut stream.incoming;
            incoming.window -= len;
            if incoming.has_ended {
                self.reset(header.stream, Reason::STREAM_CLOSED);
            } else if !incoming.has_head {
                self.reset(header.stream, Reason::PROTOCOL_ERROR);
            } else if incoming.window < 0 {
                self.reset(header.stream, Reason::FLOW_CONTROL_ERROR);
            } else {
                incoming.unreleased += header.len;
            }
        }
        Ok(Data {
            stream: header.stream,
            left: header.len,
            padding: 0,
            has_pad_len: header.has(PADDED),
            ends: header.has(END_STREAM),
        })
    }

    /// Bytes of a DATA frame have come; returns where that leads.
    fn data(&mut self, mut data: Data, bytes: &mut &[u8]) -> Result<Place, Error> {
        if data.has_pad_len {
            let Some((pad_len, rest)) = bytes.split_first().filter(|_| data.left > 0) else {
                return Err(frame_size_error());
            };
            *bytes = rest;
            data.has_pad_len = false;
            data.left -= 1;
            data.padding = usize::from(*pad_len);
            if data.padding > data.left {
                return Err(protocol_error());
            }
            // Nobody reads it.
            self.release(data.stream, 1 + data.padding);
        }
        let n = bytes.len().min(data.left - data.padding);
        let (now, rest) = bytes.split_at(n);
        *bytes = rest;
        data.left -= n;
        if !now.is_empty() {
            self.arrived(data.stream, now);
        }
        if data.left == data.padding {
            let n = bytes.len().min(data.left);
            *bytes = &bytes[n..];
            data.left -= n;
            data.padding -= n;
        }
        if data.left > 0 {
            return Ok(Place::Data(data));
        }
        if data.ends {
            self.ended(data.stream, None);
        }
        Ok(Place::Header)
    }

    /// Bytes of a stream have come.
    fn arrived(&mut self, id: u32, bytes: &[u8]) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let incoming = &mut stream.incoming;
        if stream.reset.is_some() || incoming.has_ended {
            return;
        }
        let Some(sink) = &mut incoming.sink else {
            incoming.waiting.push(bytes);
            incoming.wake();
            return;
        };
        // Of many small pieces in one batch the first is written at once, and the others together.
        if bytes.len() < PIECE_MIN && incoming.batch == self.batch && !sink.has_failed() {
            if incoming.waiting.is_empty() {
                self.touched.push(id);
            }
            sink.keep(bytes, &mut incoming.waiting);
            return;
        }
        incoming.batch = self.batch;
        let n = sink.take(bytes, &mut incoming.waiting);
        if sink.has_failed() {
            incoming.wake();
        }
        self.release(id, n);
    }

    /// The peer has said all on a stream.
    fn ended(&mut self, id: u32, trailers: Option<HeaderMap>) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let incoming = &mut stream.incoming;
        if stream.reset.is_some() || incoming.has_ended {
            return;
        }
        incoming.has_ended = true;
        incoming.trailers = trailers;
        incoming.wake();
        self.clear(id);
    }

    /// Whether nobody has opened this stream yet (section 5.1).
    fn is_idle(&self, id: u32) -> bool {
        let is_clients = id % 2 == 1;
        match self.role {
            Role::Client => !is_clients || id >= self.next_stream,
            Role::Server => !is_clients || id > self.last_stream && !self.is_leaving,
        }
    }
}
