use proptest::prelude::*;

use super::*;

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let line = |(name, value): &(&str, &str)| {
        (
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        )
    };
    let mut headers = HeaderMap::new();
    for (name, value) in lines.iter().map(line) {
        headers.append(name, value);
    }
    headers
}

fn sent(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = headers(lines);
    let edge = Edge {
        address: Some("203.0.113.7:4711".parse().unwrap()),
        authority: &"home.example.org".parse().unwrap(),
        prefix: "/radicale",
    };
    to_server(&mut headers, &edge);
    headers
}

/// What home says of each request, sorted.
const SAID: [(&str, &str); 6] = [
    (
        "forwarded",
        "for=203.0.113.7;host=\"home.example.org\";proto=https",
    ),
    ("x-forwarded-for", "203.0.113.7"),
    ("x-forwarded-host", "home.example.org"),
    ("x-forwarded-prefix", "/radicale"),
    ("x-forwarded-proto", "https"),
    ("x-script-name", "/radicale"),
];

fn listed(headers: &HeaderMap) -> Vec<(&str, &str)> {
    let mut listed: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    listed.sort_unstable();
    listed
}

#[test]
fn a_server_hears_who_came_from_home_alone() {
    for name in [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-user",
        "x-forwarded-anything",
        "x-script-name",
        "x_forwarded_for",
        "x-forwarded_for",
        "x_script_name",
        "x-real-ip",
        "x_real_ip",
        "x-remote-user",
        "remote-user",
        "remote_user",
        "x-original-url",
        "x-rewrite-url",
        "proxy",
        "client-ip",
    ] {
        let headers = sent(&[(name, "spoofed"), (name, "twice")]);
        assert_eq!(listed(&headers), SAID, "{name}");
    }
    // Nor can they be struck out.
    let headers = sent(&[(
        "connection",
        "x-forwarded-for, forwarded, x-script-name, host",
    )]);
    assert_eq!(listed(&headers), SAID);
}

#[test]
fn what_is_of_one_connection_ends_here() {
    let lines = [
        ("connection", "close, X-Secret"),
        ("connection", "keep-alive ,te"),
        ("x-secret", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("trailer", "x-checksum"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic eDp5"),
        ("expect", "100-continue"),
        ("host", "other.example.org"),
    ];
    let rest = [("http2-settings", "AAMAAABkAAQAAP__")];
    let expected: Vec<_> = SAID[..1]
        .iter()
        .chain(&rest)
        .chain(&SAID[1..])
        .copied()
        .collect();
    assert_eq!(listed(&sent(&lines)), expected);
}

#[test]
fn what_is_for_the_server_stays_as_it_came() {
    let lines = [
        ("accept-encoding", "gzip"),
        ("authorization", "Basic bWU6cGFzcw=="),
        ("depth", "1"),
        ("destination", "https://home.example.org/radicale/b"),
        ("if", "(<urn:x>)"),
        ("oc-chunked", "1"),
        ("origin", "https://home.example.org"),
    ];
    let headers = sent(&lines);
    for (name, value) in lines {
        assert_eq!(headers[name], value);
    }
    // It is counted anew.
    assert!(!sent(&[("content-length", "5")]).contains_key("content-length"));
    let cookies = sent(&[("cookie", "a=1"), ("cookie", "b=2; c=3")]);
    let cookies: Vec<_> = cookies.get_all("cookie").iter().collect();
    assert_eq!(cookies, ["a=1; b=2; c=3"]);
}

#[test]
fn an_address_that_is_not_known_is_not_made_up() {
    let mut headers = headers(&[("x-forwarded-for", "198.51.100.1")]);
    let authority = "home.example.org:8443".parse().unwrap();
    to_server(
        &mut headers,
        &Edge {
            address: None,
            authority: &authority,
            prefix: "",
        },
    );
    let expected = [
        (
            "forwarded",
            "for=unknown;host=\"home.example.org:8443\";proto=https",
        ),
        ("x-forwarded-host", "home.example.org:8443"),
        ("x-forwarded-proto", "https"),
    ];
    assert_eq!(listed(&headers), expected);
    let address = Some("[2001:db8::7]:1".parse().unwrap());
    to_server(
        &mut headers,
        &Edge {
            address,
            authority: &authority,
            prefix: "",
        },
    );
    assert!(
        headers["forwarded"]
            .to_str()
            .unwrap()
            .starts_with("for=\"[2001:db8::7]\";")
    );
    assert_eq!(headers["x-forwarded-for"], "2001:db8::7");
    let address = Some("[::ffff:192.0.2.1]:1".parse().unwrap());
    to_server(
        &mut headers,
        &Edge {
            address,
            authority: &authority,
            prefix: "",
        },
    );
    assert_eq!(headers["x-forwarded-for"], "192.0.2.1");
}

fn answered(lines: &[(&str, &str)]) -> Result<HeaderMap, MalformedAnswer> {
    let mut headers = headers(lines);
    to_visitor(StatusCode::OK, &Method::GET, &mut headers)?;
    Ok(headers)
}

#[test]
fn an_answer_that_two_readers_would_cut_in_two_ways_is_none() {
    let (length, coding) = ("content-length", "transfer-encoding");
    for (lines, expected) in [
        (
            vec![(length, "5"), (coding, "chunked")],
            MalformedAnswer::LengthAndCoding,
        ),
        (
            vec![(coding, "chunked"), (length, "0")],
            MalformedAnswer::LengthAndCoding,
        ),
        (vec![(length, "5"), (length, "5")], MalformedAnswer::Lengths),
        (vec![(length, "5, 5")], MalformedAnswer::Lengths),
        (vec![(coding, "gzip, chunked")], MalformedAnswer::Coding),
        (vec![(coding, "gzip")], MalformedAnswer::Coding),
        (vec![(coding, "identity")], MalformedAnswer::Coding),
        (
            vec![(coding, "chunked"), (coding, "chunked")],
            MalformedAnswer::Coding,
        ),
        (vec![(coding, "chunked;q=1")], MalformedAnswer::Coding),
    ] {
        assert_eq!(answered(&lines), Err(expected), "{lines:?}");
    }
    let mut none = HeaderMap::new();
    let switched = to_visitor(StatusCode::SWITCHING_PROTOCOLS, &Method::GET, &mut none);
    assert_eq!(switched, Err(MalformedAnswer::Switched));
}

#[test]
fn an_answer_keeps_all_but_its_connection() {
    let lines = [
        ("connection", "keep-alive, x-hop"),
        ("dav", "1, 3, addressbook"),
        ("keep-alive", "timeout=5"),
        ("location", "http://elsewhere.example/x"),
        ("server", "Radicale"),
        ("set-cookie", "a=1; Path=/; Secure"),
        ("set-cookie", "b=2"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("www-authenticate", "Basic realm=\"Radicale\""),
        ("x-hop", "1"),
    ];
    let expected = [
        ("dav", "1, 3, addressbook"),
        ("location", "http://elsewhere.example/x"),
        ("server", "Radicale"),
        ("set-cookie", "a=1; Path=/; Secure"),
        ("set-cookie", "b=2"),
        ("www-authenticate", "Basic realm=\"Radicale\""),
    ];
    assert_eq!(listed(&answered(&lines).unwrap()), expected);
    let mut head = headers(&[("content-length", "5")]);
    to_visitor(StatusCode::OK, &Method::HEAD, &mut head).unwrap();
    assert_eq!(head["content-length"], "5");
}

#[test]
fn only_a_websocket_is_switched_to() {
    let wants =
        |lines: &[(&str, &str)]| wants_websocket(&Method::GET, Version::HTTP_11, &headers(lines));
    assert!(wants(&[
        ("upgrade", "websocket"),
        ("connection", "Upgrade")
    ]));
    assert!(wants(&[
        ("upgrade", "WebSocket"),
        ("connection", "keep-alive, upgrade")
    ]));
    for lines in [
        vec![("upgrade", "websocket")],
        vec![("connection", "upgrade")],
        vec![
            ("upgrade", "h2c"),
            ("connection", "upgrade, http2-settings"),
        ],
        vec![("upgrade", "websocket, h2c"), ("connection", "upgrade")],
        vec![
            ("upgrade", "websocket"),
            ("upgrade", "h2c"),
            ("connection", "upgrade"),
        ],
    ] {
        assert!(!wants(&lines), "{lines:?}");
    }
    let lines = headers(&[("upgrade", "websocket"), ("connection", "upgrade")]);
    assert!(!wants_websocket(&Method::POST, Version::HTTP_11, &lines));
    assert!(!wants_websocket(&Method::GET, Version::HTTP_10, &lines));
}

proptest! {
    /// Whatever `Connection` names and however fields are spelled.
    #[test]
    fn nothing_of_a_connection_or_of_the_edge_gets_through(
        names in proptest::collection::vec(
            prop_oneof![
                "[a-zA-Z][a-zA-Z_-]{0,12}",
                proptest::sample::select(vec!["X-Forwarded-For", "Te", "Connection", "Upgrade", "Via"])
                    .prop_map(str::to_owned),
            ], 0..8),
        options in proptest::collection::vec("[ ,a-zA-Z-]{0,12}", 0..4),
    ) {
        let mut lines: Vec<_> = names.iter().map(|name| (name.as_str(), "theirs")).collect();
        lines.extend(options.iter().map(|it| ("connection", it.as_str())));
        lines.retain(|(name, _)| name.parse::<HeaderName>().is_ok());
        let headers = sent(&lines);
        for (name, value) in SAID {
            let all: Vec<_> = headers.get_all(name).iter().collect();
            prop_assert_eq!(all, [value]);
        }
        for name in &HOP_BY_HOP {
            prop_assert!(!headers.contains_key(name));
        }
        let is_named = |name: &str| options.iter().flat_map(|it| it.split(',')).any(|it| it.trim().eq_ignore_ascii_case(name));
        for (name, _) in &lines {
            let is_ours = SAID.iter().any(|(ours, _)| name.eq_ignore_ascii_case(ours));
            prop_assert!(!is_named(name) || is_ours || !headers.contains_key(*name));
        }
    }
}
