//! Requests of HTTP/2 that would mean something else in HTTP/1.1 (RFC 9113 sections 8.2 and 8.3).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::{BOOK, Target};
use crate::fixture::{HOST, PATIENCE};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const CARD: &[u8] = b"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:s\r\nFN:S\r\nEND:VCARD\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

pub(crate) type Fields = Vec<(String, String)>;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// As RFC 7541 section 6.2.2 has it: not indexed, no Huffman code.
fn encode(fields: &Fields) -> Vec<u8> {
    let mut block = Vec::new();
    let text = |block: &mut Vec<u8>, text: &str| {
        // Integers with a prefix of 7 bits: section 5.1.
        match u8::try_from(text.len()) {
            Ok(length @ ..127) => block.push(length),
            _ => {
                let rest = text.len() - 127;
                block.push(127);
                block.push(u8::try_from(rest & 127).unwrap() | 128);
                block.push(u8::try_from(rest >> 7).unwrap());
            }
        }
        block.extend_from_slice(text.as_bytes());
    };
    for (name, value) in fields {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

/// A PUT that is right, to be made wrong.
pub(crate) fn put(path: &str, authorization: &str) -> Fields {
    let length = CARD.len().to_string();
    [
        (":method", "PUT"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", path),
        ("authorization", authorization),
        ("content-type", "text/vcard"),
        ("content-length", &length),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

pub(crate) type Trick = (&'static str, fn(&mut Fields));

pub(crate) const TRICKS: &[Trick] = &[
    ("another authority", |it| {
        set(it, ":authority", "other.example.org")
    }),
    ("no authority", |it| {
        it.retain(|(name, _)| name != ":authority")
    }),
    ("two authorities", |it| {
        it.insert(0, field(":authority", "other.example.org"))
    }),
    ("a login in the authority", |it| {
        set(it, ":authority", "me@home.example.org")
    }),
    ("another host beside it", |it| {
        it.push(field("host", "other.example.org"))
    }),
    ("two paths", |it| it.insert(0, field(":path", "/"))),
    ("no path", |it| it.retain(|(name, _)| name != ":path")),
    ("an empty path", |it| set(it, ":path", "")),
    ("another server in the path", |it| {
        let path = value(it, ":path");
        path.insert_str(0, "https://other.example.org");
    }),
    ("a request in the path", |it| {
        value(it, ":path").push_str(" HTTP/1.1\r\nx: y");
    }),
    ("no method", |it| it.retain(|(name, _)| name != ":method")),
    ("a request in the method", |it| {
        set(it, ":method", "PUT / HTTP/1.1\r\nx: y\r\n\r\nPUT")
    }),
    ("no scheme", |it| it.retain(|(name, _)| name != ":scheme")),
    ("an unknown pseudo-header", |it| {
        it.insert(0, field(":status", "200"))
    }),
    ("a protocol without CONNECT", |it| {
        it.insert(0, field(":protocol", "websocket"))
    }),
    ("a pseudo-header after the others", |it| {
        let method = it.remove(0);
        it.push(method);
    }),
    ("a name in capitals", |it| it.push(field("X-A", "b"))),
    ("a line in a name", |it| it.push(field("x-a: b\r\nx", "c"))),
    ("a colon in a name", |it| it.push(field("x:a", "b"))),
    ("a line in a value", |it| it.push(field("x-a", "b\r\nx: y"))),
    ("NUL in a value", |it| it.push(field("x-a", "b\0c"))),
    ("chunks", |it| {
        it.push(field("transfer-encoding", "chunked"))
    }),
    ("a connection", |it| {
        it.push(field("connection", "keep-alive"))
    }),
    ("a proxy's connection", |it| {
        it.push(field("proxy-connection", "keep-alive"))
    }),
    ("an upgrade", |it| it.push(field("upgrade", "h2c"))),
    ("trailers of another kind", |it| {
        it.push(field("te", "gzip"))
    }),
    ("two lengths", |it| it.push(field("content-length", "0"))),
    ("a shorter length", |it| set(it, "content-length", "10")),
    ("a longer length", |it| set(it, "content-length", "1000")),
    ("a length with a sign", |it| {
        set(it, "content-length", "+51")
    }),
    ("an encoding", |it| {
        it.push(field("content-encoding", "gzip"))
    }),
    ("a head beyond all bounds", |it| {
        for number in 0..30 {
            it.push(field(&format!("x-{number}"), &"a".repeat(10_000)));
        }
    }),
];

pub(crate) fn field(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn value<'a>(fields: &'a mut Fields, name: &str) -> &'a mut String {
    let field = fields.iter_mut().find(|(it, _)| it == name);
    &mut field.expect("the field is there").1
}

fn set(fields: &mut Fields, name: &str, new: &str) {
    new.clone_into(value(fields, name));
}

/// Sends a PUT of this body, and trailers if there are any, and waits for what becomes of it.
pub(crate) async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    fields: &Fields,
    body: &[u8],
    trailers: &Fields,
) {
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    let block = encode(fields);
    // A frame holds no more than 16 KiB; the rest goes into CONTINUATION.
    let mut parts: Vec<_> = block.chunks(16_000).collect();
    let last = parts.pop().expect("a block");
    let mut kind = HEADERS;
    for part in parts {
        bytes.extend(frame(kind, 0, 1, part));
        kind = 9;
    }
    bytes.extend(frame(kind, END_HEADERS, 1, last));
    let is_last = if trailers.is_empty() { END_STREAM } else { 0 };
    bytes.extend(frame(DATA, is_last, 1, body));
    if !trailers.is_empty() {
        let flags = END_STREAM | END_HEADERS;
        bytes.extend(frame(HEADERS, flags, 1, &encode(trailers)));
    }
    // Home may have closed before it was sent to the end.
    let _ = stream.write_all(&bytes).await;
    let ended = timeout(PATIENCE, until_the_end(&mut stream)).await;
    // A connection that is cut off has ended too.
    let _ = ended.expect("home answers or refuses");
}

/// Reads until the request is answered or refused.
async fn until_the_end<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<()> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length.try_into().unwrap()];
        stream.read_exact(&mut payload).await?;
        match (head[3], head[4] & END_STREAM) {
            (HEADERS | DATA, END_STREAM) | (RST_STREAM | GOAWAY, _) => return Ok(()),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_request_that_is_malformed_does_nothing() {
    let target = Target::start(|_| {}).await;
    let put = put(&format!("{BOOK}tricked.vcf"), &target.home.authorization);
    for (name, trick) in TRICKS {
        let mut fields = put.clone();
        trick(&mut fields);
        send(target.connect(b"h2").await, &fields, CARD, &vec![]).await;
        assert_eq!(target.status_of("tricked.vcf").await, 404, "{name}");
    }
    // And without a trick it is a PUT.
    send(target.connect(b"h2").await, &put, CARD, &vec![]).await;
    assert_eq!(target.status_of("tricked.vcf").await, 200);
}
