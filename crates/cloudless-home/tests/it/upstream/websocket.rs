//! WebSockets through home (RFC 6455 section 4).

use tokio::net::TcpListener;

use super::*;

async fn head<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut head = Vec::new();
    let reading = async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
    };
    timeout(PATIENCE, reading).await.unwrap();
    String::from_utf8(head).unwrap().to_lowercase()
}

fn upgrade(protocol: &str) -> String {
    format!(
        "GET /up/ws HTTP/1.1\r\nhost: {HOST}\r\nupgrade: {protocol}\r\nconnection: keep-alive, Upgrade\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
    )
}

const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[tokio::test]
async fn bytes_pass_both_ways_until_both_have_ended() {
    let (behind, listener) = Behind::start_listening(|_| {}).await;
    let mut visitor = behind.connect(b"http/1.1").await;
    // What follows the handshake in the same packet is the WebSocket's.
    let opening = upgrade("websocket") + "early";
    visitor.write_all(opening.as_bytes()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let asked = head(&mut server).await;
    for line in [
        "get /ws http/1.1\r\n",
        "upgrade: websocket\r\n",
        "connection: upgrade\r\n",
        "sec-websocket-key: dghlihnhbxbszsbub25jzq==\r\n",
    ] {
        assert!(asked.contains(line), "{asked}");
    }
    server
        .write_all(format!("{AGREED}hello").as_bytes())
        .await
        .unwrap();
    let agreed = head(&mut visitor).await;
    assert!(agreed.starts_with("http/1.1 101 "), "{agreed}");
    assert!(
        agreed.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"),
        "{agreed}"
    );
    let mut early = [0; 5];
    server.read_exact(&mut early).await.unwrap();
    assert_eq!(&early, b"early");
    let mut hello = [0; 5];
    visitor.read_exact(&mut hello).await.unwrap();
    assert_eq!(&hello, b"hello");
    assert_eq!(behind.status().await.requests_now, 1);
    visitor.write_all(b"ping").await.unwrap();
    let mut ping = [0; 4];
    server.read_exact(&mut ping).await.unwrap();
    drop(server);
    let mut rest = Vec::new();
    timeout(PATIENCE, visitor.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn a_server_may_refuse_and_no_other_protocol_is_switched_to() {
    let (behind, listener) = Behind::start_listening(|_| {}).await;
    for (protocol, answer, expected) in [
        (
            "websocket",
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n",
            "http/1.1 403 ",
        ),
        (
            "websocket",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
            "http/1.1 502 ",
        ),
        (
            "h2c",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "http/1.1 200 ",
        ),
        (
            "websocket, h2c",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "http/1.1 200 ",
        ),
    ] {
        let mut visitor = behind.connect(b"http/1.1").await;
        visitor
            .write_all(upgrade(protocol).as_bytes())
            .await
            .unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let asked = head(&mut server).await;
        assert_eq!(
            asked.contains("upgrade"),
            protocol == "websocket",
            "{asked}"
        );
        server.write_all(answer.as_bytes()).await.unwrap();
        drop(server);
        let said = head(&mut visitor).await;
        assert!(said.starts_with(expected), "{said}");
    }
}

#[tokio::test]
async fn a_websocket_ends_when_it_is_idle_or_home_stops() {
    let (behind, listener) =
        Behind::start_listening(|it| it.timeouts.idle = Duration::from_millis(100)).await;
    let open = async |behind: &Behind, listener: &TcpListener| {
        let mut visitor = behind.connect(b"http/1.1").await;
        visitor
            .write_all(upgrade("websocket").as_bytes())
            .await
            .unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        head(&mut server).await;
        server.write_all(AGREED.as_bytes()).await.unwrap();
        head(&mut visitor).await;
        (visitor, server)
    };
    let (mut visitor, _server) = open(&behind, &listener).await;
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, visitor.read_to_end(&mut rest))
        .await
        .unwrap();
    drop(behind);

    let (mut behind, listener) = Behind::start_listening(|_| {}).await;
    let (_visitor, mut server) = open(&behind, &listener).await;
    timeout(PATIENCE, behind.home.stop()).await.unwrap();
    let _ = timeout(PATIENCE, server.read_to_end(&mut rest))
        .await
        .unwrap();
}

/// Browsers open an HTTP/1.1 connection for a WebSocket then (RFC 8441 section 3).
#[tokio::test]
async fn none_is_offered_inside_http2() {
    let (behind, _listener) = Behind::start_listening(|_| {}).await;
    let stream = behind.connect(b"h2").await;
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut requests = requests.ready().await.unwrap();
    let get = http::Request::get(format!("https://{HOST}/"));
    let (answer, _) = requests.send_request(get.body(()).unwrap(), true).unwrap();
    // Home's settings have come by then.
    timeout(PATIENCE, answer).await.unwrap().unwrap();
    assert!(!requests.is_extended_connect_protocol_enabled());
    driver.abort();
}
