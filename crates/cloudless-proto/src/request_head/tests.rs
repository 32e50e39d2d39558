use super::*;

/// Reads `stream` at once and byte by byte; both must end in `expected`.
#[track_caller]
fn check(stream: &[u8], expected: &Parsed) {
    let mut reader = Reader::new();
    assert_eq!(reader.push(stream), *expected);
    assert_eq!(reader.into_bytes(), stream);

    let mut reader = Reader::new();
    let mut parsed = Parsed::Incomplete;
    for (at, byte) in stream.iter().enumerate() {
        let next = reader.push(&[*byte]);
        if parsed != Parsed::Incomplete {
            assert_eq!(next, parsed, "the outcome changed after byte {at}");
        }
        parsed = next;
    }
    assert_eq!(parsed, *expected);
    assert_eq!(reader.bytes(), stream);
}

#[track_caller]
fn check_request(head: &str, target_path: &str, host: Option<&str>, port: Option<u16>) {
    let expected = RequestHead {
        method: head[..head.find(' ').unwrap()].trim_start().to_owned(),
        target_path: target_path.to_owned(),
        host: host.map(|host| host.parse().unwrap()),
        port,
    };
    check(head.as_bytes(), &Parsed::Request(expected));
}

#[track_caller]
fn check_malformed(stream: &[u8], expected: Malformed) {
    check(stream, &Parsed::Malformed(expected));
}

const HOST: &str = "home.example.test";

#[test]
fn origin_form() {
    check_request(
        "GET / HTTP/1.1\r\nHost: home.example.test\r\n\r\n",
        "/",
        Some(HOST),
        None,
    );
    check_request(
        "PROPFIND /dav/?a=b//%41 HTTP/1.1\r\nAccept: */*\r\nhOsT:\tHOME.example.TEST. \t\r\nX:\r\n\r\n",
        "/dav/?a=b//%41",
        Some(HOST),
        None,
    );
    check_request(
        "GET / HTTP/1.1\r\nHost: home.example.test:8080\r\n\r\n",
        "/",
        Some(HOST),
        Some(8080),
    );
    check_request(
        "GET / HTTP/1.1\r\nHost: home.example.test:\r\n\r\n",
        "/",
        Some(HOST),
        None,
    );
    check_request(
        "OPTIONS * HTTP/1.1\r\nHost: home.example.test\r\n\r\n",
        "*",
        Some(HOST),
        None,
    );
    check_request(
        "\r\n\r\nGET /a HTTP/1.1\r\nHost: home.example.test\r\n\r\n",
        "/a",
        Some(HOST),
        None,
    );
    check_request(
        "GET /a HTTP/1.1\r\nHost: home.example.test\r\nX: \u{e9}\ty\r\n\r\nbody\n\0",
        "/a",
        Some(HOST),
        None,
    );
}

#[test]
fn absolute_form() {
    let head = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    check_request(
        &head("http://home.example.test/a?b", HOST),
        "/a?b",
        Some(HOST),
        None,
    );
    check_request(
        &head("HTTP://Home.Example.Test", HOST),
        "/",
        Some(HOST),
        None,
    );
    check_request(
        &head("http://home.example.test?q", HOST),
        "/?q",
        Some(HOST),
        None,
    );
    check_request(
        &head("http://home.example.test:81/", "home.example.test:81"),
        "/",
        Some(HOST),
        Some(81),
    );
    check_request(
        "GET http://home.example.test/ HTTP/1.0\r\n\r\n",
        "/",
        Some(HOST),
        None,
    );
    for (target, host) in [
        ("http://home.example.test/", "other.example.test"),
        ("http://other.example.test/", HOST),
        ("http://192.0.2.1/", HOST),
        ("http://192.0.2.1/", "192.0.2.2"),
        ("http://home.example.test:81/", HOST),
        ("http://home.example.test/", ""),
    ] {
        check_malformed(head(target, host).as_bytes(), Malformed::HostMismatch);
    }
    for target in [
        "http:///a",
        "http://",
        "http://user@home.example.test/",
        "http://a b/",
    ] {
        let parsed = Reader::new().push(head(target, HOST).as_bytes());
        assert!(
            matches!(parsed, Parsed::Malformed(_)),
            "{target}: {parsed:?}"
        );
    }
}

#[test]
fn hosts_that_no_home_has() {
    for (host, port) in [
        ("", None),
        ("192.0.2.1", None),
        ("[2001:db8::1]", None),
        ("[::1]:80", Some(80)),
        ("a_b.test:8", Some(8)),
    ] {
        check_request(
            &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            "/",
            None,
            port,
        );
    }
    check_request("GET / HTTP/1.0\r\n\r\n", "/", None, None);
}

#[test]
fn malformed_hosts() {
    for host in [
        "home.example.test/",
        "user@home.example.test",
        "home.example.test, b",
        "a b",
        "a%00",
        "a:80:80",
        "a:+80",
        "a:65536",
        "a:x",
        "[::1",
        "::1",
        "[::1]x",
        "[fe80::1%25eth0]",
        "h\u{f6}me",
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        check_malformed(head.as_bytes(), Malformed::Host);
    }
    for second in [HOST, "other.test"] {
        let head = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX: y\r\nhost: {second}\r\n\r\n");
        check_malformed(head.as_bytes(), Malformed::DuplicateHost);
    }
    check_malformed(
        b"GET / HTTP/1.1\r\nX-Host: a\r\n\r\n",
        Malformed::MissingHost,
    );
}

#[test]
fn malformed_lines() {
    let check_field = |field: &[u8], expected| {
        let head = [b"GET / HTTP/1.1\r\nHost: a.test\r\n", field, b"\r\n\r\n"].concat();
        check_malformed(&head, expected);
    };
    check_field(b"X: y\r\n folded", Malformed::ObsFold);
    check_field(b"\tfolded", Malformed::ObsFold);
    check_field(b"Host : b.test", Malformed::FieldLine);
    check_field(b": y", Malformed::FieldLine);
    check_field(b"no colon", Malformed::FieldLine);
    check_field(b"X: y\nHost: b.test", Malformed::BareLineFeed);
    check_field(b"X: y\rHost: b.test", Malformed::BareCarriageReturn);
    check_field(b"X: y\r\r", Malformed::BareCarriageReturn);
    check_field(b"X: \0", Malformed::Nul);
    check_field(b"X: \x0b", Malformed::ControlCharacter(0x0b));
    check_field(b"X: \x7f", Malformed::ControlCharacter(0x7f));
    check_malformed(b"GET / HTTP/1.1\nHost: a.test\n\n", Malformed::BareLineFeed);
    check_malformed(b"\nGET / HTTP/1.1\r\n", Malformed::BareLineFeed);
    check_malformed(
        b"GET / HTTP/1.1\r\nHost: a.test\r\n\n",
        Malformed::BareLineFeed,
    );
}

#[test]
fn malformed_request_lines() {
    for line in [
        "GET /",
        "GET",
        "GET  / HTTP/1.1",
        "GET / a HTTP/1.1",
        " GET / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "G\u{e9}T / HTTP/1.1",
        "GET / http/1.1",
        "SSH-2.0-x",
        "G:T / HTTP/1.1",
    ] {
        check_malformed(format!("{line}\r\n").as_bytes(), Malformed::RequestLine);
    }
    for version in [
        "HTTP/2.0",
        "HTTP/0.9",
        "HTTP/1.2",
        "HTTP/1.10",
        "HTTP/1",
        "HTTP/",
    ] {
        check_malformed(
            format!("GET / {version}\r\n").as_bytes(),
            Malformed::Version,
        );
    }
    for target in [
        "a",
        "https://a.test/",
        "ftp://a.test/",
        "http:/a",
        "/a#b",
        "/\u{e9}",
        "**",
        "http:\u{20ac}",
    ] {
        check_malformed(
            format!("GET {target} HTTP/1.1\r\n").as_bytes(),
            Malformed::Target,
        );
    }
    check_malformed(b"CONNECT a.test:443 HTTP/1.1\r\n", Malformed::AuthorityForm);
    check_malformed(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Malformed::Http2);
    check_malformed(&[22, 3, 1, 2, 0, 1], Malformed::ControlCharacter(22));
}

#[test]
fn the_limit_is_exact() {
    let head = |length: usize| {
        let start = "GET / HTTP/1.1\r\nHost: home.example.test\r\nX: ";
        let end = "\r\n\r\n";
        format!(
            "{start}{}{end}",
            "x".repeat(length - start.len() - end.len())
        )
    };
    check_request(&head(MAX_LEN), "/", Some(HOST), None);
    check_request(&(head(MAX_LEN) + "body"), "/", Some(HOST), None);
    check(head(MAX_LEN + 1).as_bytes(), &Parsed::TooLong);
    check("\r\n".repeat(MAX_LEN / 2).as_bytes(), &Parsed::TooLong);
}

#[test]
fn the_bytes_never_move() {
    let mut reader = Reader::new();
    let start = reader.bytes().as_ptr();
    for byte in std::iter::repeat_n(b'x', MAX_LEN) {
        reader.push(&[byte]);
    }
    let bytes = reader.into_bytes();
    assert_eq!(bytes.as_ptr(), start);
}

#[test]
fn a_validation_is_written_anew_and_leads_nowhere_else() {
    let head = |path: &str| {
        let text = format!("GET {path} HTTP/1.1\r\nHost: A.example:80\r\nCookie: x\r\n\r\n");
        match Reader::new().push(text.as_bytes()) {
            Parsed::Request(head) => head,
            parsed => panic!("{parsed:?}"),
        }
    };
    for path in [
        "/.well-known/acme-challenge/evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr_oA",
        "/.well-known/pki-validation/fileauth.txt",
    ] {
        let request = head(path).validation_request().unwrap();
        let expected = format!(
            "GET {path} HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(String::from_utf8(request).unwrap(), expected);
    }
    for path in [
        "/.well-known/acme-challenge/",
        "/.well-known/acme-challenge/../../admin",
        "/.well-known/acme-challenge/..",
        "/.well-known/acme-challenge/a/b",
        "/.well-known/acme-challenge/%2e%2e",
        "/.well-known/acme-challenge/a?b",
        "/.well-known/acme-challenge/a;b",
        "/.well-known/carddav",
        "/",
    ] {
        assert_eq!(head(path).validation_request(), None, "{path}");
    }
    let mut post = head("/.well-known/acme-challenge/a");
    post.method = "POST".to_owned();
    assert_eq!(post.validation_request(), None);
    assert!(post.is_validation());
}
