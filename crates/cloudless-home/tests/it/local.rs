//! The loopback listener.

use cloudless_home::{Listeners, RunError, run};
use cloudless_store::Store;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::fixture::{HOST, Home};
use crate::relay::{FakeRelay, new_key};
use crate::visitor::{http1, request, tls};

#[tokio::test]
async fn programs_on_this_machine_see_what_phones_see() {
    let relay = FakeRelay::bind().await;
    let home = Home::start(vec![relay.relay()]).await;
    let session = relay.welcome(HOST).await;
    let path = "/dav/addressbooks/me/contacts/a.vcf";
    let card = "BEGIN:VCARD\nVERSION:3.0\nUID:a\nFN:A\nEND:VCARD\n";

    let mut put = request("PUT", path, &home.authorization);
    put.headers_mut()
        .insert("host", home.local.to_string().parse().unwrap());
    put.headers_mut()
        .insert("content-type", "text/vcard".parse().unwrap());
    *put.body_mut() = card.into();
    let stream = TcpStream::connect(home.local).await.unwrap();
    assert_eq!(http1(stream, put).await.status(), 201);

    let stream = tls(&session, home.trust(), HOST, b"http/1.1")
        .await
        .unwrap();
    let mut get = request("GET", path, &home.authorization);
    get.headers_mut().insert("host", HOST.parse().unwrap());
    assert_eq!(http1(stream, get).await.body(), card.as_bytes());
}

#[tokio::test]
async fn it_works_with_no_relay_at_all() {
    let home = Home::start(Vec::new()).await;
    let stream = TcpStream::connect(home.local).await.unwrap();
    let mut propfind = request("PROPFIND", "/dav/", &home.authorization);
    propfind
        .headers_mut()
        .insert("host", "localhost".parse().unwrap());
    assert_eq!(http1(stream, propfind).await.status(), 207);
}

#[tokio::test]
async fn foreign_hosts_are_refused() {
    let home = Home::start(Vec::new()).await;
    for host in ["rebound.example", HOST, "192.168.1.1"] {
        let stream = TcpStream::connect(home.local).await.unwrap();
        let mut propfind = request("PROPFIND", "/dav/", &home.authorization);
        propfind.headers_mut().insert("host", host.parse().unwrap());
        assert_eq!(http1(stream, propfind).await.status(), 421, "{host}");
    }
}

/// RFC 9112 §3.2: HTTP/1.1 without Host is a bad request; HTTP/1.0 knows no Host.
#[tokio::test]
async fn a_host_header_is_needed_since_http_1_1() {
    let home = Home::start(Vec::new()).await;
    for (head, status) in [
        ("GET /dav/ HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "),
        (
            "GET /dav/ HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
            "HTTP/1.1 400 ",
        ),
        (
            "GET /dav/ HTTP/1.1\r\nHost: rebound.example\r\n\r\n",
            "HTTP/1.1 421 ",
        ),
        ("GET /dav/ HTTP/1.0\r\n\r\n", "HTTP/1.0 401 "),
        (
            "GET /dav/ HTTP/1.0\r\nHost: rebound.example\r\n\r\n",
            "HTTP/1.0 421 ",
        ),
    ] {
        let mut stream = TcpStream::connect(home.local).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(status), "{head}: {answer}");
    }
}

#[tokio::test]
async fn an_address_that_others_reach_is_refused() {
    let directory = tempfile::TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let config =
        cloudless_home::Config::new(vec![], vec![], new_key(), directory.path().to_owned());
    let local = vec![TcpListener::bind("0.0.0.0:0").await.unwrap()];
    let listeners = Listeners { local, admin: None };
    let error = run(config, store, listeners, CancellationToken::new())
        .await
        .unwrap_err();
    assert!(matches!(error, RunError::NotLoopback(_)), "{error}");
}
