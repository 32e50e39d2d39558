//! One direction of a link: when each packet arrives, if it does. No I/O: packets, time and the
//! seed are arguments.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// How much longer than the others a packet takes that is overtaken.
const HELD_BACK: Duration = Duration::from_millis(10);

/// What one direction does to packets. The default does nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    /// From one end to the other; half of what it adds to a round trip.
    pub delay: Duration,
    /// The share of packets that vanish, 0 to 1.
    pub loss: f64,
    /// The share of packets that those behind them overtake, 0 to 1: they take 10 ms longer.
    pub reorder: f64,
    /// Bytes in a second, IP headers included; `None` has no limit.
    pub rate: Option<u64>,
    /// How long a packet may wait for its turn at that rate; one that would wait longer vanishes.
    pub queue: Duration,
}

impl Conditions {
    /// Every packet vanishes, and nobody is told.
    pub const BLACK_HOLE: Self = Self {
        loss: 1.0,
        ..Self::PERFECT
    };
    const PERFECT: Self = Self {
        delay: Duration::ZERO,
        loss: 0.0,
        reorder: 0.0,
        rate: None,
        queue: Duration::from_millis(50),
    };
}

impl Default for Conditions {
    fn default() -> Self {
        Self::PERFECT
    }
}

/// Packets on their way in one direction.
pub(crate) struct Line {
    waiting: BinaryHeap<Reverse<Packet>>,
    /// When the last packet has gone out at the line's rate.
    busy_until: Option<Instant>,
    /// Tells packets of one moment apart.
    last_number: u64,
    random: Random,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    arrival: Instant,
    number: u64,
    bytes: Vec<u8>,
}

impl Line {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            waiting: BinaryHeap::new(),
            busy_until: None,
            last_number: 0,
            random: Random(seed),
        }
    }

    /// A packet goes in. Packets that are on their way keep their arrival when conditions change.
    pub(crate) fn send(&mut self, now: Instant, conditions: &Conditions, bytes: &[u8]) {
        if self.random.chance(conditions.loss) {
            return;
        }
        let begin = self.busy_until.map_or(now, |busy| busy.max(now));
        let mut sent = begin;
        if let Some(rate) = conditions.rate {
            if begin - now > conditions.queue {
                return;
            }
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            sent +=
                Duration::from_secs(1) * length / u32::try_from(rate).unwrap_or(u32::MAX).max(1);
            self.busy_until = Some(sent);
        }
        let mut arrival = sent + conditions.delay;
        if self.random.chance(conditions.reorder) {
            arrival += HELD_BACK;
        }
        self.last_number += 1;
        self.waiting.push(Reverse(Packet {
            arrival,
            number: self.last_number,
            bytes: bytes.to_owned(),
        }));
    }

    /// When the next packet arrives.
    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse(packet)| packet.arrival)
    }

    /// The next packet that has arrived by now.
    pub(crate) fn receive(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.next_arrival()? > now {
            return None;
        }
        self.waiting.pop().map(|Reverse(packet)| packet.bytes)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): a seed gives the same losses each time.
struct Random(u64);

impl Random {
    fn chance(&mut self, share: f64) -> bool {
        // Whoever loses nothing does not use up numbers.
        share > 0.0 && self.next() < share
    }

    /// In `[0, 1)`.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let high = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(u32::MAX);
        f64::from(high) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests;
