//! What clients do, and what either side may do.

use super::super::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, POST, PREFACE,
    PRIORITY, PUSH_PROMISE, RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, frame, goaway,
    header, headers, rst_stream, setting, window, window_update,
};
use super::super::peers::{Server, pipe, soon};
use super::{
    CUTS, Connection, Fine, LIMITS, Stream, Verdict, assert_ended_by_us, check_client, verdict,
};
use crate::Reason;

const PROTOCOL: Verdict = Connection(Reason::PROTOCOL_ERROR);
const FRAME_SIZE: Verdict = Connection(Reason::FRAME_SIZE_ERROR);
const FLOW: Verdict = Connection(Reason::FLOW_CONTROL_ERROR);
const CALM: Verdict = Connection(Reason::ENHANCE_YOUR_CALM);

/// Stream 1 is open, stream 3 half closed by the client, stream 5 closed by it, and 7 idle.
async fn check(case: &str, bytes: &[u8], expected: Verdict) {
    let before = [
        headers(0, 1, POST),
        headers(END_STREAM, 3, POST),
        headers(0, 5, POST),
        rst_stream(5, Reason::CANCEL),
    ];
    check_client(case, &before.concat(), bytes, expected).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_begins_otherwise_is_none() {
    let settings = frame(SETTINGS, 0, 0, &[]);
    let mut wrong = [PREFACE, &settings].concat();
    wrong[23] ^= 1;
    let begun = |bytes: Vec<u8>| [PREFACE, &bytes].concat();
    for (case, bytes, expected) in [
        ("no preface", wrong, PROTOCOL),
        (
            "HTTP/1.1",
            b"GET / HTTP/1.1\r\nHost: home.example\r\n\r\n".to_vec(),
            PROTOCOL,
        ),
        ("PING first", begun(frame(PING, 0, 0, &[0; 8])), PROTOCOL),
        ("HEADERS first", begun(headers(0, 1, POST)), PROTOCOL),
        ("DATA first", begun(frame(DATA, 0, 1, b"x")), PROTOCOL),
        ("unknown first", begun(frame(77, 0, 0, &[])), PROTOCOL),
        ("ACK first", begun(frame(SETTINGS, ACK, 0, &[])), PROTOCOL),
        (
            "too long first",
            begun(header(LIMITS.frame_len as usize + 1, SETTINGS, 0, 0).to_vec()),
            FRAME_SIZE,
        ),
    ] {
        for cut in CUTS {
            let (near, far) = pipe(100_000);
            let server = Server::new(far, LIMITS);
            let mut raw = Raw::new(near);
            raw.say_in_pieces(&bytes, cut).await;
            let mut heard = Vec::new();
            while let Some(frame) = raw.hear().await {
                heard.push(frame);
            }
            assert_eq!(verdict(&heard), expected, "{case}: {heard:?}");
            let Connection(reason) = expected else {
                continue;
            };
            assert_ended_by_us(&soon(server.end).await.unwrap(), reason, case);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn data_comes_on_open_streams_within_their_windows() {
    let closed = Stream(3, Reason::STREAM_CLOSED);
    let of_window = |len: usize| {
        let whole = frame(DATA, 0, 1, &[0; 16_384]).repeat(3);
        [whole, frame(DATA, 0, 1, &vec![0; len - 3 * 16_384])].concat()
    };
    check("idle", &frame(DATA, 0, 7, b"x"), PROTOCOL).await;
    check("idle and empty", &frame(DATA, 0, 7, b""), PROTOCOL).await;
    check("the server's", &frame(DATA, 0, 2, b"x"), PROTOCOL).await;
    check("the connection's", &frame(DATA, 0, 0, b"x"), PROTOCOL).await;
    check("half closed", &frame(DATA, 0, 3, b"x"), closed).await;
    check(
        "half closed, empty",
        &frame(DATA, END_STREAM, 3, b""),
        closed,
    )
    .await;
    check("closed", &frame(DATA, END_STREAM, 5, b"x"), Fine).await;
    check("open", &frame(DATA, END_STREAM, 1, b"x"), Fine).await;
    check("all of the window", &of_window(65_535), Fine).await;
    let beyond = Stream(1, Reason::FLOW_CONTROL_ERROR);
    check("beyond the window", &of_window(65_536), beyond).await;
    let empty_beyond = [of_window(65_535), frame(DATA, 0, 1, b"")].concat();
    check("nothing beyond the window", &empty_beyond, Fine).await;
    let padded = [
        of_window(65_530),
        frame(DATA, PADDED, 1, &[5, 0, 0, 0, 0, 0]),
    ]
    .concat();
    check("padding beyond the window", &padded, beyond).await;
    let whole = LIMITS.frame_len as usize;
    check("the longest", &frame(DATA, 0, 1, &vec![0; whole]), Fine).await;
    check("too long", &header(whole + 1, DATA, 0, 1), FRAME_SIZE).await;
}

#[tokio::test(start_paused = true)]
async fn padding_fits_into_its_frame() {
    let block = |before: &[u8], after: &[u8]| [before, POST, after].concat();
    let padded = |flags, payload: &[u8]| frame(HEADERS, flags | PADDED | END_HEADERS, 7, payload);
    check("all of it", &frame(DATA, PADDED, 1, &[3, 0, 0, 0]), Fine).await;
    check("none", &frame(DATA, PADDED, 1, &[0]), Fine).await;
    check("too much", &frame(DATA, PADDED, 1, &[4, 0, 0, 0]), PROTOCOL).await;
    check("far too much", &frame(DATA, PADDED, 1, &[255]), PROTOCOL).await;
    check(
        "without its length",
        &frame(DATA, PADDED, 1, &[]),
        FRAME_SIZE,
    )
    .await;
    check("closed", &frame(DATA, PADDED, 5, &[4, 0, 0, 0]), PROTOCOL).await;
    check("a head's", &padded(0, &block(&[2], &[0, 0])), Fine).await;
    check("a head's, too much", &padded(0, &[4, 0, 0, 0]), PROTOCOL).await;
    check("a head's, without its length", &padded(0, &[]), FRAME_SIZE).await;
    let priority = [2, 0, 0, 0, 0, 16];
    check(
        "with priority",
        &padded(WITH_PRIORITY, &block(&priority, &[0, 0])),
        Fine,
    )
    .await;
    let cut = frame(HEADERS, WITH_PRIORITY | END_HEADERS, 7, &[0; 4]);
    check("cut priority", &cut, FRAME_SIZE).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_comes_between_the_frames_of_a_head() {
    let begin = frame(HEADERS, 0, 7, &POST[..1]);
    let go_on = |flags, stream, block: &[u8]| frame(CONTINUATION, flags, stream, block);
    let end = go_on(END_HEADERS, 7, &POST[2..]);
    let whole = [begin.clone(), go_on(0, 7, &POST[1..2]), end.clone()];
    check("in order", &whole.concat(), Fine).await;
    check("no head", &go_on(END_HEADERS, 1, &[]), PROTOCOL).await;
    check(
        "after the head",
        &[headers(0, 7, POST), end].concat(),
        PROTOCOL,
    )
    .await;
    for (case, between) in [
        ("of another", go_on(END_HEADERS, 9, &POST[1..])),
        ("of the connection", go_on(END_HEADERS, 0, &POST[1..])),
        ("DATA", frame(DATA, 0, 1, b"x")),
        ("PING", frame(PING, 0, 0, &[0; 8])),
        ("another head", headers(0, 7, POST)),
        ("unknown", frame(77, 0, 7, &[])),
    ] {
        check(case, &[begin.clone(), between].concat(), PROTOCOL).await;
    }
    let empty = [begin.clone(), go_on(0, 7, &[])].concat();
    check("without progress", &empty, CALM).await;
    check("an empty beginning", &frame(HEADERS, 0, 7, &[]), CALM).await;
    // Each has a byte of a field that never ends.
    let long = [0x00, 0x7f, 0x80, 0x80, 0x04];
    let flood = [frame(HEADERS, 0, 7, &long), go_on(0, 7, b"x").repeat(2000)].concat();
    check("without end", &flood, CALM).await;
}

#[tokio::test(start_paused = true)]
async fn frames_belong_where_they_come() {
    let window_len = [0, 0, 0, 1];
    for (case, bytes, expected) in [
        (
            "PUSH_PROMISE",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x88]),
            PROTOCOL,
        ),
        ("a server's stream", headers(0, 2, POST), PROTOCOL),
        ("HEADERS of the connection", headers(0, 0, POST), PROTOCOL),
        (
            "HEADERS of half closed",
            headers(END_STREAM, 3, &[]),
            Stream(3, Reason::STREAM_CLOSED),
        ),
        ("HEADERS of closed", headers(END_STREAM, 5, POST), Fine),
        (
            "RST_STREAM of the connection",
            rst_stream(0, Reason::CANCEL),
            PROTOCOL,
        ),
        (
            "RST_STREAM of idle",
            rst_stream(7, Reason::CANCEL),
            PROTOCOL,
        ),
        (
            "RST_STREAM of a server's",
            rst_stream(2, Reason::CANCEL),
            PROTOCOL,
        ),
        ("RST_STREAM of closed", rst_stream(5, Reason::CANCEL), Fine),
        (
            "RST_STREAM too short",
            frame(RST_STREAM, 0, 1, &[0; 3]),
            FRAME_SIZE,
        ),
        (
            "RST_STREAM too long",
            frame(RST_STREAM, 0, 1, &[0; 5]),
            FRAME_SIZE,
        ),
        ("SETTINGS of a stream", frame(SETTINGS, 0, 1, &[]), PROTOCOL),
        ("SETTINGS cut", frame(SETTINGS, 0, 0, &[0; 7]), FRAME_SIZE),
        (
            "SETTINGS acknowledged with more",
            frame(SETTINGS, ACK, 0, &[0; 6]),
            FRAME_SIZE,
        ),
        ("SETTINGS acknowledged", frame(SETTINGS, ACK, 0, &[]), Fine),
        ("a window too large", window(1 << 31), FLOW),
        ("the largest window", window((1 << 31) - 1), Fine),
        ("frames too short", setting(5, 16_383), PROTOCOL),
        ("frames too long", setting(5, 1 << 24), PROTOCOL),
        ("half a push", setting(2, 2), PROTOCOL),
        ("an unknown setting", setting(0x7777, u32::MAX), Fine),
        ("PING of a stream", frame(PING, 0, 1, &[0; 8]), PROTOCOL),
        ("PING too short", frame(PING, 0, 0, &[0; 7]), FRAME_SIZE),
        ("PING too long", frame(PING, 0, 0, &[0; 9]), FRAME_SIZE),
        ("PING nobody has sent", frame(PING, ACK, 0, &[0; 8]), Fine),
        ("GOAWAY of a stream", frame(GOAWAY, 0, 1, &[0; 8]), PROTOCOL),
        ("GOAWAY too short", frame(GOAWAY, 0, 0, &[0; 7]), FRAME_SIZE),
        ("GOAWAY with words", frame(GOAWAY, 0, 0, &[0; 99]), Fine),
        ("GOAWAY again", goaway(0, Reason::NO_ERROR).repeat(3), Fine),
        (
            "PRIORITY of the connection",
            frame(PRIORITY, 0, 0, &[0; 5]),
            PROTOCOL,
        ),
        ("PRIORITY of idle", frame(PRIORITY, 0, 99, &[0; 5]), Fine),
        ("WINDOW_UPDATE of idle", window_update(7, 1), PROTOCOL),
        ("WINDOW_UPDATE of a server's", window_update(2, 1), PROTOCOL),
        ("WINDOW_UPDATE of closed", window_update(5, 1), Fine),
        (
            "WINDOW_UPDATE too short",
            frame(WINDOW_UPDATE, 0, 1, &window_len[1..]),
            FRAME_SIZE,
        ),
        (
            "WINDOW_UPDATE of nothing",
            window_update(1, 0),
            Stream(1, Reason::PROTOCOL_ERROR),
        ),
        (
            "WINDOW_UPDATE of nothing at all",
            window_update(0, 0),
            PROTOCOL,
        ),
        // One bit is reserved.
        (
            "WINDOW_UPDATE with more bits",
            window_update(1, 1 << 31 | 1),
            Fine,
        ),
        ("unknown", frame(77, 0xff, 99, &[0; 1000]), Fine),
        (
            "unknown, too long",
            header(LIMITS.frame_len as usize + 1, 77, 0, 0).to_vec(),
            FRAME_SIZE,
        ),
        ("reserved bits", frame(PING, 0xfe, 1 << 31, &[0; 8]), Fine),
    ] {
        check(case, &bytes, expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_priority_of_another_length_is_refused() {
    let cut = frame(PRIORITY, 0, 1, &[0; 4]);
    check("cut", &cut, FRAME_SIZE).await;
}

#[tokio::test(start_paused = true)]
async fn windows_do_not_overflow() {
    // Each begins with 65,535.
    let most = (1 << 31) - 1 - 65_535;
    check("the largest of a stream", &window_update(1, most), Fine).await;
    check("the largest of all", &window_update(0, most), Fine).await;
    let beyond = Stream(1, Reason::FLOW_CONTROL_ERROR);
    check("of a stream", &window_update(1, most + 1), beyond).await;
    let twice = [window_update(1, most), window_update(1, 1)].concat();
    check("of a stream, in steps", &twice, beyond).await;
    check("of all", &window_update(0, most + 1), FLOW).await;
    let twice = [window_update(0, most), window_update(0, 1)].concat();
    check("of all, in steps", &twice, FLOW).await;
    let by_settings = [window_update(1, most), window(65_536)].concat();
    check("by SETTINGS", &by_settings, FLOW).await;
    let shrunk = [window(0), window_update(1, most + 1), window(65_535)].concat();
    check("by SETTINGS and back", &shrunk, FLOW).await;
}
