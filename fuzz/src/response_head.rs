//! Heads of HTTP/1 responses: no bytes panic, no more is taken than the head, and a redirect leads to
//! one line.

use cloudless_proto::response_head::{MAX_LEN, NotHttp, Reader, location, status};

/// Panics when that does not hold.
pub fn check(bytes: &[u8]) {
    if let Some(status) = status(bytes) {
        assert!(bytes.starts_with(b"HTTP/1.") && status < 1_000);
    }
    if let Some(place) = location(bytes) {
        assert!(matches!(status(bytes), Some(300..400)));
        assert!(!place.contains(&b'\n') && place.trim_ascii() == place);
    }
    let mut reader = Reader::default();
    for (index, byte) in bytes.iter().enumerate() {
        let taken = &bytes[..=index];
        assert!(taken.len() <= MAX_LEN);
        match reader.push(*byte) {
            Ok(None) => {}
            Ok(Some(found)) => {
                assert!(taken.ends_with(b"\n\n") || taken.ends_with(b"\n\r\n"));
                // What is read is the first head, or comes after one that says to go on reading.
                let first = status(taken).expect("the first head has a status");
                assert!(found == first || (100..200).contains(&first));
                return;
            }
            Err(NotHttp) => return,
        }
    }
}
