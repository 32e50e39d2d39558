//! Requests of HTTP/1.1 that two servers might understand differently (RFC 9112 section 11.2).

use std::fmt::Write as _;

use tokio::io::AsyncWriteExt as _;

use super::{BOOK, Target, read_all};
use crate::fixture::HOST;

/// A request that home must not see when it stands in the body of another one.
const SMUGGLED: &str = "smuggled.vcf";
const CARD: &str = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:s\r\nFN:S\r\nEND:VCARD\r\n";

/// What is sent, with the statuses that are the answer. The connection ends after them.
struct Case {
    name: &'static str,
    bytes: String,
    statuses: &'static [u16],
}

/// The head of a request with a login, and with these lines.
fn head(method: &str, target: &str, lines: &[&str], authorization: &str) -> String {
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    for line in lines {
        write!(head, "{line}\r\n").unwrap();
    }
    head + &format!("authorization: {authorization}\r\ndepth: 0\r\n\r\n")
}

fn cases(authorization: &str) -> Vec<Case> {
    let host = format!("host: {HOST}");
    let host = host.as_str();
    let smuggled = {
        let (path, length) = (
            format!("{BOOK}{SMUGGLED}"),
            format!("content-length: {}", CARD.len()),
        );
        let lines = [host, "content-type: text/vcard", &length];
        head("PUT", &path, &lines, authorization) + CARD
    };
    let (path, absolute) = ("/dav/", format!("https://{HOST}/dav/"));
    let propfind = |lines: &[&str], body: &str| {
        let lines = [&[host], lines].concat();
        head("PROPFIND", path, &lines, authorization) + body
    };
    let case = |name, bytes, statuses| Case {
        name,
        bytes,
        statuses,
    };
    let chunked = "transfer-encoding: chunked";
    let closing = "connection: close";
    let mut cases = vec![
        // The chunked body counts, and nothing after it: RFC 9112 section 6.3.
        case(
            "a length beside chunks",
            propfind(
                &["content-length: 4", chunked],
                &format!("0\r\n\r\n{smuggled}"),
            ),
            &[207],
        ),
        case(
            "a length after chunks",
            propfind(
                &[chunked, "content-length: 4"],
                &format!("0\r\n\r\n{smuggled}"),
            ),
            &[207],
        ),
        case(
            "two lengths",
            propfind(&["content-length: 0", "content-length: 44"], &smuggled),
            &[400],
        ),
        case(
            "two lengths in one line",
            propfind(&["content-length: 0, 44"], &smuggled),
            &[400],
        ),
        case(
            "chunks that are not the last coding",
            propfind(&["transfer-encoding: chunked, identity"], &smuggled),
            &[400],
        ),
        case(
            "a coding that is none",
            propfind(&["transfer-encoding: xchunked"], &smuggled),
            &[400],
        ),
        case(
            "chunks in HTTP/1.0",
            propfind(&[chunked], &format!("0\r\n\r\n{smuggled}")).replace("HTTP/1.1", "HTTP/1.0"),
            &[400],
        ),
        case(
            "a chunk whose size is too large",
            propfind(&[chunked], "ffffffffffffffff1\r\nx\r\n0\r\n\r\n"),
            &[400],
        ),
        case(
            "a chunk whose size is no number",
            propfind(&[chunked], "0x3\r\nabc\r\n0\r\n\r\n"),
            &[400],
        ),
        case(
            "a chunk with more than it says",
            propfind(&[chunked], "1\r\nabc\r\n0\r\n\r\n"),
            &[400],
        ),
        case(
            "an endless chunk extension",
            propfind(&[chunked], &format!("0;{}\r\n\r\n", "x".repeat(64 * 1024))),
            &[400],
        ),
        case(
            "a chunk extension",
            propfind(&[chunked, closing], "0;name=\"\\\r\n\"\r\n\r\n"),
            &[400],
        ),
        case(
            "two hosts",
            propfind(&["host: other.example.org", closing], ""),
            &[400],
        ),
        case(
            "no host",
            head("PROPFIND", path, &[closing], authorization),
            &[400],
        ),
        case(
            "another host in the target",
            head(
                "PROPFIND",
                "https://other.example.org/dav/",
                &[host, closing],
                authorization,
            ),
            &[421],
        ),
        case(
            "the host in the target",
            head("PROPFIND", &absolute, &[host, closing], authorization),
            &[207],
        ),
        case(
            "a host with a login",
            head(
                "PROPFIND",
                path,
                &[&format!("host: me@{HOST}"), closing],
                authorization,
            ),
            &[421],
        ),
        // What would be no HTTP after the answer ends without one.
        case(
            "a tunnel",
            head(
                "CONNECT",
                "other.example.org:443",
                &[host, closing],
                authorization,
            ),
            &[],
        ),
        case(
            "another protocol",
            propfind(
                &[
                    "upgrade: h2c",
                    "connection: upgrade, close",
                    "http2-settings: AAMAAABkAAQAAP__",
                ],
                "",
            ),
            &[],
        ),
        case(
            "lines that end in LF",
            propfind(&[closing], "").replace("\r\n", "\n"),
            &[207],
        ),
        case(
            "an encoding",
            propfind(
                &["content-encoding: gzip", "content-length: 3", closing],
                "abc",
            ),
            &[415],
        ),
    ];
    for (name, line) in [
        ("a folded line", "x-a: b\r\n content-length: 44"),
        ("a folded line of one tab", "content-length: 4\r\n\t4"),
        ("a space before the colon", "content-length : 44"),
        ("a line without a colon", "content-length"),
        ("a line of nothing but a value", ": chunked"),
        ("a length with a sign", "content-length: +44"),
        ("a length below zero", "content-length: -1"),
        ("a length in hexadecimal", "content-length: 0x2c"),
        (
            "a length that overflows",
            "content-length: 18446744073709551660",
        ),
        ("CR in a line", "x-a: b\rtransfer-encoding: chunked"),
        ("NUL in a line", "x-a: b\0c"),
    ] {
        cases.push(case(name, propfind(&[line], &smuggled), &[400]));
    }
    for (name, lines) in [
        (
            "a long line",
            vec![format!("x-a: {}", "b".repeat(64 * 1024))],
        ),
        (
            "many lines",
            (0..200).map(|it| format!("x-{it}: a")).collect(),
        ),
    ] {
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        cases.push(case(name, propfind(&lines, ""), &[431]));
    }
    let long = format!("/{}", "a".repeat(70 * 1024));
    let bytes = head("GET", &long, &[host], authorization);
    cases.push(case("a long target", bytes, &[431]));
    cases
}

/// The status codes of the answers in a connection, without what a multistatus says and what is
/// said about HTTP.
fn statuses(received: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(received);
    let answers = text.match_indices("HTTP/1.");
    answers
        .filter(|(at, _)| !text[..*at].ends_with('>'))
        .filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok())
        .collect()
}

#[tokio::test]
async fn no_request_hides_in_another_one() {
    let target = Target::start(|_| {}).await;
    let cases = cases(&target.home.authorization);
    let mut wrong = Vec::new();
    for Case {
        name,
        bytes,
        statuses: wanted,
    } in cases
    {
        let mut stream = target.connect(b"http/1.1").await;
        // Home may have closed before it was sent to the end.
        let _ = stream.write_all(bytes.as_bytes()).await;
        let received = read_all(&mut stream).await;
        let told = statuses(&received);
        if told != wanted {
            wrong.push((name, told, wanted));
        }
        if target.status_of(SMUGGLED).await != 404 {
            wrong.push((name, vec![201], &[404]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The request that is smuggled in the others does what it says when it stands alone.
#[tokio::test]
async fn two_requests_in_one_packet_are_two_requests() {
    let target = Target::start(|_| {}).await;
    let (authorization, host) = (&target.home.authorization, format!("host: {HOST}"));
    let length = format!("content-length: {}", CARD.len());
    let path = format!("{BOOK}{SMUGGLED}");
    let put = [
        &host,
        "content-type: text/vcard",
        &length,
        "connection: close",
    ];
    let bytes = head("PROPFIND", "/dav/", &[&host], authorization)
        + &head("PUT", &path, &put, authorization)
        + CARD;
    let mut stream = target.connect(b"http/1.1").await;
    stream.write_all(bytes.as_bytes()).await.unwrap();
    assert_eq!(statuses(&read_all(&mut stream).await), [207, 201]);
    assert_eq!(target.status_of(SMUGGLED).await, 200);
}
