/// Where one visitor's bytes go and come from, as one end of the tunnel has it: relay and home use
/// the same rules, each for the direction that it sends and the one that it receives.
///
/// The caller does what it is told in that order and tells what happened; nothing here moves a
/// byte. What keeps every byte in its place:
///
/// - A sender changes over once, and only on a leg that is ready; the trailer is the last thing that
///   it puts on the stream and comes before the first byte that it puts on the leg.
/// - A receiver looks at the leg only after it has read the stream to that trailer.
/// - A leg that breaks before anybody has changed over is forgotten, and nothing is lost. After that
///   its end is the visitor's ([`Lost`]), as is the end of a tunnel that is still needed: what was
///   under way cannot be known, so the visitor is reset, never told that all is said.
#[derive(Clone, Debug, Default)]
pub struct HandOver {
    leg: Leg,
    sending: Half,
    receiving: Half,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Leg {
    #[default]
    None,
    Offered(u64),
    Ready(u64),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Half {
    #[default]
    Stream,
    Leg,
    Ended,
}

/// Where the next bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Send {
    /// On the stream.
    Stream,
    /// End the stream's half with the trailer of the leg with this number; then on the leg.
    ChangeOver(u64),
    /// On the leg.
    Leg,
}

/// What the end of the stream's receiving half means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// The other side has said all.
    Fin,
    /// The leg has the next byte.
    GoesOn,
}

/// Bytes may be missing: reset the visitor, the stream and the leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The stream goes on on a leg that this side does not have.
    #[error("the other side went on on a leg that is not there")]
    NoLeg,
    /// The leg broke, or ended where it had no part yet.
    #[error("the leg is gone while it was needed")]
    Leg,
    /// The tunnel broke.
    #[error("the tunnel is gone while it was needed")]
    Tunnel,
}

impl HandOver {
    /// A visitor that is on its stream both ways.
    pub fn new() -> Self {
        Self::default()
    }

    /// A leg is offered. Returns whether it is of use: not when there is one already, or when
    /// neither direction could change over to it.
    pub fn offered(&mut self, number: u64) -> bool {
        let is_of_use = matches!(self.leg, Leg::None | Leg::Offered(_)) && !self.is_off_stream();
        if is_of_use {
            self.leg = Leg::Offered(number);
        }
        is_of_use
    }

    /// The leg that was offered will not be, or has broken. Returns whether it can be forgotten;
    /// otherwise it is in use already and is treated as [`leg_lost`](Self::leg_lost).
    pub fn withdrawn(&mut self, number: u64) -> bool {
        if self.leg == Leg::Offered(number) {
            self.leg = Leg::None;
        }
        self.number() != Some(number)
    }

    /// The relay has seen the leg's preface, or the home was told so. Returns whether that is the
    /// leg that was offered.
    pub fn ready(&mut self, number: u64) -> bool {
        if self.leg == Leg::Offered(number) {
            self.leg = Leg::Ready(number);
        }
        self.leg == Leg::Ready(number)
    }

    /// Where the next bytes go. Not to be asked after [`finish`](Self::finish).
    pub fn send(&mut self) -> Send {
        match (self.sending, self.leg) {
            (Half::Stream, Leg::Ready(number)) => {
                self.sending = Half::Leg;
                Send::ChangeOver(number)
            }
            (Half::Leg, _) => Send::Leg,
            _ => Send::Stream,
        }
    }

    /// All is said: returns whether FIN goes on the leg, otherwise it is END_STREAM.
    pub fn finish(&mut self) -> bool {
        let is_on_leg = self.sending == Half::Leg;
        self.sending = Half::Ended;
        is_on_leg
    }

    /// The receiving half of the stream has ended, with the trailer of the leg with this number or
    /// with none.
    ///
    /// # Errors
    /// [`Lost::NoLeg`].
    pub fn stream_ended(&mut self, trailer: Option<u64>) -> Result<StreamEnd, Lost> {
        let Some(number) = trailer else {
            self.receiving = Half::Ended;
            return Ok(StreamEnd::Fin);
        };
        // The trailer may come before the message that the leg is ready.
        if self.receiving != Half::Stream || !self.ready(number) {
            return Err(Lost::NoLeg);
        }
        self.receiving = Half::Leg;
        Ok(StreamEnd::GoesOn)
    }

    /// The leg has said FIN: the other side has said all.
    ///
    /// # Errors
    /// [`Lost::Leg`] when the other side has not changed over.
    pub fn leg_ended(&mut self) -> Result<(), Lost> {
        if self.receiving != Half::Leg {
            return Err(Lost::Leg);
        }
        self.receiving = Half::Ended;
        Ok(())
    }

    /// The leg broke.
    ///
    /// # Errors
    /// [`Lost::Leg`] when a direction is on it. Otherwise it is forgotten.
    pub fn leg_lost(&mut self) -> Result<(), Lost> {
        if self.sending == Half::Leg || self.receiving == Half::Leg {
            return Err(Lost::Leg);
        }
        self.leg = Leg::None;
        Ok(())
    }

    /// The tunnel broke.
    ///
    /// # Errors
    /// [`Lost::Tunnel`] when a direction still needs it.
    pub fn tunnel_lost(&self) -> Result<(), Lost> {
        if self.is_off_stream() {
            Ok(())
        } else {
            Err(Lost::Tunnel)
        }
    }

    /// Whether this side needs the tunnel no more for this visitor.
    pub fn is_off_stream(&self) -> bool {
        self.sending != Half::Stream && self.receiving != Half::Stream
    }

    /// Whether what this side receives comes on the leg.
    pub fn receives_on_leg(&self) -> bool {
        self.receiving == Half::Leg
    }

    /// Whether what this side sends goes on the leg.
    pub fn sends_on_leg(&self) -> bool {
        self.sending == Half::Leg
    }

    /// Whether the other side has said all.
    pub fn has_heard_all(&self) -> bool {
        self.receiving == Half::Ended
    }

    /// Whether both directions have ended.
    pub fn has_ended(&self) -> bool {
        self.sending == Half::Ended && self.receiving == Half::Ended
    }

    /// The leg that is ready, or offered.
    pub fn number(&self) -> Option<u64> {
        match self.leg {
            Leg::None => None,
            Leg::Offered(number) | Leg::Ready(number) => Some(number),
        }
    }
}
