//! Whatever the order of writes, stalls and ends: no byte is lost, doubled or in another place.

use cloudless_splice::Pipes;
use proptest::prelude::*;
use tokio::task::yield_now;

use crate::support::{Connection, End, Family, both_ways, connection, soon};

/// After so many reads an end reads as much as there is.
const READS_MAX: usize = 2000;

/// What one end does: each step moves up to so many bytes and then lets others go on so often.
#[derive(Clone, Debug)]
struct Schedule {
    writes: Vec<(usize, u8)>,
    reads: Vec<(usize, u8)>,
    /// Resets after the last write; otherwise that is where the FIN is.
    resets: bool,
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let len = prop_oneof![Just(1), 2..1500_usize, 1500..70_000_usize];
    let pauses = prop_oneof![4 => Just(0), 1 => 1..50_u8];
    // Some of so many at once that they are spliced, and then some that are copied.
    let bulk = prop_oneof![9 => len.clone(), 1 => 70_000..600_000_usize];
    let writes = prop::collection::vec((bulk, pauses.clone()), 0..20);
    let reads = prop::collection::vec((len, pauses), 1..10);
    let resets = prop::bool::weighted(0.15);
    (writes, reads, resets).prop_map(|(writes, reads, resets)| Schedule {
        writes,
        reads,
        resets,
    })
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6), Just(Family::Unix)]
}

/// The bytes that the end with this number sends.
fn bytes(number: usize, schedule: &Schedule) -> Vec<u8> {
    let len = schedule.writes.iter().map(|(len, _)| len).sum();
    let byte = |place: usize| (place * 31 + place / 251 + number * 7).to_le_bytes()[0];
    (0..len).map(byte).collect()
}

async fn pause(pauses: u8) {
    for _ in 0..pauses {
        yield_now().await;
    }
}

async fn write(end: &End, mut bytes: &[u8], schedule: &Schedule) {
    for (len, pauses) in &schedule.writes {
        // The other end may have reset the connection.
        if end.write_all(&bytes[..*len]).await.is_err() {
            return;
        }
        bytes = &bytes[*len..];
        pause(*pauses).await;
    }
    if !schedule.resets {
        end.finish();
    }
}

/// Reads to the end. Without a reset all `expected` bytes come and then the FIN; with one, as many
/// of them as made it.
async fn read(end: &End, expected: &[u8], schedule: &Schedule, is_reset: bool) {
    let mut n_read = 0;
    let mut buffer = vec![0; 70_000];
    for (n_reads, (len, pauses)) in schedule.reads.iter().cycle().enumerate() {
        // Else bulk would take forever, byte by byte.
        let len = if n_reads < READS_MAX {
            *len
        } else {
            buffer.len()
        };
        let Ok(n) = end.read(&mut buffer[..len]).await else {
            assert!(is_reset, "reset though nobody did");
            return;
        };
        let is_expected = expected[n_read..].starts_with(&buffer[..n]);
        assert!(is_expected, "other bytes at {n_read}");
        n_read += n;
        if n == 0 {
            break;
        }
        pause(*pauses).await;
    }
    assert!(is_reset || n_read == expected.len(), "ended at {n_read}");
}

/// Plays one end, and then resets the connection if the schedule says so.
async fn play(end: End, own: (usize, &Schedule), other: (usize, &Schedule)) {
    let is_reset = own.1.resets || other.1.resets;
    let (sent, expected) = (bytes(own.0, own.1), bytes(other.0, other.1));
    let reading = read(&end, &expected, own.1, is_reset);
    let writing = write(&end, &sent, own.1);
    if own.1.resets {
        tokio::select! {
            biased;
            () = writing => {}
            ((), ()) = async { tokio::join!(reading, std::future::pending()) } => {}
        }
        end.reset();
    } else {
        tokio::join!(writing, reading);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_byte_arrives_once_and_in_its_place(
        pipes_max in 0..4_usize,
        connections in prop::collection::vec((family(), family(), schedule(), schedule()), 1..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(soon(async {
            let pipes = std::sync::Arc::new(Pipes::new(pipes_max));
            let mut tasks = tokio::task::JoinSet::new();
            for (number, (near_family, far_family, near, far)) in connections.into_iter().enumerate() {
                let pipes = pipes.clone();
                let (near_number, far_number) = (2 * number, 2 * number + 1);
                tasks.spawn(async move {
                    let Connection { near: near_end, joined, far: far_end } =
                        connection(near_family, far_family).await;
                    let (near, far) = ((near_number, &near), (far_number, &far));
                    let (moved, (), ()) = tokio::join!(
                        both_ways(joined, &pipes),
                        play(near_end, near, far),
                        play(far_end, far, near),
                    );
                    if !near.1.resets && !far.1.resets {
                        let lens = [near, far].map(|(number, it)| bytes(number, it).len() as u64);
                        assert_eq!(<[u64; 2]>::from(moved.unwrap()), lens);
                    }
                });
            }
            while let Some(played) = tasks.join_next().await {
                played.unwrap();
            }
        }));
    }
}
