//! GET and HEAD of cards, and of collections in a browser.

use crate::harness::{BOOK, HOME_SET, PRINCIPAL, Server, card};

#[tokio::test]
async fn a_card_comes_back_with_its_validators() {
    let server = Server::start();
    let etag = server.put("a.vcf", card("a", "Ann")).await;
    let path = format!("{BOOK}a.vcf");
    let get = server.send("GET", &path, &[], "").await;
    assert_eq!(get.status, 200);
    assert_eq!(get.text(), card("a", "Ann"));
    assert_eq!(
        get.header("content-type"),
        "text/vcard; charset=utf-8; version=3.0"
    );
    assert_eq!(get.header("vary"), "Accept");
    assert_eq!(get.header("etag"), etag);
    assert_eq!(get.header("last-modified"), "Sat, 01 Aug 2026 12:00:00 GMT");
    assert_eq!(
        get.header("content-length"),
        card("a", "Ann").len().to_string()
    );
    assert_eq!(get.header("x-content-type-options"), "nosniff");
    let head = server.send("HEAD", &path, &[], "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.headers, get.headers);
}

/// RFC 9110 §13.1.1: what a client asks for is this version and no other.
#[tokio::test]
async fn if_match_compares_strongly() {
    let server = Server::start();
    let etag = server.put("a.vcf", card("a", "Ann")).await;
    let path = format!("{BOOK}a.vcf");
    let weak = format!("W/{etag}");
    let list = format!("\"x\", {etag}");
    for (value, status) in [
        ("*", 200),
        (&etag, 200),
        (&list, 200),
        (&weak, 412),
        ("\"x\"", 412),
        ("x", 400),
    ] {
        for method in ["GET", "HEAD"] {
            let headers = [("if-match", value)];
            let answer = server.send(method, &path, &headers, "").await;
            assert_eq!(answer.status, status, "{method} {value}");
        }
    }
    // It comes before If-None-Match (§13.2.2).
    let both = [("if-match", "\"x\""), ("if-none-match", "*")];
    assert_eq!(server.send("GET", &path, &both, "").await.status, 412);
}

#[tokio::test]
async fn if_none_match_compares_weakly() {
    let server = Server::start();
    let etag = server.put("a.vcf", card("a", "Ann")).await;
    let path = format!("{BOOK}a.vcf");
    let weak = format!("W/{etag}");
    let list = format!("\"x,y\", {etag}");
    for value in ["*", &etag, &weak, &list] {
        for method in ["GET", "HEAD"] {
            let answer = server
                .send(method, &path, &[("if-none-match", value)], "")
                .await;
            assert_eq!(
                (answer.status, answer.body.len()),
                (304, 0),
                "{method} {value}"
            );
            assert_eq!(answer.header("etag"), etag);
        }
    }
    for value in ["\"other\"", "W/\"other\""] {
        let answer = server
            .send("GET", &path, &[("if-none-match", value)], "")
            .await;
        assert_eq!(answer.status, 200, "{value}");
    }
    let unquoted = etag.trim_matches('"');
    let answer = server
        .send("GET", &path, &[("if-none-match", unquoted)], "")
        .await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn the_etag_is_of_the_bytes() {
    let server = Server::start();
    let first = server.put("a.vcf", card("a", "Ann")).await;
    let second = server.put("a.vcf", card("a", "Anna")).await;
    assert_ne!(first, second);
    assert_eq!(
        server.put("a.vcf", card("a", "Ann")).await,
        first,
        "the same bytes again"
    );
    assert!(
        first.starts_with('"') && first.ends_with('"') && first.len() > 30,
        "{first}"
    );
}

#[tokio::test]
async fn a_browser_is_told_what_a_collection_is() {
    let server = Server::start();
    for (path, word) in [
        ("/", "CardDAV"),
        (PRINCIPAL, "me"),
        (HOME_SET, "address books"),
        (BOOK, "Contacts"),
    ] {
        let answer = server.send("GET", path, &[], "").await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        let text = answer.text();
        assert!(text.contains(word), "{path}: {text}");
        let head = server.send("HEAD", path, &[], "").await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert_eq!(head.header("content-length"), text.len().to_string());
    }
}

#[tokio::test]
async fn what_does_not_exist_is_404() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    for path in ["b.vcf", "A.vcf", "a.vcf/", "a.vcf%00", "%2fa.vcf"] {
        for method in ["GET", "HEAD"] {
            let path = format!("{BOOK}{path}");
            let answer = server.send(method, &path, &[], "").await;
            assert_eq!(answer.status, 404, "{path}");
            assert_eq!(answer.body.is_empty(), method == "HEAD", "{path}");
        }
    }
    let path = "/dav/addressbooks/me/other/a.vcf";
    assert_eq!(server.send("GET", path, &[], "").await.status, 404);
}
