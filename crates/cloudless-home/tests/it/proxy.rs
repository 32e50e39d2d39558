//! A network that lets nothing out but through a proxy, which the test plays.

use cloudless_home::{Proxy, Relay};
use cloudless_proto::control::{self, FromHome};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::fixture::{Home, PATIENCE};
use crate::relay::FakeRelay;
use crate::tunnel::interceptor;

/// Only the proxy can resolve it.
pub(crate) const ADDRESS: &str = "relay.invalid:443";

/// A relay that is known by that name.
fn far(relay: &FakeRelay) -> Relay {
    Relay {
        addresses: vec![ADDRESS.to_owned()],
        ..relay.relay()
    }
}

async fn home_behind(listener: &TcpListener, login: &str, relay: Relay) -> Home {
    let url = format!("http://{login}{}", listener.local_addr().unwrap());
    Home::start_with(vec![relay], |config| {
        config.proxy = Some(Proxy::new(&url, "").unwrap());
    })
    .await
}

/// Reads a request's head.
async fn asked(tcp: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// The next request at the proxy, which grants it: its head, and the connection from then on.
pub(crate) async fn granted(proxy: &TcpListener) -> (String, TcpStream) {
    let (mut tcp, _) = timeout(PATIENCE, proxy.accept()).await.unwrap().unwrap();
    let head = asked(&mut tcp).await;
    tcp.write_all(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n")
        .await
        .unwrap();
    (head, tcp)
}

/// Carries what the proxy has granted, until both ends are through.
pub(crate) async fn carry(mut tcp: TcpStream, relay: &FakeRelay) {
    let mut onward = TcpStream::connect(relay.address()).await.unwrap();
    // It lasts as long as the test.
    let _ = tokio::io::copy_bidirectional(&mut tcp, &mut onward).await;
}

#[tokio::test]
async fn the_relay_is_asked_for_by_name_with_the_login_and_no_legs_are_wanted() {
    let relay = FakeRelay::bind().await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _home = home_behind(&proxy, "me:secret@", far(&relay)).await;
    let (head, tcp) = granted(&proxy).await;
    assert!(
        head.starts_with("CONNECT relay.invalid:443 HTTP/1.1\r\nHost: relay.invalid:443\r\n"),
        "{head}"
    );
    // "me:secret"
    assert!(
        head.contains("\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n"),
        "{head}"
    );
    let session = tokio::select! {
        session = relay.accept() => session,
        () = carry(tcp, &relay) => panic!("the connection ended"),
    };
    let FromHome::Hello { legs, .. } = session.first else {
        panic!("{:?}", session.first);
    };
    assert!(!legs, "a leg would have to go past the proxy");
}

#[tokio::test]
async fn what_the_proxy_says_instead_is_told_in_plain_words() {
    for (answer, words) in [
        ("HTTP/1.1 407 x\r\n\r\n", "wants a user and a password"),
        ("HTTP/1.0 403 x\r\n\r\n", "(status 403)"),
        ("220 mail.example\r\n\r\n", "not that of an HTTP proxy"),
        ("", "broke"),
    ] {
        let relay = FakeRelay::bind().await;
        let proxy = TcpListener::bind("[::1]:0").await.unwrap();
        let home = home_behind(&proxy, "", far(&relay)).await;
        let answers = async {
            loop {
                let (mut tcp, _) = proxy.accept().await.unwrap();
                assert!(!asked(&mut tcp).await.contains("Authorization"));
                tcp.write_all(answer.as_bytes()).await.unwrap();
            }
        };
        let said = |error: &String| error.contains("through the proxy") && error.contains(words);
        tokio::select! {
            _ = home.relay_status(|row| row.error.as_ref().is_some_and(said)) => {}
            () = answers => {}
        }
    }
}

#[tokio::test]
async fn a_proxy_that_intercepts_tls_is_named_as_such_with_the_issuer() {
    let relay = FakeRelay::bind().await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = proxy.local_addr().unwrap();
    let home = home_behind(&proxy, "me:secret@", far(&relay)).await;
    let acceptor = interceptor(control::ALPN);
    let intercepts = async {
        loop {
            let (head, tcp) = granted(&proxy).await;
            // Also who asks for the issuer comes by the same way.
            assert!(head.starts_with("CONNECT relay.invalid:443 "), "{head}");
            assert!(head.contains("Basic bWU6c2VjcmV0"), "{head}");
            assert!(acceptor.accept(tcp).await.is_err());
        }
    };
    let row = tokio::select! {
        row = home.relay_status(|row| row.error.is_some()) => row,
        () = intercepts => unreachable!(),
    };
    let error = row.error.unwrap();
    for words in [
        &*format!("through the proxy at {address}: it intercepts TLS"),
        "\"rcgen self signed cert\"",
        "nothing was sent",
    ] {
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn an_endless_answer_of_the_proxy_is_not_kept() {
    let relay = FakeRelay::bind().await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _home = home_behind(&proxy, "", far(&relay)).await;
    let (mut tcp, _) = timeout(PATIENCE, proxy.accept()).await.unwrap().unwrap();
    asked(&mut tcp).await;
    tcp.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
    let endless = async { while tcp.write_all(b"X-Header: x\r\n").await.is_ok() {} };
    timeout(PATIENCE, endless)
        .await
        .expect("home closes the connection");
}
