//! Requests of HTTP/2 that a server behind home gets as HTTP/1.1: one, or none, and never more than what
//! the visitor has sent.

use super::server::Seen;
use super::*;
use crate::hostile::http2::{CARD, Fields, TRICKS, field, put, send};

const SMUGGLED: &str = "0\r\n\r\nGET /up/smuggled HTTP/1.1\r\nhost: home.example.org\r\n\r\n";

/// What HTTP/1.1 says of one connection, or of how long a body is.
const OF_THE_CONNECTION: [&str; 7] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
];

fn without(fields: &mut Fields, name: &str) {
    fields.retain(|(it, _)| it != name);
}

/// What is wrong with what a server saw of one request with this body.
fn complaint(seen: &[Seen], body: &[u8]) -> Option<String> {
    let seen = match seen {
        [] => return None,
        [seen] => seen,
        _ => return Some(format!("{} requests: {seen:?}", seen.len())),
    };
    let (fields, _) = seen.head.split_once("\r\n\r\n")?;
    let lines: Vec<_> = fields.split("\r\n").collect();
    let is_clean = |line: &&str| !line.contains(['\r', '\n', '\0']);
    let is_field = |line: &&str| {
        let name = line.split_once(':').map_or("", |(name, _)| name);
        !name.is_empty() && !name.contains([' ', '\t'])
    };
    let is_right = lines.iter().all(is_clean)
        && lines[1..].iter().all(is_field)
        && seen.line() == "PUT /tricked HTTP/1.1"
        && seen.values("host") == [HOST]
        && OF_THE_CONNECTION
            .iter()
            .all(|it| seen.values(it).is_empty())
        && seen.body == body;
    (!is_right).then(|| format!("{seen:?}"))
}

#[tokio::test]
async fn a_trick_of_http2_is_one_request_or_none() {
    let server = FakeServer::fine().await;
    let behind = Behind::start(server.place(), |_| {}).await;
    let put = put("/up/tricked", "Basic eDp5");
    let mut wrong = Vec::new();
    let mut passed = Vec::new();
    for (name, trick) in TRICKS {
        let mut fields = put.clone();
        trick(&mut fields);
        let seen = exchange(&behind, &server, (&fields, CARD, &vec![])).await;
        if !seen.is_empty() {
            passed.push(*name);
        }
        wrong.extend(complaint(&seen, CARD).map(|it| format!("{name}: {it}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // What is nobody's business but the server's.
    assert_eq!(passed, ["an encoding"]);
    let seen = exchange(&behind, &server, (&put, CARD, &vec![])).await;
    assert_eq!((seen.len(), complaint(&seen, CARD)), (1, None));
}

/// A body of HTTP/2 ends where its frames say. What looks like an end in HTTP/1.1 is content.
#[tokio::test]
async fn a_body_of_http2_has_its_own_length_in_http1() {
    let server = FakeServer::fine().await;
    let behind = Behind::start(server.place(), |_| {}).await;
    let body = SMUGGLED.as_bytes();
    let is_one = |seen: &[Seen]| (seen.len(), complaint(seen, body));
    let mut fields = put("/up/tricked", "Basic eDp5");
    without(&mut fields, "content-length");
    let seen = exchange(&behind, &server, (&fields, body, &vec![])).await;
    assert_eq!(is_one(&seen), (1, None), "no length");

    let trailers = vec![
        field("content-length", "3"),
        field("transfer-encoding", "chunked"),
        field("x-forwarded-for", "198.51.100.1"),
    ];
    let seen = exchange(&behind, &server, (&fields, body, &trailers)).await;
    assert_eq!(complaint(&seen, body), None, "trailers of a connection");
    let trailers = vec![
        field("x-forwarded-for", "198.51.100.1"),
        field("x-remote-user", "admin"),
    ];
    let seen = exchange(&behind, &server, (&fields, body, &trailers)).await;
    assert_eq!(is_one(&seen), (1, None), "trailers");
    assert!(!seen[0].head.contains("198.51.100"), "{seen:?}");

    for length in ["0", "3", "5, 5", "0x10", ""] {
        let mut fields = fields.clone();
        fields.push(field("content-length", length));
        let seen = exchange(&behind, &server, (&fields, body, &vec![])).await;
        assert_eq!(seen, [], "a length of {length:?}");
    }
    let mut fields = put("/up/tricked", "Basic eDp5");
    without(&mut fields, "content-length");
    fields.push(field("cookie", "a=1"));
    fields.push(field("cookie", "b=2"));
    let seen = exchange(&behind, &server, (&fields, body, &vec![])).await;
    assert_eq!(is_one(&seen), (1, None), "cookies");
    assert_eq!(seen[0].values("cookie"), ["a=1; b=2"]);
}

/// Sends a request and then an honest one of somebody else, which gets its own answer over the same
/// connections; returns what the server saw of the first.
async fn exchange(
    behind: &Behind,
    server: &FakeServer,
    (fields, body, trailers): (&Fields, &[u8], &Fields),
) -> Vec<Seen> {
    send(behind.connect(b"h2").await, fields, body, trailers).await;
    let answer = behind.get("/up/honest").await;
    assert_eq!(
        (answer.status().as_u16(), &answer.body()[..]),
        (200, &b"ok"[..])
    );
    let (honest, others): (Vec<_>, Vec<_>) = server
        .take()
        .into_iter()
        .partition(|seen| seen.line() == "GET /honest HTTP/1.1");
    assert_eq!(honest.len(), 1, "{honest:?}");
    others
}
