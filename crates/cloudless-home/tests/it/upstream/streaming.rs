//! Bodies pass piece by piece, and wait for whoever is slower.

use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

/// Reads until these bytes have come.
async fn until<S: tokio::io::AsyncRead + Unpin>(stream: &mut S, end: &str) -> String {
    let mut read = Vec::new();
    let reading = async {
        while !read.ends_with(end.as_bytes()) {
            read.push(stream.read_u8().await.unwrap());
        }
    };
    timeout(PATIENCE, reading).await.unwrap();
    String::from_utf8(read).unwrap()
}

/// Server-sent events: each gets to the visitor before the next one is made.
#[tokio::test]
async fn events_pass_one_by_one_over_both_versions() {
    let (behind, listener) = Behind::start_listening(|_| {}).await;

    let mut visitor = behind.connect(b"http/1.1").await;
    let get = format!("GET /up/events HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    visitor.write_all(get.as_bytes()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    until(&mut server, "\r\n\r\n").await;
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    server.write_all(head.as_bytes()).await.unwrap();
    until(&mut visitor, "\r\n\r\n").await;
    for number in 0..3 {
        let event = format!("data: {number}\n\n");
        server
            .write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())
            .await
            .unwrap();
        until(&mut visitor, &event).await;
    }
    drop(server);

    let stream = behind.connect(b"h2").await;
    let (mut requests, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let get = Request::get(format!("https://{HOST}/up/events"));
    let get = get.header("cookie", "a=1").header("cookie", "b=2");
    let answer = requests.send_request(get.body(Empty::<Bytes>::new()).unwrap());
    let serving = async {
        let (mut server, _) = listener.accept().await.unwrap();
        let request = until(&mut server, "\r\n\r\n").await;
        assert!(request.contains("cookie: a=1; b=2\r\n"), "{request}");
        assert!(request.starts_with("GET /events HTTP/1.1\r\n"), "{request}");
        server.write_all(head.as_bytes()).await.unwrap();
        server
    };
    let (answer, mut server) = tokio::join!(answer, serving);
    let mut body = answer.unwrap().into_body();
    for number in 0..3 {
        let event = format!("data: {number}\n\n");
        server
            .write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())
            .await
            .unwrap();
        let frame = timeout(PATIENCE, body.frame())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(frame.into_data().unwrap(), event);
    }
}

/// The other way round the relay of these tests keeps what is sent.
#[tokio::test]
async fn a_visitor_that_does_not_read_stops_the_server() {
    // Far more than home, the tunnel and the systems keep on the way.
    const MUCH: usize = 64 * 1024 * 1024;
    const KEPT: usize = 24 * 1024 * 1024;
    const STILL: Duration = Duration::from_millis(500);

    let (behind, listener) = Behind::start_listening(|_| {}).await;
    let mut visitor = behind.connect(b"http/1.1").await;
    let get = format!("GET /up/x HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
    visitor.write_all(get.as_bytes()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    until(&mut server, "\r\n\r\n").await;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {MUCH}\r\n\r\n");
    server.write_all(head.as_bytes()).await.unwrap();
    let piece = [7; 65536];
    let mut sent = 0;
    // Until no more is taken.
    while sent < MUCH
        && let Ok(written) = timeout(STILL, server.write(&piece)).await
    {
        sent += written.unwrap();
    }
    assert!(sent < KEPT, "{sent}");
    let sending = tokio::spawn(async move {
        let rest = vec![7; MUCH - sent];
        server.write_all(&rest).await.unwrap();
    });
    let mut all = Vec::new();
    timeout(PATIENCE, visitor.read_to_end(&mut all))
        .await
        .unwrap()
        .unwrap();
    sending.await.unwrap();
    assert!(all.len() > MUCH, "{}", all.len());
}

/// An upload that is refused at its beginning is not sent to its end.
#[tokio::test]
async fn an_answer_may_come_before_the_request_has_ended() {
    let (behind, listener) = Behind::start_listening(|_| {}).await;
    let mut visitor = behind.connect(b"http/1.1").await;
    let put = format!("PUT /up/x HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 1000000\r\n\r\nabc");
    visitor.write_all(put.as_bytes()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    until(&mut server, "\r\n\r\nabc").await;
    server
        .write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        .await
        .unwrap();
    let answer = until(&mut visitor, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn whoever_falls_silent_ends_the_request() {
    let short = |upstream: &mut Upstream| {
        upstream.timeouts.connect = Duration::from_millis(50);
        upstream.timeouts.first_byte = Duration::from_millis(100);
        upstream.timeouts.idle = Duration::from_millis(100);
    };
    let (behind, listener) = Behind::start_listening(short).await;
    // The server, in the middle of an answer.
    let mut visitor = behind.connect(b"http/1.1").await;
    let get = format!("GET /up/x HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    visitor.write_all(get.as_bytes()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    until(&mut server, "\r\n\r\n").await;
    let part = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart";
    server.write_all(part.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    let _ = timeout(PATIENCE, visitor.read_to_end(&mut all))
        .await
        .unwrap();
    assert!(all.ends_with(b"part"));
    assert!(
        behind
            .status()
            .await
            .last_error
            .unwrap()
            .message
            .contains("sent nothing for")
    );
    // The visitor, in the middle of a request.
    let put = format!("PUT /up/x HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 9\r\n\r\npart");
    let said = {
        let mut visitor = behind.connect(b"http/1.1").await;
        visitor.write_all(put.as_bytes()).await.unwrap();
        let mut all = Vec::new();
        let _ = timeout(PATIENCE, visitor.read_to_end(&mut all))
            .await
            .unwrap();
        String::from_utf8(all).unwrap()
    };
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
}
