//! Two ends of a tunnel that follow the hand-over rules, with cuts, closes and failures at random
//! points around the move to a leg: nothing is lost, doubled or reordered.

use std::collections::VecDeque;

use cloudless_proto::leg::{HandOver, Send, StreamEnd};
use proptest::prelude::*;

/// What happens next. `end` is 0 for the relay and 1 for the home.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Whoever is behind this end says so many bytes.
    Say(usize, u8),
    /// It has said all.
    Finish(usize),
    /// It resets its connection.
    Reset(usize),
    /// The relay offers a leg.
    Offer,
    /// The offer ends before the leg was made, as the relay has it.
    Expire,
    /// The home gives a leg up that it was told nothing of.
    Forsake,
    /// So many pieces of what is on the way to this end by this way arrive.
    Arrive(usize, Way, u8),
    /// The leg breaks: what is on its way is gone.
    CutLeg,
    /// The tunnel breaks.
    CutTunnel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Stream,
    Leg,
    Control,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Byte(u32),
    Trailer(u64),
    /// END_STREAM, or the FIN of the leg.
    End,
    Reset,
    /// Control: a leg is offered, or ready. On the leg: its preface.
    Offered(u64),
    Ready(u64),
    Preface(u64),
}

/// One end, with who is behind it.
#[derive(Default)]
struct End {
    rules: HandOver,
    /// How many bytes it was told to send: they are numbered.
    said: u32,
    has_finished: bool,
    heard: Vec<u32>,
    has_heard_end: bool,
    /// Its visitor or server was reset, or has reset.
    is_reset: bool,
    /// What is on the way to it.
    stream: VecDeque<Piece>,
    leg: VecDeque<Piece>,
    control: VecDeque<Piece>,
}

#[derive(Default)]
struct World {
    ends: [End; 2],
    numbers: u64,
    /// The leg that is connected, if any, and whether it is broken.
    connected: Option<u64>,
    is_leg_broken: bool,
    is_tunnel_broken: bool,
    /// Whether anything but bytes and ends has happened.
    has_failed: bool,
}

impl World {
    fn put(&mut self, from: usize, way: Way, piece: Piece) {
        let is_broken = match way {
            Way::Leg => self.is_leg_broken,
            Way::Stream | Way::Control => self.is_tunnel_broken,
        };
        if !is_broken {
            let end = &mut self.ends[1 - from];
            let queue = match way {
                Way::Stream => &mut end.stream,
                Way::Leg => &mut end.leg,
                Way::Control => &mut end.control,
            };
            queue.push_back(piece);
        }
    }

    /// The visitor is reset: at this end, and whatever it has to the other end.
    fn reset(&mut self, at: usize) {
        if !self.ends[at].is_reset {
            self.ends[at].is_reset = true;
            self.put(at, Way::Stream, Piece::Reset);
            if self.connected.is_some() {
                self.put(at, Way::Leg, Piece::Reset);
            }
        }
    }

    /// Where the next bytes go, after the trailer if one is due.
    fn way(&mut self, at: usize) -> Way {
        match self.ends[at].rules.send() {
            Send::Stream => Way::Stream,
            Send::ChangeOver(number) => {
                self.put(at, Way::Stream, Piece::Trailer(number));
                Way::Leg
            }
            Send::Leg => Way::Leg,
        }
    }

    fn say(&mut self, at: usize, n: u8) {
        if self.ends[at].is_reset || self.ends[at].has_finished {
            return;
        }
        for _ in 0..n {
            let way = self.way(at);
            if way == Way::Leg && self.is_leg_broken {
                return self.reset(at);
            }
            let end = &mut self.ends[at];
            let number = end.said;
            end.said += 1;
            self.put(at, way, Piece::Byte(number));
        }
    }

    fn finish(&mut self, at: usize) {
        let end = &mut self.ends[at];
        if end.is_reset || end.has_finished {
            return;
        }
        end.has_finished = true;
        let way = if end.rules.finish() {
            Way::Leg
        } else {
            Way::Stream
        };
        if way == Way::Leg && self.is_leg_broken {
            return self.reset(at);
        }
        self.put(at, way, Piece::End);
    }

    fn arrive(&mut self, at: usize, way: Way) {
        let end = &mut self.ends[at];
        // Nobody looks at the leg before the stream was read to its trailer; the relay alone waits
        // for the preface.
        let preface = matches!(end.leg.front(), Some(Piece::Preface(_)));
        if way == Way::Leg && !preface && !end.rules.receives_on_leg() {
            return;
        }
        let queue = match way {
            Way::Stream => &mut end.stream,
            Way::Leg => &mut end.leg,
            Way::Control => &mut end.control,
        };
        let Some(piece) = queue.pop_front() else {
            return;
        };
        if end.is_reset {
            return;
        }
        match piece {
            Piece::Byte(number) => {
                assert!(!end.has_heard_end, "a byte after the end");
                assert_eq!(end.rules.receives_on_leg(), way == Way::Leg);
                end.heard.push(number);
            }
            Piece::Trailer(number) => match end.rules.stream_ended(Some(number)) {
                Ok(ended) => assert_eq!(ended, StreamEnd::GoesOn),
                Err(_) => self.reset(at),
            },
            Piece::End if way == Way::Leg => match end.rules.leg_ended() {
                Ok(()) => end.has_heard_end = true,
                Err(_) => self.reset(at),
            },
            Piece::End => {
                assert_eq!(end.rules.stream_ended(None), Ok(StreamEnd::Fin));
                end.has_heard_end = true;
            }
            // A reset of a leg that is not in use concerns nobody.
            Piece::Reset if way == Way::Leg && end.rules.leg_lost().is_ok() => {}
            // One that both have left tells nothing.
            Piece::Reset if way == Way::Stream && end.rules.is_off_stream() => {}
            Piece::Reset => self.reset(at),
            Piece::Offered(number) => {
                // The home dials at once.
                if end.rules.offered(number) {
                    self.connected = Some(number);
                    self.is_leg_broken = false;
                    self.ends[0].leg.clear();
                    self.ends[1].leg.clear();
                    self.put(at, Way::Leg, Piece::Preface(number));
                }
            }
            Piece::Preface(number) => {
                if end.rules.number() == Some(number) && end.rules.ready(number) {
                    self.put(at, Way::Control, Piece::Ready(number));
                } else {
                    // The ticket is not good any more: the leg is closed.
                    self.cut_leg();
                }
            }
            Piece::Ready(number) => {
                end.rules.ready(number);
            }
        }
    }

    fn offer(&mut self) {
        let number = self.numbers;
        let relay = &mut self.ends[0];
        // One offer at a time.
        if !relay.is_reset && relay.rules.number().is_none() && relay.rules.offered(number) {
            self.numbers += 1;
            self.put(0, Way::Control, Piece::Offered(number));
        }
    }

    fn withdraw(&mut self, at: usize) {
        let rules = &mut self.ends[at].rules;
        if let Some(number) = rules.number() {
            // In use already: then it goes on.
            rules.withdrawn(number);
        }
    }

    fn cut_leg(&mut self) {
        self.is_leg_broken = true;
        for at in 0..2 {
            self.ends[at].leg.clear();
            let rules = &mut self.ends[at].rules;
            // Only who is on it sees that it broke; the others when they come to it.
            if (rules.sends_on_leg() || rules.receives_on_leg()) && rules.leg_lost().is_err() {
                // What has ended both ways needs it no more.
                if !self.ends[at].rules.has_ended() {
                    self.reset(at);
                }
            }
        }
    }

    fn cut_tunnel(&mut self) {
        self.is_tunnel_broken = true;
        for at in 0..2 {
            self.ends[at].stream.clear();
            self.ends[at].control.clear();
            if self.ends[at].rules.tunnel_lost().is_err() {
                self.reset(at);
            }
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Say(at, n) => self.say(at, n),
            Step::Finish(at) => self.finish(at),
            Step::Reset(at) => {
                self.has_failed = true;
                self.reset(at);
            }
            Step::Offer => self.offer(),
            Step::Expire => self.withdraw(0),
            Step::Forsake => {
                // Home waits so long that what it has sent has arrived or is lost, and what the relay
                // has said to that as well.
                let [relay, home] = &self.ends;
                let is_told =
                    relay.leg.is_empty() && home.control.is_empty() && home.stream.is_empty();
                if is_told {
                    self.withdraw(1);
                }
            }
            Step::Arrive(at, way, n) => (0..n).for_each(|_| self.arrive(at, way)),
            Step::CutLeg => {
                self.has_failed = true;
                self.cut_leg();
            }
            Step::CutTunnel => {
                self.has_failed = true;
                self.cut_tunnel();
            }
        }
        self.check();
    }

    fn check(&self) {
        for (at, end) in self.ends.iter().enumerate() {
            let other = &self.ends[1 - at];
            let n = u32::try_from(end.heard.len()).unwrap();
            assert!(n <= other.said);
            assert!(
                end.heard.iter().copied().eq(0..n),
                "lost, doubled or reordered: {:?}",
                end.heard
            );
            if end.has_heard_end {
                assert!(other.has_finished && n == other.said, "an end too early");
            }
        }
    }

    /// Both say all, and all that is on the way arrives. Whoever is on a broken leg notices.
    fn end(&mut self) {
        for at in 0..2 {
            self.take(Step::Say(at, 3));
            self.take(Step::Finish(at));
        }
        loop {
            let left = |world: &Self| {
                let queues = |end: &End| end.stream.len() + end.leg.len() + end.control.len();
                world.ends.iter().map(queues).sum::<usize>()
            };
            let before = left(self);
            for at in 0..2 {
                for way in [Way::Control, Way::Stream, Way::Leg] {
                    self.take(Step::Arrive(at, way, 1));
                }
            }
            if left(self) == before {
                break;
            }
        }
        if self.is_leg_broken {
            for at in 0..2 {
                if self.ends[at].rules.receives_on_leg() {
                    self.reset(at);
                }
            }
            for at in 0..2 {
                (0..2).for_each(|_| self.arrive(at, Way::Stream));
            }
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let end = 0..2_usize;
    let way = prop_oneof![
        4 => Just(Way::Stream),
        4 => Just(Way::Leg),
        2 => Just(Way::Control),
    ];
    prop_oneof![
        30 => (end.clone(), 1..6_u8).prop_map(|(at, n)| Step::Say(at, n)),
        60 => (end.clone(), way, 1..5_u8).prop_map(|(at, way, n)| Step::Arrive(at, way, n)),
        8 => Just(Step::Offer),
        2 => Just(Step::Expire),
        2 => Just(Step::Forsake),
        2 => end.clone().prop_map(Step::Finish),
        1 => end.prop_map(Step::Reset),
        1 => Just(Step::CutLeg),
        1 => Just(Step::CutTunnel),
    ]
}

fn cases() -> u32 {
    match std::env::var_os("CLOUDLESS_ACCEPTANCE") {
        Some(_) => 500_000,
        None => 5_000,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    /// Every visitor ends: with all bytes and both ends, or by a reset at both sides.
    #[test]
    fn nothing_is_lost_doubled_or_reordered_around_the_move_to_a_leg(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut world = World::default();
        for step in steps {
            world.take(step);
        }
        world.end();
        world.check();
        for at in 0..2 {
            let end = &world.ends[at];
            prop_assert!(end.is_reset || end.has_heard_end, "the visitor of end {at} hangs");
        }
        if !world.has_failed {
            prop_assert!(world.ends.iter().all(|end| !end.is_reset), "a reset without a cause");
        }
    }
}
