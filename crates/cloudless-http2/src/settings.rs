//! SETTINGS (RFC 9113 section 6.5).

use crate::config::Config;
use crate::error::Reason;
use crate::frame::{MAX_FRAME_SIZE_MAX, MAX_FRAME_SIZE_MIN, WINDOW_DEFAULT, WINDOW_MAX};

const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
const MAX_HEADER_LIST_SIZE: u16 = 6;

/// Streams that a client may open before it has heard how many, as few as a server should allow
/// (section 6.5.2).
const STREAMS_MAX_UNHEARD: u32 = 100;
/// The default of SETTINGS_HEADER_TABLE_SIZE.
const TABLE_LEN_DEFAULT: u32 = 4096;

/// What the peer has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) window: u32,
    pub(crate) frame_len: u32,
    pub(crate) streams_max: u32,
    /// It takes a smaller dynamic table than the default, and has to be told that none is used
    /// (RFC 7541 section 4.2).
    pub(crate) has_small_table: bool,
}

impl Peer {
    pub(crate) fn new() -> Self {
        Self {
            window: WINDOW_DEFAULT,
            frame_len: MAX_FRAME_SIZE_MIN,
            streams_max: STREAMS_MAX_UNHEARD,
            has_small_table: false,
        }
    }

    /// Takes over what a SETTINGS frame says. `is_first` is whether it is the first one, which allows
    /// streams without end if it says nothing of them.
    pub(crate) fn apply(&mut self, payload: &[u8], is_first: bool) -> Result<(), Reason> {
        let (entries, []) = payload.as_chunks::<6>() else {
            return Err(Reason::FRAME_SIZE_ERROR);
        };
        if is_first {
            self.streams_max = u32::MAX;
        }
        for [a, b, w, x, y, z] in entries {
            let value = u32::from_be_bytes([*w, *x, *y, *z]);
            match u16::from_be_bytes([*a, *b]) {
                HEADER_TABLE_SIZE => self.has_small_table |= value < TABLE_LEN_DEFAULT,
                ENABLE_PUSH if value > 1 => return Err(Reason::PROTOCOL_ERROR),
                MAX_CONCURRENT_STREAMS => self.streams_max = value,
                INITIAL_WINDOW_SIZE if i64::from(value) > WINDOW_MAX => {
                    return Err(Reason::FLOW_CONTROL_ERROR);
                }
                INITIAL_WINDOW_SIZE => self.window = value,
                MAX_FRAME_SIZE if !(MAX_FRAME_SIZE_MIN..=MAX_FRAME_SIZE_MAX).contains(&value) => {
                    return Err(Reason::PROTOCOL_ERROR);
                }
                MAX_FRAME_SIZE => self.frame_len = value,
                _ => {}
            }
        }
        Ok(())
    }
}

/// The payload that tells the peer our own.
pub(crate) fn encode(config: &Config, is_client: bool) -> Vec<u8> {
    let mut entries = vec![
        (INITIAL_WINDOW_SIZE, config.stream_window),
        (MAX_FRAME_SIZE, config.frame_len),
        (MAX_HEADER_LIST_SIZE, config.header_list_len),
    ];
    entries.push(if is_client {
        (ENABLE_PUSH, 0)
    } else {
        (MAX_CONCURRENT_STREAMS, config.streams_max)
    });
    let mut payload = Vec::with_capacity(6 * entries.len());
    for (identifier, value) in entries {
        payload.extend_from_slice(&identifier.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(identifier: u16, value: u32) -> [u8; 6] {
        let ([a, b], [w, x, y, z]) = (identifier.to_be_bytes(), value.to_be_bytes());
        [a, b, w, x, y, z]
    }

    #[test]
    fn what_a_peer_sets_is_heard_and_what_it_may_not_set_is_refused() {
        let mut peer = Peer::new();
        assert_eq!(peer.streams_max, STREAMS_MAX_UNHEARD);
        let payload = [
            entry(INITIAL_WINDOW_SIZE, 7),
            entry(INITIAL_WINDOW_SIZE, 8),
            entry(MAX_FRAME_SIZE, 16385),
            entry(HEADER_TABLE_SIZE, 0),
            entry(99, 1),
        ];
        assert_eq!(peer.apply(payload.as_flattened(), true), Ok(()));
        let expected = Peer {
            window: 8,
            frame_len: 16385,
            streams_max: u32::MAX,
            has_small_table: true,
        };
        assert_eq!(peer, expected);
        peer.apply(&entry(MAX_CONCURRENT_STREAMS, 3), false)
            .unwrap();
        peer.apply(&[], false).unwrap();
        assert_eq!(peer.streams_max, 3);
        for (identifier, value, reason) in [
            (ENABLE_PUSH, 2, Reason::PROTOCOL_ERROR),
            (MAX_FRAME_SIZE, 16383, Reason::PROTOCOL_ERROR),
            (MAX_FRAME_SIZE, 1 << 24, Reason::PROTOCOL_ERROR),
            (INITIAL_WINDOW_SIZE, 1 << 31, Reason::FLOW_CONTROL_ERROR),
        ] {
            assert_eq!(peer.apply(&entry(identifier, value), false), Err(reason));
        }
        assert_eq!(peer.apply(&[0; 5], false), Err(Reason::FRAME_SIZE_ERROR));
    }

    #[test]
    fn what_we_set_is_heard_by_a_peer() {
        let config = Config {
            stream_window: 1 << 21,
            frame_len: 32 * 1024,
            streams_max: 9,
            header_list_len: 100,
        };
        let mut peer = Peer::new();
        peer.apply(&encode(&config, false), true).unwrap();
        assert_eq!(
            (peer.window, peer.frame_len, peer.streams_max),
            (1 << 21, 32 * 1024, 9)
        );
    }
}
