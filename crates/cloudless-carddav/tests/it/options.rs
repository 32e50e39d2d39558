//! OPTIONS, and methods that a resource does not have.

use crate::harness::{BOOK, HOME_SET, PRINCIPAL, Server, card, sync_collection};

const COLLECTION: &str = "OPTIONS, GET, HEAD, PROPFIND, PROPPATCH";
const HOME: &str = "OPTIONS, GET, HEAD, PROPFIND, PROPPATCH, REPORT";
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
        (HOME_SET, HOME),
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
        (HOME_SET, HOME),
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

#[tokio::test]
async fn rfc_9110_9_3_7_an_asterisk_asks_for_the_server_as_a_whole() {
    let server = Server::start();
    let answer = server.send("OPTIONS", "*", &[], "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("dav"), "1, 3, addressbook, extended-mkcol");
    assert!(answer.body.is_empty());
    assert_eq!(server.send("GET", "*", &[], "").await.status, 404);
}

#[tokio::test]
async fn rfc_3253_3_6_the_home_set_names_the_precondition_of_a_report() {
    let server = Server::start();
    let report = sync_collection(&["D:getetag"], "", "");
    let answer = server.send("REPORT", HOME_SET, &[], report).await;
    answer.assert_condition(403, "DAV:", "supported-report");
}
