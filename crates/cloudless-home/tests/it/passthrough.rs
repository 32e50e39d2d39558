//! Names whose connections go to a server beside home, byte for byte.

use std::net::Ipv6Addr;
use std::path::Path;

use bytes::Bytes;
use cloudless_home::{Config, Passthrough};
use cloudless_proto::UpstreamAddress;
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
        let passthrough = Passthrough { tls: Some(address) };
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
