//! COPY and MOVE of cards (RFC 4918 §9.8, §9.9).

use crate::harness::{Answer, BOOK, HOME_SET, Server, card};

const CARDDAV: &str = "urn:ietf:params:xml:ns:carddav";
const FRIENDS: &str = "/dav/addressbooks/me/friends/";

async fn server() -> Server {
    let server = Server::start();
    server.send("MKCOL", FRIENDS, &[], "").await;
    server.put("a.vcf", card("a", "Ann")).await;
    server
}

/// Copies or moves `a.vcf` of the personal address book.
async fn transfer(server: &Server, method: &str, to: &str, more: &[(&str, &str)]) -> Answer {
    let mut headers = vec![("destination", to)];
    headers.extend(more);
    let path = format!("{BOOK}a.vcf");
    server.send(method, &path, &headers, "").await
}

async fn get(server: &Server, path: &str) -> Option<String> {
    let answer = server.send("GET", path, &[], "").await;
    (answer.status == 200).then(|| answer.text().to_owned())
}

#[tokio::test]
async fn a_card_goes_to_another_address_book() {
    for (method, stays) in [("COPY", true), ("MOVE", false)] {
        for to in [
            "/dav/addressbooks/me/friends/b%20c.vcf",
            "https://Example.org:444/dav/addressbooks/me/friends/b%20c.vcf",
        ] {
            let server = server().await;
            let host = [("host", "example.org")];
            let answer = transfer(&server, method, to, &host).await;
            assert_eq!((answer.status, answer.text()), (201, ""), "{method}");
            let there = get(&server, &format!("{FRIENDS}b%20c.vcf")).await;
            assert_eq!(there, Some(card("a", "Ann")));
            assert_eq!(get(&server, &format!("{BOOK}a.vcf")).await.is_some(), stays);
        }
    }
}

#[tokio::test]
async fn overwrite_says_whether_a_card_may_be_replaced() {
    for method in ["COPY", "MOVE"] {
        let server = server().await;
        let to = format!("{FRIENDS}b.vcf");
        server.send("PUT", &to, &[], card("b", "Bob")).await;
        let answer = transfer(&server, method, &to, &[("overwrite", "F")]).await;
        assert_eq!(answer.status, 412);
        assert_eq!(get(&server, &to).await, Some(card("b", "Bob")));
        let answer = transfer(&server, method, &to, &[("overwrite", "x")]).await;
        assert_eq!(answer.status, 400);
        let answer = transfer(&server, method, &to, &[("overwrite", "T")]).await;
        assert_eq!(answer.status, 204);
        assert_eq!(get(&server, &to).await, Some(card("a", "Ann")));
    }
}

/// RFC 6352 §6.3.2.1. A copy within the book would be a second card of the same UID.
#[tokio::test]
async fn a_uid_stays_unique_in_an_address_book() {
    let server = server().await;
    let answer = transfer(&server, "COPY", &format!("{BOOK}b.vcf"), &[]).await;
    answer.assert_condition(409, CARDDAV, "no-uid-conflict");
    assert!(
        answer
            .text()
            .contains(&format!("<D:href>{BOOK}a.vcf</D:href>"))
    );
    let answer = transfer(&server, "MOVE", &format!("{BOOK}b.vcf"), &[]).await;
    assert_eq!(answer.status, 201, "a new name");
    server.put("c.vcf", card("c", "Cleo")).await;
    let there = format!("{FRIENDS}other.vcf");
    server.send("PUT", &there, &[], card("c", "Cleo")).await;
    let to = [("destination", "/dav/addressbooks/me/friends/c.vcf")];
    let answer = server.send("MOVE", &format!("{BOOK}c.vcf"), &to, "").await;
    answer.assert_condition(409, CARDDAV, "no-uid-conflict");
    assert_eq!(
        get(&server, &format!("{BOOK}c.vcf")).await,
        Some(card("c", "Cleo"))
    );
}

#[tokio::test]
async fn conditions_are_those_of_the_source() {
    let server = server().await;
    let etag = server.put("a.vcf", card("a", "Anna")).await;
    let to = format!("{FRIENDS}a.vcf");
    let stale = [("if-match", "\"stale\"")];
    assert_eq!(transfer(&server, "MOVE", &to, &stale).await.status, 412);
    let current = [("if-match", etag.as_str())];
    assert_eq!(transfer(&server, "MOVE", &to, &current).await.status, 201);
}

#[tokio::test]
async fn a_destination_that_is_none_is_refused() {
    let server = server().await;
    let book = FRIENDS.to_owned();
    let itself = format!("{BOOK}a.vcf");
    let slash = "/dav/addressbooks/me/friends/a%2Fb.vcf";
    for (to, status) in [
        ("/dav/addressbooks/me/none/a.vcf", 409),
        ("/dav/addressbooks/you/contacts/a.vcf", 403),
        (HOME_SET, 403),
        (&book, 403),
        (&itself, 403),
        ("/", 403),
        (slash, 400),
        (
            "http://elsewhere.example/dav/addressbooks/me/friends/a.vcf",
            502,
        ),
        ("ftp://example.org/dav/addressbooks/me/friends/a.vcf", 502),
        ("file:///dav/addressbooks/me/friends/a.vcf", 502),
        ("not a uri", 400),
        ("", 400),
    ] {
        for method in ["COPY", "MOVE"] {
            let host = [("host", "example.org:8443")];
            let answer = transfer(&server, method, to, &host).await;
            assert_eq!(answer.status, status, "{method} {to}");
        }
    }
    let path = format!("{BOOK}a.vcf");
    assert_eq!(server.send("MOVE", &path, &[], "").await.status, 400);
    let to = [("destination", "/dav/addressbooks/me/friends/x.vcf")];
    let missing = format!("{BOOK}no.vcf");
    assert_eq!(server.send("COPY", &missing, &to, "").await.status, 404);
    assert_eq!(get(&server, &path).await, Some(card("a", "Ann")));
}
