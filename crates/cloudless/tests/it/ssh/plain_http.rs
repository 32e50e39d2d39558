//! Port 80 through an sshd: nothing but what certificate authorities ask is answered there.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::ssh::home::Home;
use crate::ssh::sshd::{RECIPE, Sshd, free_address};

#[test]
fn plain_http_is_redirected_and_validations_that_nobody_asked_for_are_not_found() {
    let Some(sshd) = Sshd::start(RECIPE) else {
        return;
    };
    let (https, http) = (free_address(), free_address());
    let more = format!("forward_http = \"{http}\"\n");
    let mut home = Home::set_up(&sshd, &https.to_string(), &more);
    home.start();
    home.await_tunnel();
    for (request, status, location) in [
        (
            "GET /dav/?a=b HTTP/1.1\r\nHost: localhost\r\n",
            "308",
            Some("https://localhost/dav/?a=b"),
        ),
        ("GET / HTTP/1.1\r\nHost: stranger.example\r\n", "404", None),
        (
            "GET /.well-known/acme-challenge/abc HTTP/1.1\r\nHost: localhost\r\n",
            "404",
            None,
        ),
        (
            "POST /.well-known/acme-challenge/abc HTTP/1.1\r\nHost: localhost\r\n",
            "404",
            None,
        ),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n",
            "400",
            None,
        ),
        ("\x16\x03\x01\x02\x00\x01\r\n", "400", None),
    ] {
        let answer = ask(http, request);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request:?}: {answer:?}"
        );
        let found = answer
            .lines()
            .find_map(|line| line.strip_prefix("Location: "));
        assert_eq!(found, location, "{request:?}");
    }
    // And on port 443 there is no plain HTTP.
    assert_eq!(ask(https, "GET / HTTP/1.1\r\nHost: localhost\r\n"), "");
}

/// The answer to a request head, to the end.
fn ask(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}
