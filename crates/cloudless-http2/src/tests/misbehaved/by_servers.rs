//! What servers do.

use super::super::frames::{
    DATA, END_HEADERS, END_STREAM, OK, POST, PUSH_PROMISE, frame, headers, rst_stream,
    window_update,
};
use super::super::frames::{HEADERS, Raw};
use super::super::peers::{Client, pipe, soon};
use super::{Connection, Fine, LIMITS, Stream, Verdict, check_server};
use crate::{Error, Reason};

const PROTOCOL: Verdict = Connection(Reason::PROTOCOL_ERROR);
const MALFORMED: Verdict = Stream(1, Reason::PROTOCOL_ERROR);

/// Stream 1 is open, stream 3 answered to its end, and 5 idle.
async fn check(case: &str, bytes: &[u8], expected: Verdict) {
    check_server(case, &headers(END_STREAM, 3, OK), bytes, expected).await;
}

#[tokio::test(start_paused = true)]
async fn answers_have_a_head_and_come_to_what_was_asked() {
    let ok = headers(0, 1, OK);
    let status = |status: &[u8; 3]| [&[0x08, 3], &status[..]].concat();
    let early = headers(0, 1, &status(b"103"));
    let early_end = headers(END_STREAM, 1, &status(b"103"));
    for (case, bytes, expected) in [
        ("an answer", ok.clone(), Fine),
        (
            "an early one and an answer",
            [early, ok.clone()].concat(),
            Fine,
        ),
        ("an early one that is the end", early_end, MALFORMED),
        ("DATA before the head", frame(DATA, 0, 1, b"x"), MALFORMED),
        ("a request", headers(0, 1, POST), MALFORMED),
        ("no status", headers(0, 1, &[]), MALFORMED),
        ("two of them", headers(0, 1, &[OK, OK].concat()), MALFORMED),
        ("no number", headers(0, 1, &status(b"2x0")), MALFORMED),
        ("too low", headers(0, 1, &status(b"099")), MALFORMED),
        ("with a path", headers(0, 1, &[0x88, 0x84]), MALFORMED),
        ("with a method", headers(0, 1, &[0x88, 0x82]), MALFORMED),
        ("an answer twice", ok.repeat(2), MALFORMED),
        (
            "DATA of ended",
            frame(DATA, 0, 3, b"x"),
            Stream(3, Reason::STREAM_CLOSED),
        ),
        (
            "HEADERS of ended",
            headers(0, 3, OK),
            Stream(3, Reason::STREAM_CLOSED),
        ),
        ("an answer to idle", headers(0, 5, OK), PROTOCOL),
        ("DATA of idle", frame(DATA, 0, 5, b"x"), PROTOCOL),
        (
            "RST_STREAM of idle",
            rst_stream(5, Reason::CANCEL),
            PROTOCOL,
        ),
        ("WINDOW_UPDATE of idle", window_update(5, 1), PROTOCOL),
        ("a stream of the server's", headers(0, 2, OK), PROTOCOL),
        ("DATA of one", frame(DATA, 0, 2, b"x"), PROTOCOL),
        (
            "PUSH_PROMISE",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]),
            PROTOCOL,
        ),
    ] {
        check(case, &bytes, expected).await;
    }
}

/// What was said of it before does not count.
#[tokio::test(start_paused = true)]
async fn a_stream_that_its_peer_breaks_is_told_so_and_no_other_is() {
    let (near, far) = pipe(10_000);
    let client = Client::new(near, LIMITS);
    let mut raw = Raw::server(far).await;
    let ((broken, mut send), (fine, _fine_send)) = (client.open(), client.open());
    raw.hear_of(HEADERS).await;
    raw.hear_of(HEADERS).await;
    raw.say(&[headers(0, 1, POST), headers(END_STREAM, 3, OK)].concat())
        .await;
    let error = soon(broken).await.unwrap_err();
    assert!(error.is_reset() && !error.is_remote());
    assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR));
    assert!(matches!(
        send.queue(b"x"[..].into()),
        Err(Error::Reset { .. })
    ));
    assert_eq!(soon(fine).await.unwrap().status(), 200);
}
