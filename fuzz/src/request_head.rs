//! Heads of HTTP/1 requests: no bytes panic, no cut makes a difference, and what is passed on to a
//! web server is one request that is read back as the same.

use cloudless_proto::request_head::{MAX_LEN, Parsed, Reader};

/// Panics when that does not hold.
pub fn check(bytes: &[u8]) {
    // The first byte says where to cut.
    let Some((cut, stream)) = bytes.split_first() else {
        return;
    };
    let parsed = Reader::new().push(stream);
    let mut pieces = Reader::new();
    let mut outcome = Parsed::Incomplete;
    for piece in stream.chunks(usize::from(*cut) + 1) {
        let next = pieces.push(piece);
        assert!(outcome == Parsed::Incomplete || outcome == next);
        outcome = next;
    }
    assert_eq!(outcome, parsed);
    assert_eq!(pieces.into_bytes(), stream);
    assert!(stream.len() < MAX_LEN || parsed != Parsed::Incomplete);
    let Parsed::Request(head) = parsed else {
        return;
    };
    assert!(head.target_path == "*" || head.target_path.starts_with('/'));
    assert!(head.target_path.bytes().all(|byte| byte.is_ascii_graphic()));
    let Some(request) = head.validation_request() else {
        return;
    };
    assert!(head.is_validation());
    let Parsed::Request(again) = Reader::new().push(&request) else {
        panic!("what was written is not read back");
    };
    assert_eq!(
        (&again.method[..], &again.target_path),
        ("GET", &head.target_path)
    );
    assert_eq!(again.host, head.host);
}
