//! The cost of reading byte by byte grows with the number of bytes, not with its square.

use std::time::{Duration, Instant};

use cloudless_proto::{client_hello, request_head};

const FACTOR: usize = 8;

/// Reads `length` bytes and `length * FACTOR` bytes. A linear reader takes eight times as long, a
/// quadratic one 64 times; the least of several runs is free of what else the machine does.
fn check(length: usize, read: impl Fn(usize)) {
    let least = |length| {
        let runs = (0..9).map(|_| {
            let start = Instant::now();
            read(length);
            start.elapsed()
        });
        runs.min().unwrap_or(Duration::MAX)
    };
    let (few, many) = (least(length), least(length * FACTOR));
    assert!(
        many < few * 30,
        "{length} bytes took {few:?}, {FACTOR} times as many {many:?}"
    );
}

#[test]
fn client_hello() {
    check(client_hello::MAX_LEN / FACTOR - 1, |length| {
        let mut reader = client_hello::Reader::new();
        let start = [22, 3, 1, 0x40, 0, 1, 0, 0x7f, 0xf0];
        for at in 0..length {
            let byte = match at {
                0..9 => start[at],
                // The second record starts where the first one ends.
                0x4005..0x400a => start[at - 0x4005],
                _ => 0,
            };
            assert_eq!(reader.push(&[byte]), client_hello::Parsed::Incomplete);
        }
    });
}

#[test]
fn request_head() {
    check(request_head::MAX_LEN / FACTOR - 1, |length| {
        let mut reader = request_head::Reader::new();
        let head = b"GET / HTTP/1.1\r\nx: "
            .iter()
            .chain(std::iter::repeat(&b'x'));
        for byte in head.take(length) {
            assert_eq!(reader.push(&[*byte]), request_head::Parsed::Incomplete);
        }
    });
}
