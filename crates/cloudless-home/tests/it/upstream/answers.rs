//! What a visitor gets of a server's answer: one answer, and never another visitor's.

use std::sync::atomic::{AtomicBool, Ordering};

use super::server::{Seen, Then};
use super::*;

const GET: &str = "GET /up/x HTTP/1.1\r\nhost: home.example.org\r\nconnection: close\r\n\r\n";
const SPLIT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nHIDDEN";

/// A server whose first answer is this, and that is fine after that.
async fn saying(answer: String, then: fn() -> Then) -> FakeServer {
    let is_first = AtomicBool::new(true);
    FakeServer::start(
        move |_: &Seen| match is_first.swap(false, Ordering::SeqCst) {
            true => (answer.clone().into_bytes(), then()),
            false => (
                b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnext".to_vec(),
                Then::KeepAlive,
            ),
        },
    )
    .await
}

#[tokio::test]
async fn an_answer_is_one_answer_or_none() {
    let ok = "HTTP/1.1 200 OK\r\n";
    let chunked = "transfer-encoding: chunked\r\n";
    // The whole answer that the visitor gets; `None` for 502.
    let cases = [
        ("a length", format!("{ok}content-length: 2\r\n\r\nok"), Some("ok")),
        ("chunks", format!("{ok}{chunked}\r\n2\r\nok\r\n0\r\n\r\n"), Some("2\r\nok\r\n0\r\n\r\n")),
        ("a trailer", format!("{ok}{chunked}\r\n2\r\nok\r\n0\r\nset-cookie: a=1\r\n\r\n"), Some("2\r\nok\r\n0\r\n\r\n")),
        ("more than its length", format!("{ok}content-length: 2\r\n\r\nok{SPLIT}"), Some("ok")),
        ("more than its chunks", format!("{ok}{chunked}\r\n0\r\n\r\n{SPLIT}"), Some("0\r\n\r\n")),
        ("a hint before it", format!("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n{ok}content-length: 2\r\n\r\nok"), Some("ok")),
        ("nothing", "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n".to_owned(), Some("")),
        ("length and chunks", format!("{ok}content-length: 5\r\n{chunked}\r\n0\r\n\r\n{SPLIT}"), None),
        ("chunks and length", format!("{ok}{chunked}content-length: 5\r\n\r\n0\r\n\r\n{SPLIT}"), None),
        ("two lengths", format!("{ok}content-length: 2\r\ncontent-length: 90\r\n\r\nok{SPLIT}"), None),
        ("a length twice", format!("{ok}content-length: 2, 2\r\n\r\nok"), None),
        ("a length that is none", format!("{ok}content-length: two\r\n\r\nok"), None),
        ("a length with a sign", format!("{ok}content-length: +2\r\n\r\nok"), None),
        ("another coding", format!("{ok}transfer-encoding: gzip\r\n\r\nok"), None),
        ("two codings", format!("{ok}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), None),
        ("a folded line", format!("{ok}x-a: b\r\n c\r\ncontent-length: 2\r\n\r\nok"), None),
        ("a CR in a line", format!("{ok}x-a: b\rset-cookie: c\r\ncontent-length: 2\r\n\r\nok"), None),
        ("a NUL in a line", format!("{ok}x-a: \0\r\ncontent-length: 2\r\n\r\nok"), None),
        ("a space before the colon", format!("{ok}content-length : 2\r\n\r\nok"), None),
        ("a switch", "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nxx".to_owned(), None),
        ("no HTTP", "hello\r\n\r\n".to_owned(), None),
        ("another version", "HTTP/3.0 200 OK\r\n\r\n".to_owned(), None),
        ("nothing at all", String::new(), None),
        ("a long line", format!("{ok}x-a: {}\r\n\r\n", "a".repeat(500_000)), None),
        ("many lines", format!("{ok}{}\r\n", "x: y\r\n".repeat(200)), None),
    ];
    let mut wrong = Vec::new();
    for (name, answer, expected) in cases {
        let server = saying(answer, || Then::Close).await;
        let behind = Behind::start(server.place(), |_| {}).await;
        // A request that is not sent again when the answer fails.
        let post = GET.replace("GET", "POST");
        let said = behind.say(post.as_bytes()).await;
        let body = said.split_once("\r\n\r\n").map(|(_, body)| body);
        let is_right = match expected {
            Some(expected) => said.starts_with("HTTP/1.1 20") && body == Some(expected),
            None => said.starts_with("HTTP/1.1 502 "),
        };
        if !is_right || said.contains("HIDDEN") || said.contains("set-cookie") {
            wrong.push(format!("{name}: {said}"));
        }
        let next = behind.say(GET.as_bytes()).await;
        if !next.ends_with("\r\n\r\nnext") {
            wrong.push(format!("{name}, then: {next}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What follows an answer in the same connection is not the answer to the next request, which may be
/// another visitor's.
#[tokio::test]
async fn what_a_server_says_unasked_is_nobodys_answer() {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok{SPLIT}");
    let server = saying(answer, || Then::KeepAlive).await;
    let behind = Behind::start(server.place(), |_| {}).await;
    assert_eq!(behind.get("/up/x").await.body().as_ref(), b"ok");
    for _ in 0..4 {
        assert_eq!(behind.get("/up/x").await.body().as_ref(), b"next");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_taken_for_whole() {
    for (answer, part) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\npart",
            "content-length: 90",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n",
            "part",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\nxyz\r\n",
            "part",
        ),
    ] {
        let server = saying(answer.to_owned(), || Then::Close).await;
        let behind = Behind::start(server.place(), |_| {}).await;
        let said = behind.say(GET.as_bytes()).await;
        assert!(said.contains(part), "{said}");
        assert!(!said.ends_with("0\r\n\r\n"), "{said}");
        let status = behind.status().await;
        assert_eq!(status.failures_total, 1);
        assert!(status.last_error.unwrap().message.contains("broke off"));
    }
}

#[tokio::test]
async fn a_closed_connection_of_the_pool_costs_nobody_a_request() {
    // Each connection ends after an answer that says nothing of it.
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let server = FakeServer::start(|_| (answer.to_vec(), Then::Close)).await;
    let behind = Behind::start(server.place(), |_| {}).await;
    for _ in 0..20 {
        assert_eq!(behind.get("/up/x").await.status(), 200);
    }
}

#[tokio::test]
async fn strangers_learn_nothing_of_a_server_that_is_away_and_its_owner_all() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let server = UpstreamServer::Http(address.to_string());
    let behind = Behind::start(server, |_| {}).await;
    let said = behind.say(GET.as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 502 "), "{said}");
    assert!(
        said.to_lowercase().contains("\r\nretry-after: 30\r\n"),
        "{said}"
    );
    for secret in ["127.0.0.1", &address.port().to_string(), "refused", "hyper"] {
        assert!(!said.contains(secret), "{said}");
    }
    let status = behind.status().await;
    let error = status.error.unwrap();
    assert!(
        error.contains(&format!("cannot connect to http://{address}")),
        "{error}"
    );
    assert!(error.contains("refused"), "{error}");
    assert_eq!(status.failures_total, 1);
    // Home itself goes on.
    assert_eq!(behind.get("/dav/").await.status(), 401);
}

#[tokio::test]
async fn a_server_that_does_not_answer_in_time_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = UpstreamServer::Http(listener.local_addr().unwrap().to_string());
    let behind = Behind::start(server, |upstream| {
        upstream.timeouts.connect = Duration::from_millis(100);
        upstream.timeouts.first_byte = Duration::from_millis(100);
    });
    let behind = behind.await;
    let said = behind.say(GET.as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 504 "), "{said}");
    assert!(
        said.to_lowercase().contains("\r\nretry-after: 30\r\n"),
        "{said}"
    );
    let status = behind.status().await;
    assert_eq!(status.error, None, "it did accept");
    assert!(
        status
            .last_error
            .unwrap()
            .message
            .contains("did not begin to answer")
    );
}
