//! Names whose connections go to a server beside home, byte for byte.

use std::net::Ipv6Addr;
use std::path::Path;

use bytes::Bytes;
use cloudless_home::{Config, Passthrough};
use cloudless_proto::UpstreamAddress;
use cloudless_proto::proxy_protocol::Version;
use h2::{Reason, RecvStream, SendStream};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

use crate::fixture::{HOST, Home};
use crate::relay::{FakeRelay, FakeSession};

const NAS: &str = "nas.example.org";

/// A home with a name of its own and one that goes to `address`.
async fn start(relay: &FakeRelay, address: UpstreamAddress) -> (Home, FakeSession) {
    let configure = |config: &mut Config| {
        config.hostnames.push(NAS.parse().unwrap());
        let passthrough = Passthrough {
            tls: Some(address),
            ..Passthrough::default()
        };
        config.passthrough.insert(NAS.parse().unwrap(), passthrough);
    };
    let home = Home::start_with(vec![relay.relay()], configure).await;
    let session = relay.welcome(NAS).await;
    home.connected().await;
    (home, session)
}

async fn read_to_end(receive: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(chunk) = receive.data().await {
        let chunk = chunk?;
        receive.flow_control().release_capacity(chunk.len())?;
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// Says something each way, then ends one direction after the other.
async fn converse<S>((mut send, mut receive): (SendStream<Bytes>, RecvStream), mut server: S)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let hello = Bytes::from_static(b"\x16\x03\x01 what looks like a ClientHello");
    send.send_data(hello.clone(), false).unwrap();
    let mut got = vec![0; hello.len()];
    server.read_exact(&mut got).await.unwrap();
    assert_eq!(got, hello);

    send.send_data(Bytes::from_static(b"the last word"), true)
        .unwrap();
    let mut rest = Vec::new();
    server.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"the last word");
    // The visitor's FIN has come through, and its other direction is still open.
    let answer = vec![7; 300_000];
    server.write_all(&answer).await.unwrap();
    server.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut receive).await.unwrap(), answer);
}

#[tokio::test]
async fn a_name_s_bytes_and_ends_go_through_to_its_server() {
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(local).await.unwrap();
        let address = listener.local_addr().unwrap();
        let relay = FakeRelay::bind().await;
        let (home, session) = start(&relay, address.into()).await;
        let visitor = session.connect(NAS).await;
        let (server, _) = listener.accept().await.unwrap();
        converse(visitor, server).await;
        // The other name is still home's own: its certificate was made, the server's name has none.
        let certificates = home.status().await.certificates;
        let names: Vec<_> = certificates.iter().map(|it| it.hostname.as_str()).collect();
        assert_eq!(names, [HOST]);
    }
}

#[tokio::test]
async fn a_unix_socket_serves_as_well() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("web.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let relay = FakeRelay::bind().await;
    let (_home, session) = start(&relay, UpstreamAddress::Unix(path)).await;
    let visitor = session.connect(NAS).await;
    let (server, _) = listener.accept().await.unwrap();
    converse(visitor, server).await;
}

#[tokio::test]
async fn a_reset_goes_through_both_ways() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let relay = FakeRelay::bind().await;
    let (_home, session) = start(&relay, address.into()).await;

    let (_send, mut receive) = session.connect(NAS).await;
    let (server, _) = listener.accept().await.unwrap();
    SockRef::from(&server)
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
    drop(server);
    let error = read_to_end(&mut receive).await.unwrap_err();
    assert!(error.is_reset() && error.is_remote(), "{error}");

    let (mut send, _receive) = session.connect(NAS).await;
    let (mut server, _) = listener.accept().await.unwrap();
    send.send_reset(Reason::CANCEL);
    let error = server.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_server_that_is_down_is_in_the_status_until_it_is_up() {
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let relay = FakeRelay::bind().await;
    let (home, session) = start(&relay, address.into()).await;
    let row = home.status().await.passthrough.remove(0);
    assert_eq!((row.hostname.as_str(), row.error), (NAS, None));

    let (_send, mut receive) = session.connect(NAS).await;
    let error = read_to_end(&mut receive).await.unwrap_err();
    assert!(error.is_reset() && error.is_remote(), "{error}");
    let error = home.status().await.passthrough.remove(0).error.unwrap();
    assert!(error.contains(&address.to_string()), "{error}");

    let listener = TcpListener::bind(address).await.unwrap();
    let visitor = session.connect(NAS).await;
    let (server, _) = listener.accept().await.unwrap();
    converse(visitor, server).await;
    assert_eq!(home.status().await.passthrough.remove(0).error, None);
}

#[tokio::test]
async fn a_missing_socket_is_told_by_its_path() {
    let relay = FakeRelay::bind().await;
    let path = Path::new("/nonexistent/web.sock");
    let (home, session) = start(&relay, UpstreamAddress::Unix(path.to_owned())).await;
    let (_send, mut receive) = session.connect(NAS).await;
    read_to_end(&mut receive).await.unwrap_err();
    let error = home.status().await.passthrough.remove(0).error.unwrap();
    assert!(error.contains("unix:/nonexistent/web.sock"), "{error}");
}

#[tokio::test]
async fn the_server_is_told_the_address_that_the_relay_tells() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let relay = FakeRelay::bind().await;
    let configure = |config: &mut Config| {
        let passthrough = Passthrough {
            tls: Some(address.into()),
            proxy_protocol: Some(Version::V1),
            ..Passthrough::default()
        };
        config
            .passthrough
            .insert(HOST.parse().unwrap(), passthrough);
    };
    let home = Home::start_with(vec![relay.relay()], configure).await;
    let mut session = relay.welcome(HOST).await;
    home.connected().await;
    for (visitor, header) in [
        ("192.0.2.7:54321", "TCP4 192.0.2.7 0.0.0.0 54321 443"),
        ("[2001:db8::7]:54321", "TCP6 2001:db8::7 :: 54321 443"),
        ("nobody", "UNKNOWN"),
    ] {
        session.visitor = Some(visitor);
        let (mut send, _receive) = session.connect(HOST).await;
        send.send_data(Bytes::from_static(b"hello"), true).unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let mut got = String::new();
        server.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, format!("PROXY {header}\r\nhello"));
    }
}

const CHALLENGE: &str = "/.well-known/acme-challenge/token";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ntoken.thumbprint";

/// Asks for `path` of `host` on a stream to `authority`, and for something else after that.
async fn ask(
    session: &FakeSession,
    authority: &str,
    host: &str,
    path: &str,
) -> Result<Vec<u8>, h2::Error> {
    let (mut send, mut receive) = session.connect_to(authority).await;
    let rest = format!("Host: {host}\r\nCookie: secret\r\n\r\n");
    let requests = format!("GET {path} HTTP/1.1\r\n{rest}GET /private HTTP/1.1\r\n{rest}");
    send.send_data(requests.into(), false)?;
    read_to_end(&mut receive).await
}

/// What a certificate authority asks is passed on and nothing else, whatever the relay lets through.
#[tokio::test]
async fn a_validation_reaches_the_server_for_it_and_nothing_else_does() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let relay = FakeRelay::bind().await;
    let configure = |config: &mut Config| {
        let passthrough = Passthrough {
            http: Some(address.into()),
            ..Passthrough::default()
        };
        config.hostnames.push(NAS.parse().unwrap());
        config.passthrough.insert(NAS.parse().unwrap(), passthrough);
    };
    let home = Home::start_with(vec![relay.relay()], configure).await;
    let session = relay.welcome(NAS).await;
    home.connected().await;
    let (host_80, nas_80) = (format!("{HOST}:80"), format!("{NAS}:80"));
    for (authority, host, path) in [
        (&nas_80, NAS, "/"),
        (&nas_80, NAS, "/.well-known/acme-challenge/../../private"),
        (&nas_80, NAS, "/.well-known/carddav"),
        (&nas_80, HOST, CHALLENGE),
        (&host_80, HOST, CHALLENGE),
        (&format!("{NAS}:8080"), NAS, CHALLENGE),
    ] {
        let answer = ask(&session, authority, host, path).await;
        assert!(answer.is_err(), "{path} {answer:?}");
    }
    let server = async {
        // The first connection that there is.
        let (mut server, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 1024];
        let n = server.read(&mut request).await.unwrap();
        request.truncate(n);
        server.write_all(ANSWER).await.unwrap();
        server.shutdown().await.unwrap();
        // Whatever else home says, now that it has its answer.
        server.read_to_end(&mut request).await.unwrap();
        String::from_utf8(request).unwrap()
    };
    let (answer, request) = tokio::join!(ask(&session, &nas_80, NAS, CHALLENGE), server);
    assert_eq!(answer.unwrap(), ANSWER);
    let head = format!("GET {CHALLENGE} HTTP/1.1\r\nHost: {NAS}\r\n");
    assert!(request.starts_with(&head), "{request}");
    assert!(request.contains("Connection: close\r\n"), "{request}");
    assert!(!request.contains("secret"), "{request}");
    assert_eq!(request.matches("GET ").count(), 1, "{request}");
}

over_ipv6! {
    a_name_s_bytes_and_ends_go_through_to_its_server,
    a_unix_socket_serves_as_well,
    a_reset_goes_through_both_ways,
    a_server_that_is_down_is_in_the_status_until_it_is_up,
    the_server_is_told_the_address_that_the_relay_tells,
    a_validation_reaches_the_server_for_it_and_nothing_else_does,
}
