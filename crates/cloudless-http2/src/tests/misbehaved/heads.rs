//! Header blocks that are none, or no head, and those that nobody reads.

use super::super::frames::{
    CONTINUATION, END_HEADERS, END_STREAM, HEADERS, OK, POST, RST_STREAM, Raw, frame, goaway,
    headers, rst_stream,
};
use super::super::peers::{Client, Server, pipe, soon};
use super::{
    CUTS, Connection, Fine, LIMITS, Stream, Verdict, assert_ended_by_us, check_client, check_server,
};
use crate::Reason;

const BROKEN: Verdict = Connection(Reason::COMPRESSION_ERROR);
const MALFORMED: Verdict = Stream(1, Reason::PROTOCOL_ERROR);
const CALM: Verdict = Connection(Reason::ENHANCE_YOUR_CALM);

async fn check(case: &str, bytes: &[u8], expected: Verdict) {
    check_client(case, &[], bytes, expected).await;
}

/// A field as it is, without an index.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut block = vec![0];
    for string in [name, value] {
        let len = u8::try_from(string.len()).unwrap();
        // A longer one would take more bytes.
        assert!(len < 127);
        block.push(len);
        block.extend_from_slice(string.as_bytes());
    }
    block
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields
        .iter()
        .flat_map(|(name, value)| literal(name, value))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_block_that_cannot_be_decoded_ends_the_connection() {
    for (case, block) in [
        ("index zero", &[0x80][..]),
        ("an index that nobody has set", &[0xbe]),
        ("cut in a string", &[0x00, 0x05, b'a']),
        ("cut in a number", &[0xff, 0x80]),
        (
            "a number without end",
            &[0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
        ),
        ("a table too large", &[0x3f, 0xe2, 0x1f]),
        ("a table changed late", &[0x82, 0x20]),
        ("Huffman's end", &[0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0x00]),
    ] {
        check(case, &headers(0, 1, block), BROKEN).await;
        let cut = [
            frame(HEADERS, 0, 1, &block[..1]),
            frame(CONTINUATION, END_HEADERS, 1, &block[1..]),
        ];
        check(case, &cut.concat(), BROKEN).await;
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_none_are_refused() {
    const METHOD: (&str, &str) = (":method", "POST");
    const SCHEME: (&str, &str) = (":scheme", "https");
    const PATH: (&str, &str) = (":path", "/");
    const AUTHORITY: (&str, &str) = (":authority", "home.example");
    let connect = (":method", "CONNECT");
    for (case, fields, expected) in [
        ("a request", &[METHOD, SCHEME, PATH, AUTHORITY][..], Fine),
        ("in another order", &[AUTHORITY, PATH, METHOD, SCHEME], Fine),
        ("CONNECT", &[connect, AUTHORITY], Fine),
        ("nothing", &[], MALFORMED),
        ("no method", &[SCHEME, PATH, AUTHORITY], MALFORMED),
        ("no scheme", &[METHOD, PATH, AUTHORITY], MALFORMED),
        ("no path", &[METHOD, SCHEME, AUTHORITY], MALFORMED),
        ("two methods", &[METHOD, METHOD, SCHEME, PATH], MALFORMED),
        ("two paths", &[METHOD, SCHEME, PATH, PATH], MALFORMED),
        ("CONNECT without authority", &[connect], MALFORMED),
        (
            "CONNECT with a path",
            &[connect, AUTHORITY, PATH],
            MALFORMED,
        ),
        (
            "CONNECT with a scheme",
            &[connect, AUTHORITY, SCHEME],
            MALFORMED,
        ),
        (
            "a status",
            &[METHOD, SCHEME, PATH, (":status", "200")],
            MALFORMED,
        ),
        (
            "unknown",
            &[METHOD, SCHEME, PATH, (":protocol", "x")],
            MALFORMED,
        ),
        ("late", &[METHOD, SCHEME, ("x", "y"), PATH], MALFORMED),
        (
            "an upper-case name",
            &[METHOD, SCHEME, PATH, ("Cookie", "y")],
            MALFORMED,
        ),
        ("no name", &[METHOD, SCHEME, PATH, ("", "y")], MALFORMED),
        (
            "a line break",
            &[METHOD, SCHEME, PATH, ("x", "a\nb")],
            MALFORMED,
        ),
        (
            "no method's name",
            &[(":method", "a b"), SCHEME, PATH],
            MALFORMED,
        ),
        (
            "no path's form",
            &[METHOD, SCHEME, (":path", "a b")],
            MALFORMED,
        ),
        (
            "no authority's form",
            &[connect, (":authority", "a/b")],
            MALFORMED,
        ),
    ] {
        check(case, &headers(0, 1, &block(fields)), expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_of_fields_has_a_length() {
    // Two fields of 60 bytes and 32 each fit beside a request, by the count of RFC 9113; 20 do not.
    let field = (
        "x-field",
        "12345678901234567890123456789012345678901234567890123",
    );
    let of = |n: usize| [POST, &block(&[field]).repeat(n)].concat();
    check("short", &headers(0, 1, &of(2)), Fine).await;
    check("too long", &headers(0, 1, &of(10)), CALM).await;
    check("far too long", &headers(0, 1, &of(20)), CALM).await;
    // One byte each stands for a field of 500 bytes.
    let set = [&[0x40, 1, b'x', 0x7f, 0xf5, 0x02][..], &[b'y'; 500]].concat();
    let bomb = |n| [POST, &set, &vec![0xbe; n]].concat();
    check("when it is decoded", &headers(0, 1, &bomb(1)), CALM).await;
    check("and decoded once", &headers(0, 1, &bomb(0)), Fine).await;
    // What is no request is counted as well.
    let malformed = [&block(&[(":no", "")]), &bomb(1)[..]].concat();
    check("malformed before", &headers(0, 1, &malformed), CALM).await;
}

/// Each costs a decoding, and no stream is there to pay for it.
#[tokio::test(start_paused = true)]
async fn a_peer_sends_few_blocks_that_come_to_nothing() {
    let early = headers(0, 1, &[0x08, 3, b'1', b'0', b'3']);
    let answer = headers(0, 1, OK);
    let trailers = headers(END_STREAM, 1, &[]);
    let after = |end: Vec<u8>, late: &[u8], n| [end, late.repeat(n)].concat();
    for (case, end, late) in [
        ("early answers", Vec::new(), &early),
        ("after its reset", rst_stream(1, Reason::CANCEL), &answer),
        (
            "trailers after that",
            rst_stream(1, Reason::CANCEL),
            &trailers,
        ),
    ] {
        check_server(case, &[], &after(end.clone(), late, 50), Fine).await;
        check_server(case, &[], &after(end, late, 500), CALM).await;
    }
    let late = [
        headers(END_STREAM, 5, POST),
        headers(0, 3, POST).repeat(500),
    ]
    .concat();
    check("of streams passed over", &late, CALM).await;
    // Nothing of it is a request.
    let none: Vec<u8> = (0..500)
        .flat_map(|n| headers(0, 2 * n + 1, &[0x83]))
        .collect();
    for cut in CUTS {
        let (near, far) = pipe(256 * 1024);
        let server = Server::new(far, LIMITS);
        let mut raw = Raw::client(near).await;
        raw.say_in_pieces(&none, cut).await;
        let error = soon(server.end).await.unwrap();
        assert_ended_by_us(&error, Reason::ENHANCE_YOUR_CALM, "no requests");
    }
}

/// A home that is asked much may be late much.
#[tokio::test(start_paused = true)]
async fn each_stream_may_bring_a_head_and_trailers_too_late() {
    let (near, far) = pipe(256 * 1024);
    let client = Client::new(near, LIMITS);
    let mut raw = Raw::server(far).await;
    for n in 0..500 {
        let stream = client.open();
        raw.hear_of(HEADERS).await;
        drop(stream);
        raw.hear_of(RST_STREAM).await;
        let id = 2 * n + 1;
        raw.say(&[headers(0, id, OK), headers(END_STREAM, id, &[])].concat())
            .await;
    }
    let (answer, _send) = client.open();
    raw.say(&headers(END_STREAM, 1001, OK)).await;
    assert_eq!(soon(answer).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn trailers_end_a_stream_and_have_no_pseudo_fields() {
    let after = |trailers| [headers(0, 1, POST), trailers].concat();
    let field = block(&[("x", "y")]);
    check("trailers", &after(headers(END_STREAM, 1, &field)), Fine).await;
    check("none", &after(headers(END_STREAM, 1, &[])), Fine).await;
    check("without the end", &after(headers(0, 1, &field)), MALFORMED).await;
    let pseudo = block(&[(":path", "/")]);
    check(
        "with a path",
        &after(headers(END_STREAM, 1, &pseudo)),
        MALFORMED,
    )
    .await;
    let upper = block(&[("X", "y")]);
    check(
        "in upper case",
        &after(headers(END_STREAM, 1, &upper)),
        MALFORMED,
    )
    .await;
}

/// Blocks that nobody reads count for the table all the same: an index of one stands for a field of
/// another.
#[tokio::test(start_paused = true)]
async fn the_table_is_kept_in_step_whatever_becomes_of_a_stream() {
    let set = |value: &str| [&[0x40, 3], &b"x-n"[..], &[1], value.as_bytes()].concat();
    let request = |value| [POST, &set(value)].concat();
    for (case, passed_over) in [
        (
            "closed",
            [
                headers(0, 1, POST),
                rst_stream(1, Reason::CANCEL),
                headers(END_STREAM, 1, &set("1")),
            ]
            .concat(),
        ),
        (
            "reset by us",
            [
                headers(END_STREAM, 1, POST),
                headers(END_STREAM, 1, &set("1")),
            ]
            .concat(),
        ),
        (
            "malformed",
            headers(0, 1, &[0x83, 0x40, 3, b'x', b'-', b'n', 1, b'1']),
        ),
        (
            "trailers",
            [headers(0, 1, POST), headers(END_STREAM, 1, &set("1"))].concat(),
        ),
        (
            "lower than before",
            [headers(0, 5, POST), headers(0, 3, &request("1"))].concat(),
        ),
        ("refused", {
            let most = (0..LIMITS.streams_max).flat_map(|n| headers(0, 2 * n + 1, POST));
            let mut bytes: Vec<u8> = most.collect();
            bytes.extend(headers(0, 301, &request("1")));
            bytes.extend(
                (0..LIMITS.streams_max).flat_map(|n| rst_stream(2 * n + 1, Reason::CANCEL)),
            );
            bytes
        }),
        (
            "after a farewell of the peer",
            [goaway(0, Reason::NO_ERROR), headers(0, 1, &request("1"))].concat(),
        ),
    ] {
        let (near, far) = pipe(256 * 1024);
        let mut server = Server::new(far, LIMITS);
        let mut raw = Raw::client(near).await;
        raw.say(&passed_over).await;
        raw.hear_all().await;
        while server.arrived().is_some() {}
        raw.say(&headers(0, 1001, &[POST, &[0xbe]].concat())).await;
        let (request, _respond) = server.arrival().await;
        assert_eq!(request.headers()["x-n"], "1", "{case}");
    }
}
