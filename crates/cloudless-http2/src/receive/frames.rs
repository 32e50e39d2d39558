//! Frames that are neither DATA nor parts of a header block (RFC 9113 section 6).

use super::{frame_size_error, protocol_error};
use crate::error::{Error, Reason, Side};
use crate::frame::{self, ACK, Header, Kind, WINDOW_MAX};
use crate::settings::Peer;
use crate::state::{Role, State};

/// SETTINGS that a peer may send before it has read an answer to any.
const SETTINGS_MAX: u32 = 64;

impl State {
    pub(super) fn payload(&mut self, header: Header, payload: &[u8]) -> Result<(), Error> {
        let is_of_connection = header.stream == 0;
        match header.kind {
            Kind::Headers => self.headers(header, payload),
            Kind::Continuation => self.continuation(header, payload),
            Kind::RstStream if !is_of_connection => {
                let reason = frame::reason(payload).ok_or_else(frame_size_error)?;
                self.reset_by_peer(header.stream, reason)
            }
            Kind::Settings if is_of_connection => self.settings(header, payload),
            Kind::Ping if is_of_connection => {
                let payload: [u8; 8] = payload.try_into().map_err(|_| frame_size_error())?;
                if header.has(ACK) {
                    self.ping.answered(payload);
                    return Ok(());
                }
                self.say(Kind::Ping, ACK, 0, &payload)
            }
            Kind::GoAway if is_of_connection => self.go_away(payload),
            Kind::WindowUpdate => {
                let more = frame::u31(payload).ok_or_else(frame_size_error)?;
                self.window_update(header.stream, more)
            }
            Kind::Priority if is_of_connection => Err(protocol_error()),
            Kind::Priority if payload.len() != 5 => Err(frame_size_error()),
            Kind::Priority | Kind::Unknown => Ok(()),
            Kind::Data
            | Kind::RstStream
            | Kind::Settings
            | Kind::Ping
            | Kind::GoAway
            | Kind::PushPromise => Err(protocol_error()),
        }
    }

    fn reset_by_peer(&mut self, id: u32, reason: Reason) -> Result<(), Error> {
        if self.is_idle(id) {
            return Err(protocol_error());
        }
        if let Some(stream) = self.streams.get_mut(&id) {
            if !stream.is_closed() {
                stream.reset(reason, Side::Remote);
            }
            self.clear(id);
        }
        // Nobody is asked for what is gone.
        self.arrivals.retain(|(arrival, _)| *arrival != id);
        Ok(())
    }

    fn settings(&mut self, header: Header, payload: &[u8]) -> Result<(), Error> {
        if header.has(ACK) {
            if !payload.is_empty() {
                return Err(frame_size_error());
            }
            self.heard_of_window();
            return Ok(());
        }
        // Each may concern every stream.
        self.n_settings += 1;
        if self.n_settings > SETTINGS_MAX {
            return Err(Error::connection(Reason::ENHANCE_YOUR_CALM));
        }
        let Peer { window: before, .. } = self.peer;
        let is_first = !std::mem::replace(&mut self.has_peers_settings, true);
        let applied = self.peer.apply(payload, is_first);
        applied.map_err(Error::connection)?;
        let more = i64::from(self.peer.window) - i64::from(before);
        if more != 0 {
            let mut grown = Vec::new();
            for (id, stream) in &mut self.streams {
                stream.outgoing.window += more;
                if stream.outgoing.window > WINDOW_MAX {
                    return Err(Error::connection(Reason::FLOW_CONTROL_ERROR));
                }
                stream.outgoing.wake();
                grown.push(*id);
            }
            for id in grown {
                self.make_ready(id);
            }
        }
        self.say(Kind::Settings, ACK, 0, &[])
    }

    fn go_away(&mut self, payload: &[u8]) -> Result<(), Error> {
        let (last, rest) = payload.split_at_checked(4).ok_or_else(frame_size_error)?;
        let (reason, _debug) = rest.split_at_checked(4).ok_or_else(frame_size_error)?;
        let last = frame::u31(last).ok_or_else(frame_size_error)?;
        let reason = frame::reason(reason).ok_or_else(frame_size_error)?;
        // Said again it can only mean fewer (section 6.8).
        let is_news = self.peer_is_leaving.replace((last, reason)) != Some((last, reason));
        if !is_news {
            return Ok(());
        }
        if self.role == Role::Server {
            return Ok(());
        }
        let unserved: Vec<u32> = self
            .streams
            .keys()
            .copied()
            .filter(|id| *id > last)
            .collect();
        for id in unserved {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.is_unserved = true;
                stream.reset(reason, Side::Remote);
            }
            self.clear(id);
        }
        Ok(())
    }

    fn window_update(&mut self, id: u32, more: u32) -> Result<(), Error> {
        if id == 0 {
            self.send_window += i64::from(more);
            if more == 0 {
                return Err(protocol_error());
            }
            if self.send_window > WINDOW_MAX {
                return Err(Error::connection(Reason::FLOW_CONTROL_ERROR));
            }
            for id in std::mem::take(&mut self.windowless) {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.outgoing.is_windowless = false;
                    stream.outgoing.wake();
                }
                self.make_ready(id);
            }
            return Ok(());
        }
        if self.is_idle(id) {
            return Err(protocol_error());
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        stream.outgoing.window += i64::from(more);
        if more == 0 {
            self.reset(id, Reason::PROTOCOL_ERROR);
        } else if stream.outgoing.window > WINDOW_MAX {
            self.reset(id, Reason::FLOW_CONTROL_ERROR);
        } else {
            stream.outgoing.wake();
            self.make_ready(id);
        }
        Ok(())
    }
}
