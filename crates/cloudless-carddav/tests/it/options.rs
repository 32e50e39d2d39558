//! OPTIONS, and methods that a resource does not have.

use crate::harness::{BOOK, HOME_SET, PRINCIPAL, Server, card};

const COLLECTION: &str = "OPTIONS, GET, HEAD, PROPFIND, PROPPATCH";
const ADDRESS_BOOK: &str =
    "OPTIONS, GET, HEAD, POST, DELETE, COPY, MOVE, PROPFIND, PROPPATCH, REPORT";
const PLAIN_COLLECTION: &str = "OPTIONS, GET, HEAD, DELETE, COPY, MOVE, PROPFIND, PROPPATCH";
const PLAIN: &str = "OPTIONS, GET, HEAD, PUT, DELETE, COPY, MOVE, PROPFIND, PROPPATCH";
const CARD: &str = "OPTIONS, GET, HEAD, PUT, DELETE, COPY, MOVE, PROPFIND, PROPPATCH, REPORT";

#[tokio::test]
async fn options_tell_the_compliance_classes_and_the_methods() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    let card = format!("{BOOK}a.vcf");
    for (path, allow) in [
        ("/", COLLECTION),
        ("/dav/", COLLECTION),
        (PRINCIPAL, COLLECTION),
        (HOME_SET, COLLECTION),
        (BOOK, ADDRESS_BOOK),
        (&card, CARD),
        ("/dav/files/", COLLECTION),
        ("/dav/files/me/", PLAIN_COLLECTION),
        ("/dav/files/me/f", "OPTIONS, PUT, MKCOL"),
    ] {
        let answer = server.send("OPTIONS", path, &[], "").await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (200, allow),
            "{path}"
        );
        assert_eq!(
            answer.header("dav"),
            "1, 3, addressbook, extended-mkcol",
            "{path}"
        );
        assert!(answer.body.is_empty());
    }
    for path in [
        "/nothing",
        "/dav/addressbooks/me/other/",
        "/dav/addressbooks/me/other/a.vcf",
    ] {
        assert_eq!(
            server.send("OPTIONS", path, &[], "").await.status,
            404,
            "{path}"
        );
    }
}

/// What `Allow` says is what happens, both ways.
#[tokio::test]
async fn each_method_is_allowed_or_405() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    server.send("PUT", "/dav/files/me/f", &[], "x").await;
    let card_path = format!("{BOOK}a.vcf");
    for (path, allow) in [
        ("/", COLLECTION),
        ("/dav/", COLLECTION),
        ("/dav/principals/", COLLECTION),
        (PRINCIPAL, COLLECTION),
        (HOME_SET, COLLECTION),
        (BOOK, ADDRESS_BOOK),
        (&card_path, CARD),
        ("/dav/files/", COLLECTION),
        ("/dav/files/me/", PLAIN_COLLECTION),
        ("/dav/files/me/f", PLAIN),
    ] {
        for method in [
            "OPTIONS",
            "GET",
            "HEAD",
            "PROPFIND",
            "REPORT",
            "PUT",
            "POST",
            "PATCH",
            "PROPPATCH",
            "MKCOL",
            "COPY",
            "MOVE",
            "LOCK",
            "UNLOCK",
            "ACL",
            "TRACE",
            "propfind",
            "DELETE",
        ] {
            let answer = server
                .send(method, path, &[("depth", "0")], card("a", "Ann"))
                .await;
            if allow.split(", ").any(|allowed| allowed == method) {
                assert_ne!(answer.status, 405, "{method} {path}");
            } else {
                assert_eq!(answer.status, 405, "{method} {path}");
                assert_eq!(answer.header("allow"), allow, "{method} {path}");
            }
        }
    }
}
