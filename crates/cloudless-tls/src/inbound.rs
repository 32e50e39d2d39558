//! The direction from the peer.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::{AlertDescription, ContentType, Error, HandshakeType, InvalidMessage, PeerMisbehaved};
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

use crate::keys::Opener;
use crate::record::{self, HEADER_LEN};

/// What is read at a time, at first and when little comes,
const READ_LEN_MIN: usize = 8 * 1024;
/// and when what comes fills that.
const READ_LEN_MAX: usize = 64 * 1024;
/// So many records in a row without data are more than any peer needs, and each costs work.
const IDLE_RECORDS_MAX: u32 = 32;

/// A KeyUpdate, up to what it asks for (RFC 8446 section 4.6.3).
const KEY_UPDATE: [u8; 4] = [24, 0, 0, 1];

/// What came with a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// Data, which may be read now.
    Data,
    /// The last record: nothing comes after it.
    Close,
    /// The next record is by another key.
    KeyUpdate { is_asked_in_return: bool },
    /// Nothing that matters.
    Nothing,
}

/// What has arrived and was not read.
pub(crate) struct Inbound {
    opener: Opener,
    buffer: Vec<u8>,
    /// Where data lies that may be read.
    data: Range<usize>,
    /// Where the next record begins; all before it was opened.
    next: usize,
    read_len: usize,
    n_idle: u32,
}

impl Inbound {
    /// `arrived` is what came behind the handshake.
    pub(crate) fn new(opener: Opener, mut arrived: Vec<u8>) -> Self {
        arrived.shrink_to_fit();
        Self {
            opener,
            buffer: arrived,
            data: 0..0,
            next: 0,
            read_len: READ_LEN_MIN,
            n_idle: 0,
        }
    }

    /// What may be read now.
    pub(crate) fn data(&self) -> &[u8] {
        &self.buffer[self.data.clone()]
    }

    /// So much of the data was read.
    pub(crate) fn consume(&mut self, n: usize) {
        self.data.start += n.min(self.data.len());
    }

    /// Opens the next record, whose data then stands right behind what was not read yet; `None` when
    /// it is not there.
    pub(crate) fn open(&mut self) -> Result<Option<Came>, Error> {
        let rest = &mut self.buffer[self.next..];
        let Some(record) = record::len(rest)?.and_then(|len| rest.get_mut(..len)) else {
            return Ok(None);
        };
        // Everything is encrypted now (RFC 8446 section 5.2).
        if ContentType::from(record[0]) != ContentType::ApplicationData {
            return Err(Error::InappropriateMessage {
                expect_types: vec![ContentType::ApplicationData],
                got_type: ContentType::from(record[0]),
            });
        }
        let len = record.len();
        let message = self.opener.open(record)?;
        let came = match message.typ {
            ContentType::ApplicationData => {
                let start = self.next + HEADER_LEN;
                let opened = start..start + message.payload.len();
                let is_empty = opened.is_empty();
                if self.data.is_empty() {
                    self.data = opened;
                } else {
                    let n = opened.len();
                    self.buffer.copy_within(opened, self.data.end);
                    self.data.end += n;
                }
                if is_empty { Came::Nothing } else { Came::Data }
            }
            ContentType::Handshake => after_handshake(message.payload)?,
            ContentType::Alert => alert(message.payload)?,
            other => {
                return Err(Error::InappropriateMessage {
                    expect_types: vec![
                        ContentType::ApplicationData,
                        ContentType::Handshake,
                        ContentType::Alert,
                    ],
                    got_type: other,
                });
            }
        };
        self.next += len;
        if came == Came::Data {
            self.n_idle = 0;
        } else {
            self.n_idle += 1;
            if self.n_idle > IDLE_RECORDS_MAX {
                return Err(Error::General(
                    "the peer sends record after record without data".to_owned(),
                ));
            }
        }
        Ok(Some(came))
    }

    /// Nothing more is opened; what was may still be read.
    pub(crate) fn forget(&mut self) {
        self.next = self.buffer.len();
        if self.data.is_empty() {
            self.buffer = Vec::new();
            self.data = 0..0;
            self.next = 0;
        }
    }

    /// For what comes from now on.
    pub(crate) fn go_on_with(&mut self, opener: Opener) {
        self.opener = opener;
    }

    /// Reads more, when no whole record is left and all data was read; 0 is the end of the connection.
    pub(crate) fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.buffer.drain(..self.next);
        self.next = 0;
        self.data = 0..0;
        let is_begun = !self.buffer.is_empty();
        let len_max = if is_begun {
            self.read_len.max(record::LEN_MAX)
        } else {
            self.read_len
        };
        self.buffer.reserve_exact(len_max - self.buffer.len());
        let room = self.buffer.capacity() - self.buffer.len();
        let read = poll_read_buf(Pin::new(io), cx, &mut self.buffer);
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
        let n = ready!(read)?;
        if n == room {
            self.read_len = READ_LEN_MAX.min(self.read_len * 4);
        } else if n < self.read_len / 4 {
            self.read_len = READ_LEN_MIN.max(self.read_len / 2);
        }
        Poll::Ready(Ok(n))
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }
}

/// The messages that may follow a handshake (RFC 8446 section 4.6). Each is whole in its record, as
/// whoever has so few to send has no reason to do otherwise.
fn after_handshake(mut messages: &[u8]) -> Result<Came, Error> {
    let malformed = || Error::from(InvalidMessage::MessageTooShort);
    loop {
        if let Some(asked) = messages.strip_prefix(&KEY_UPDATE) {
            // Nothing by the old key may stand behind it in the same record.
            return match asked {
                [request @ (0 | 1)] => Ok(Came::KeyUpdate {
                    is_asked_in_return: *request == 1,
                }),
                [_] => Err(InvalidMessage::InvalidKeyUpdate.into()),
                _ => Err(PeerMisbehaved::KeyEpochWithPendingFragment.into()),
            };
        }
        let [kind, high, middle, low, rest @ ..] = messages else {
            return Err(malformed());
        };
        let kind = HandshakeType::from(*kind);
        // Sessions are not resumed: a ticket is of no use.
        if kind != HandshakeType::NewSessionTicket {
            return Err(Error::InappropriateHandshakeMessage {
                expect_types: vec![HandshakeType::KeyUpdate, HandshakeType::NewSessionTicket],
                got_type: kind,
            });
        }
        let len = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
        messages = rest.get(len..).ok_or_else(malformed)?;
        if messages.is_empty() {
            return Ok(Came::Nothing);
        }
    }
}

fn alert(message: &[u8]) -> Result<Came, Error> {
    let [_, description] = *message else {
        return Err(InvalidMessage::MessageTooShort.into());
    };
    match AlertDescription::from(description) {
        AlertDescription::CloseNotify => Ok(Came::Close),
        // A close_notify follows.
        AlertDescription::UserCanceled => Ok(Came::Nothing),
        // All others end the connection, whatever level they claim (RFC 8446 section 6).
        description => Err(Error::AlertReceived(description)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_may_follow_a_handshake_tickets_are_ignored_and_the_rest_is_refused() {
        let ticket = [4, 0, 0, 3, 1, 2, 3];
        let update = |asks| [24, 0, 0, 1, asks];
        assert_eq!(after_handshake(&ticket), Ok(Came::Nothing));
        assert_eq!(
            after_handshake(&[ticket, ticket].concat()),
            Ok(Came::Nothing)
        );
        for (asks, is_asked_in_return) in [(0, false), (1, true)] {
            let messages = [&ticket[..], &update(asks)].concat();
            let came = Came::KeyUpdate { is_asked_in_return };
            assert_eq!(after_handshake(&messages), Ok(came));
        }
        for refused in [
            &[][..],
            &ticket[..6],
            &ticket[..2],
            &update(2),
            &update(0)[..4],
            &[&update(0)[..], &ticket].concat(),
            // A ClientHello, and a Finished.
            &[1, 0, 0, 0],
            &[20, 0, 0, 1, 0],
        ] {
            assert!(after_handshake(refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn an_alert_is_the_end_well_or_not() {
        assert_eq!(alert(&[1, 0]), Ok(Came::Close));
        assert_eq!(alert(&[1, 90]), Ok(Came::Nothing));
        assert_eq!(
            alert(&[1, 20]),
            Err(Error::AlertReceived(AlertDescription::BadRecordMac))
        );
        assert!(alert(&[2]).is_err() && alert(&[2, 20, 0]).is_err());
    }
}
