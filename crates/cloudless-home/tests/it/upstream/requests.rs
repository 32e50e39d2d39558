//! What a server gets of a visitor's request, and what hides in it (RFC 9112 section 11.2).

use super::*;

const SMUGGLED: &str = "GET /up/smuggled HTTP/1.1\r\nhost: home.example.org\r\n\r\n";

fn head(method: &str, target: &str, lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!("{method} {target} HTTP/1.1\r\nhost: {HOST}\r\n{lines}\r\n")
}

fn post(lines: &[&str], body: &str) -> String {
    head("POST", "/up/x", lines) + body
}

#[tokio::test]
async fn a_server_hears_who_came_and_for_what() {
    let server = FakeServer::fine().await;
    let behind = Behind::start(server.place(), |_| {}).await;
    let lines = [
        "x-forwarded-for: 198.51.100.1",
        "x_forwarded_for: 198.51.100.1",
        "x-script-name: /evil",
        "x-remote-user: admin",
        "authorization: Basic bWU6cGFzcw==",
        "cookie: a=1",
        "connection: close, x-hop",
        "x-hop: 1",
        "te: trailers",
    ];
    let answer = behind
        .say(head("GET", "/up/a%20b/?q=/up/", &lines).as_bytes())
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    // What home says of its own pages is not said of others'.
    assert!(
        !answer.to_lowercase().contains("content-security-policy"),
        "{answer}"
    );
    let [seen] = &server.take()[..] else { panic!() };
    assert_eq!(seen.line(), "GET /a%20b/?q=/up/ HTTP/1.1");
    for (name, expected) in [
        ("host", HOST),
        ("x-script-name", "/up"),
        ("x-forwarded-prefix", "/up"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", HOST),
        ("authorization", "Basic bWU6cGFzcw=="),
        ("cookie", "a=1"),
    ] {
        assert_eq!(seen.values(name), [expected], "{name}");
    }
    for name in [
        "x_forwarded_for",
        "x-remote-user",
        "x-hop",
        "te",
        "connection",
    ] {
        assert!(seen.values(name).is_empty(), "{name}: {}", seen.head);
    }
    let status = behind.status().await;
    assert_eq!(
        (status.requests_total, status.failures_total, status.error),
        (1, 0, None)
    );
}

#[tokio::test]
async fn a_server_may_get_the_whole_path_or_a_whole_name() {
    let server = FakeServer::fine().await;
    let behind = Behind::start(server.place(), |upstream| upstream.strip_prefix = false).await;
    behind.get("/up/x").await;
    let seen = server.take().remove(0);
    assert_eq!(seen.line(), "GET /up/x HTTP/1.1");
    assert!(seen.values("x-script-name").is_empty());
    drop(behind);
    let behind = Behind::start(server.place(), |upstream| {
        upstream.hostname = Some(HOST.parse().unwrap());
        upstream.path = "/".parse().unwrap();
        upstream.strip_prefix = false;
    });
    let behind = behind.await;
    for path in ["/", "/dav/", "/.well-known/carddav"] {
        assert_eq!(behind.get(path).await.status(), 200);
        assert_eq!(
            server.take().remove(0).line(),
            format!("GET {path} HTTP/1.1")
        );
    }
}

#[tokio::test]
async fn nobody_gets_out_of_the_path_or_into_it_by_a_trick() {
    let server = FakeServer::fine().await;
    let behind = Behind::start(server.place(), |_| {}).await;
    for path in [
        "/up/../dav/",
        "/up/%2e%2e/x",
        "/up/..%2fx",
        "/up/..;/x",
        "/up/%2e%2e%5cx",
    ] {
        let answer = behind
            .say(head("GET", path, &["connection: close"]).as_bytes())
            .await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
    }
    for path in ["/up%2fx", "/%75p/x", "/UP/x", "/dav/../up/x", "//up/x"] {
        let answer = behind
            .say(head("GET", path, &["connection: close"]).as_bytes())
            .await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{path}: {answer}");
    }
    let answer = behind.get("/up?a=b").await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["location"]),
        (308, &"/up/?a=b".parse().unwrap())
    );
    for method in ["TRACE", "CONNECT"] {
        let answer = behind
            .say(head(method, "/up/x", &["connection: close"]).as_bytes())
            .await;
        assert!(!answer.starts_with("HTTP/1.1 2"), "{method}: {answer}");
    }
    assert_eq!(server.take(), []);
}

#[tokio::test]
async fn no_request_hides_in_another_one() {
    let server = FakeServer::fine().await;
    let behind = Behind::start(server.place(), |_| {}).await;
    let chunked = "transfer-encoding: chunked";
    let zero = format!("0\r\n\r\n{SMUGGLED}");
    // What the server sees: the body of one request, or nothing at all.
    let cases = [
        (
            "a length beside chunks",
            post(&["content-length: 4", chunked], &zero),
            Some(""),
        ),
        (
            "a length after chunks",
            post(&[chunked, "content-length: 4"], &zero),
            Some(""),
        ),
        (
            "chunks",
            post(&[chunked, "connection: close"], "3\r\nabc\r\n0\r\n\r\n"),
            Some("abc"),
        ),
        (
            "a chunk extension",
            post(&[chunked], "3;a=b\r\nabc\r\n0\r\n\r\n"),
            Some("abc"),
        ),
        (
            "a trailer",
            post(
                &[chunked],
                "3\r\nabc\r\n0\r\nx-forwarded-for: 1\r\ncontent-length: 9\r\n\r\n",
            ),
            Some("abc"),
        ),
        (
            "two lengths",
            post(&["content-length: 0", "content-length: 9"], SMUGGLED),
            None,
        ),
        (
            "two lengths in one line",
            post(&["content-length: 0, 9"], SMUGGLED),
            None,
        ),
        (
            "chunks that are not last",
            post(&["transfer-encoding: chunked, identity"], &zero),
            None,
        ),
        (
            "a coding that is none",
            post(&["transfer-encoding: xchunked"], &zero),
            None,
        ),
        (
            "a coding in quotes",
            post(&["transfer-encoding: \"chunked\""], &zero),
            None,
        ),
        (
            "a vertical tab",
            post(&["transfer-encoding: \x0bchunked"], &zero),
            None,
        ),
        (
            "a space before the colon",
            post(&["transfer-encoding : chunked"], &zero),
            None,
        ),
        (
            "a folded line",
            post(&["transfer-encoding:\r\n chunked"], &zero),
            None,
        ),
        (
            "a CR in a line",
            post(&["x-a: b\rtransfer-encoding: chunked"], &zero),
            None,
        ),
        ("a NUL in a line", post(&["x-a: \0"], &zero), None),
        (
            "a length with a sign",
            post(&["content-length: +9"], SMUGGLED),
            None,
        ),
        (
            "a second host",
            post(&["host: other.example.org"], ""),
            None,
        ),
        (
            "the same host twice",
            post(&[&format!("host: {HOST}")], ""),
            None,
        ),
        (
            "another host in the target",
            head("GET", "https://other.example.org/up/", &[]),
            None,
        ),
        (
            "a chunk with more than it says",
            post(&[chunked], "1\r\nabc\r\n0\r\n\r\n"),
            None,
        ),
        (
            "a chunk size that is none",
            post(&[chunked], "0x3\r\nabc\r\n0\r\n\r\n"),
            None,
        ),
        (
            "a chunk size that is too large",
            post(&[chunked], "ffffffffffffffff1\r\nx"),
            None,
        ),
        (
            "another protocol",
            head(
                "GET",
                "/up/x",
                &[
                    "upgrade: h2c",
                    "connection: upgrade, close",
                    "http2-settings: AAMAAABkAAQAAP__",
                ],
            ),
            Some(""),
        ),
        (
            "an expectation",
            post(
                &[
                    "expect: 100-continue",
                    "content-length: 3",
                    "connection: close",
                ],
                "abc",
            ),
            Some("abc"),
        ),
        (
            "an empty body",
            post(&["content-length: 0", "connection: close"], ""),
            Some(""),
        ),
    ];
    let mut wrong = Vec::new();
    for (name, bytes, expected) in cases {
        let answer = behind.say(bytes.as_bytes()).await;
        let seen = server.take();
        let bodies: Vec<_> = seen
            .iter()
            .map(|it| String::from_utf8_lossy(&it.body))
            .collect();
        // A broken body may have begun, and its request then never ends for the server.
        if bodies != Vec::from_iter(expected) {
            wrong.push(format!("{name}: {seen:?} {answer}"));
        }
        for seen in &seen {
            for field in ["upgrade", "connection", "expect", "te", "trailer"] {
                if !seen.values(field).is_empty() {
                    wrong.push(format!("{name}: {field} in {}", seen.head));
                }
            }
            if seen.head.contains("smuggled") || seen.values("host") != [HOST] {
                wrong.push(format!("{name}: {}", seen.head));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The request that is smuggled in the others does what it says when it stands alone.
#[tokio::test]
async fn two_requests_in_one_packet_are_two_requests() {
    let server = FakeServer::fine().await;
    let behind = Behind::start(server.place(), |_| {}).await;
    let last = head("GET", "/up/last", &["connection: close"]);
    let bytes = post(&["content-length: 3"], "abc") + SMUGGLED + &last;
    let answer = behind.say(bytes.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 3, "{answer}");
    let seen = server.take();
    let lines: Vec<_> = seen.iter().map(|it| it.line()).collect();
    assert_eq!(
        lines,
        [
            "POST /x HTTP/1.1",
            "GET /smuggled HTTP/1.1",
            "GET /last HTTP/1.1"
        ]
    );
}
