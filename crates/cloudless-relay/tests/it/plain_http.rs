//! The plain HTTP port.

use std::time::Duration;

use cloudless_proto::control::VISITOR_HEADER;
use cloudless_relay::Servers;

use crate::support::{HOME_NAME, HomeKey, RELAY_NAME, TestRelay, Visitor, WebServer, soon};

/// Sends a request to a relay that has one home, and returns the whole answer without its date.
async fn ask(relay: &TestRelay, request: &str) -> String {
    let mut client = Visitor::connect(relay.http_address()).await;
    client.send(request.as_bytes()).await;
    let answer = String::from_utf8(client.read_to_end().await).unwrap();
    let lines = answer
        .split_inclusive("\r\n")
        .filter(|line| !line.starts_with("Date: "));
    lines.collect()
}

fn answer(status: &str, location: Option<&str>) -> String {
    let location = location
        .map(|url| format!("Location: {url}\r\n"))
        .unwrap_or_default();
    format!("HTTP/1.1 {status}\r\n{location}Content-Length: 0\r\nConnection: close\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_s_name_is_sent_to_https_and_validations_are_not() {
    let relay = TestRelay::start_with(|config| config.hold = Duration::from_millis(50)).await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    let to = |path: &str| {
        let location = format!("https://{HOME_NAME}{path}");
        answer("308 Permanent Redirect", Some(&location))
    };
    for (request, expected) in [
        ("GET / HTTP/1.1\r\nHost: home.example.test\r\n\r\n", to("/")),
        (
            "GET /a?b=%20&c HTTP/1.1\r\nhost:HOME.example.test.:8080\r\n\r\n",
            to("/a?b=%20&c"),
        ),
        (
            "PROPFIND /dav/ HTTP/1.1\r\nHost: home.example.test\r\nContent-Length: 5\r\n\r\nhello",
            to("/dav/"),
        ),
        (
            "GET http://home.example.test/x HTTP/1.1\r\nHost: home.example.test\r\n\r\n",
            to("/x"),
        ),
        (
            "OPTIONS * HTTP/1.1\r\nHost: home.example.test\r\n\r\n",
            to(""),
        ),
        ("GET / HTTP/1.0\r\nHost: home.example.test\r\n\r\n", to("/")),
        (
            "GET /.well-known/carddav HTTP/1.1\r\nHost: home.example.test\r\n\r\n",
            to("/.well-known/carddav"),
        ),
        (
            "GET /.well-known/acme-challenge/token HTTP/1.1\r\nHost: home.example.test\r\n\r\n",
            answer("404 Not Found", None),
        ),
        (
            "GET /.well-known/pki-validation/x?y HTTP/1.1\r\nHost: home.example.test\r\n\r\n",
            answer("404 Not Found", None),
        ),
    ] {
        assert_eq!(ask(&relay, request).await, expected, "{request}");
    }
    assert_eq!(relay.outcome("http_redirect").await, 7);
    assert_eq!(relay.outcome("http_validation").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_servers_could_read_in_two_ways_is_refused() {
    let web_server = WebServer::start().await;
    let address = web_server.address();
    let relay = TestRelay::start_with(|config| config.fallback.http = Some(address.into())).await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: home.example.test\r\nHost: home.example.test\r\n\r\n",
        "GET http://other.example/ HTTP/1.1\r\nHost: home.example.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: home.example.test\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\nHost: home.example.test\n\n",
        "GET / HTTP/1.1\r\nHost: home\0.example.test\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03",
    ] {
        assert_eq!(
            ask(&relay, request).await,
            answer("400 Bad Request", None),
            "{request:?}"
        );
    }
    let long = format!(
        "GET / HTTP/1.1\r\nHost: home.example.test\r\nX: {}\r\n\r\n",
        "x".repeat(20_000)
    );
    let expected = answer("431 Request Header Fields Too Large", None);
    assert_eq!(ask(&relay, &long).await, expected);
    assert_eq!(relay.outcome("http_malformed").await, 8);
    assert_eq!(relay.outcome("http_too_long").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_hosts_belong_to_the_web_server() {
    let web_server = WebServer::start().await;
    let address = web_server.address();
    let relay = TestRelay::start_with(|config| config.fallback.http = Some(address.into())).await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    for host in [
        "Host: other.example",
        "Host: 192.0.2.1:80",
        &format!("Host: {RELAY_NAME}"),
    ] {
        for address in relay.http {
            let mut client = Visitor::connect(address).await;
            let request =
                format!("POST /x HTTP/1.1\r\n{host}\r\nContent-Length: 4\r\n\r\nbody").into_bytes();
            client.send(&request).await;
            let mut server = web_server.accept().await;
            server.expect(&request).await;
            server.send(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            client.expect(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            client.finish().await;
            assert_eq!(server.read_to_end().await, b"");
            server.finish().await;
            assert_eq!(client.read_to_end().await, b"");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_web_server_other_hosts_are_not_found() {
    let relay = TestRelay::start().await;
    for host in ["Host: other.example\r\n", "Host: [::1]\r\n"] {
        let request = format!("GET / HTTP/1.1\r\n{host}\r\n");
        assert_eq!(
            ask(&relay, &request).await,
            answer("404 Not Found", None),
            "{host}"
        );
    }
    assert_eq!(
        ask(&relay, "GET / HTTP/1.0\r\n\r\n").await,
        answer("404 Not Found", None)
    );
    assert_eq!(relay.outcome("http_unknown_host").await, 1);
    assert_eq!(relay.outcome("http_no_host").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_must_come_in_time() {
    let relay = TestRelay::start_with(|config| {
        config.timings.client_hello = Duration::from_millis(100);
    })
    .await;
    assert_eq!(
        ask(&relay, "GET / HTTP/1.1\r\n").await,
        answer("408 Request Timeout", None)
    );
    let mut client = Visitor::connect(relay.http_address()).await;
    client.send(b"GET /").await;
    client.finish().await;
    client.gone().await;
    relay.until_outcome("http_closed_early", 1).await;
}

/// A certificate authority's question goes to the home, written anew, and its answer comes back;
/// what the home does not take is not found, and everything else never leaves the relay.
#[tokio::test(flavor = "multi_thread")]
async fn a_validation_goes_through_the_tunnel_to_the_home() {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ntoken.thumbprint";
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    for address in relay.http {
        let mut client = Visitor::connect(address).await;
        let head = "GET /.well-known/acme-challenge/token HTTP/1.1\r\nHost: home.example.test\r\n";
        client
            .send(format!("{head}Authorization: Basic eDp5\r\n\r\nGET /more").as_bytes())
            .await;
        let arrival = home.arrival().await;
        let authority = arrival.request.uri().to_string();
        assert_eq!(authority, format!("{HOME_NAME}:80"));
        let visitor = client.stream.local_addr().unwrap().to_string();
        assert_eq!(arrival.request.headers()[VISITOR_HEADER], visitor);
        let mut stream = arrival.accept();
        let rest = "Accept: */*\r\nConnection: close\r\n\r\n";
        stream.expect(format!("{head}{rest}").as_bytes()).await;
        stream.send(ANSWER).await.unwrap();
        stream.finish();
        assert_eq!(client.read_to_end().await, ANSWER);
    }
    let mut client = Visitor::connect(relay.http_address()).await;
    let request =
        "GET /.well-known/pki-validation/a.txt HTTP/1.1\r\nHost: home.example.test\r\n\r\n";
    client.send(request.as_bytes()).await;
    home.arrival().await.refuse();
    let answer = String::from_utf8(client.read_to_end().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    for request in [
        "GET / HTTP/1.1\r\nHost: home.example.test\r\n\r\n",
        "GET /.well-known/acme-challenge/../x HTTP/1.1\r\nHost: home.example.test\r\n\r\n",
        "POST /.well-known/acme-challenge/x HTTP/1.1\r\nHost: home.example.test\r\n\r\n",
    ] {
        ask(&relay, request).await;
    }
    assert!(home.has_no_arrival());
}

/// The relay reads one head of a connection and no further: whatever host a later one names, it is
/// the same server's, and never a home's.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_request_decides_where_all_of_its_connection_go() {
    const ROUTED_NAME: &str = "www.example.test";
    let (fallback, routed) = (WebServer::start().await, WebServer::start().await);
    let relay = TestRelay::start_with(|config| {
        config.fallback.http = Some(fallback.address().into());
        let servers = Servers {
            http: Some(routed.address().into()),
            ..Servers::default()
        };
        let pattern = ROUTED_NAME.parse().unwrap();
        config.routes.0.insert(pattern, servers);
    })
    .await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let get = |path: &str, host: &str| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    // Among them what is refused where it is a connection's first.
    let later = [
        get("/", HOME_NAME),
        get("/.well-known/acme-challenge/token", HOME_NAME),
        get("/", ROUTED_NAME),
        get("/", "other.example"),
        get("/", RELAY_NAME),
        format!("GET / HTTP/1.1\nHost: {HOME_NAME}\nHost: x\n\0\n"),
    ];
    for address in relay.http {
        for (host, server) in [("other.example", &fallback), (ROUTED_NAME, &routed)] {
            let mut client = Visitor::connect(address).await;
            // Along with the first comes another one, and a part of a third.
            let third = get("/third", HOME_NAME);
            let (begun, rest) = third.split_at(20);
            let opening = [&get("/first", host), &get("/", HOME_NAME), begun].concat();
            client.send(opening.as_bytes()).await;
            let mut server = server.accept().await;
            server.expect(opening.as_bytes()).await;
            server.send(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            client.expect(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            client.send(rest.as_bytes()).await;
            server.expect(rest.as_bytes()).await;
            for request in &later {
                client.send(request.as_bytes()).await;
                server.expect(request.as_bytes()).await;
                server.send(b"HTTP/1.1 204 No Content\r\n\r\n").await;
                client.expect(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            }
            client.finish().await;
            assert_eq!(server.read_to_end().await, b"");
        }
    }
    let outcomes = relay.status().await.outcomes;
    let http = outcomes
        .iter()
        .filter(|(class, _)| class.starts_with("http_"));
    let http: Vec<_> = http.map(|(class, n)| (class.as_str(), *n)).collect();
    assert_eq!(http, [("http_route", 2), ("http_unknown_host", 2)]);
    assert!(home.has_no_arrival());
}

/// A home gets the one request that its connection began with, however long the client keeps it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_follows_a_validation_to_its_home() {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {HOME_NAME}\r\n\r\n");
    let validation = get("/.well-known/acme-challenge/token");
    for address in relay.http {
        let mut client = Visitor::connect(address).await;
        // In one piece with it, while its answer is waited for, and after that has begun.
        client
            .send([&*validation, &get("/private")].concat().as_bytes())
            .await;
        let mut stream = home.arrival().await.accept();
        let head = validation.trim_end();
        let expected = format!("{head}\r\nAccept: */*\r\nConnection: close\r\n\r\n");
        stream.expect(expected.as_bytes()).await;
        client.send(get("/private").as_bytes()).await;
        client.send(validation.as_bytes()).await;
        stream.send(ANSWER).await.unwrap();
        stream.finish();
        client.expect(ANSWER).await;
        // The relay may have closed by now.
        let _ = client.stream.try_write(get("/private").as_bytes());
        client.gone().await;
        while let Some(Ok(bytes)) = soon(stream.receive.data()).await {
            assert_eq!(bytes, b""[..], "more than one request");
        }
    }
    assert_eq!(relay.outcome("http_validation").await, 2);
    assert!(home.has_no_arrival());
}

over_ipv6! {
    a_home_s_name_is_sent_to_https_and_validations_are_not,
    what_two_servers_could_read_in_two_ways_is_refused,
    a_request_must_come_in_time,
}
