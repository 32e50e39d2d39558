//! DELETE.

use cloudless_store::VersionKind;

use crate::harness::{BOOK, HOME_SET, Server, card};

#[tokio::test]
async fn a_deleted_card_is_gone_and_in_the_history() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    let path = format!("{BOOK}a.vcf");
    // Thunderbird sends a content type here.
    let answer = server
        .send("DELETE", &path, &[("content-type", "text/xml")], "")
        .await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(server.send("GET", &path, &[], "").await.status, 404);
    assert_eq!(server.send("DELETE", &path, &[], "").await.status, 404);
    let versions = server.store.versions(server.book().id, "a.vcf").unwrap();
    let kinds: Vec<_> = versions.iter().map(|version| version.kind).collect();
    assert_eq!(kinds, [VersionKind::Created, VersionKind::Deleted]);
    assert!(versions[1].device.is_some(), "who deleted it is recorded");
}

#[tokio::test]
async fn a_condition_that_does_not_hold_saves_the_card() {
    let server = Server::start();
    let old = server.put("a.vcf", card("a", "Ann")).await;
    let new = server.put("a.vcf", card("a", "Anna")).await;
    let path = format!("{BOOK}a.vcf");
    let delete = async |name: &str, value: &str| {
        server
            .send("DELETE", &path, &[(name, value)], "")
            .await
            .status
    };
    let weak = format!("W/{new}");
    assert_eq!(delete("if-match", &old).await, 412);
    assert_eq!(
        delete("if-match", &weak).await,
        412,
        "a weak tag never matches strongly"
    );
    assert_eq!(delete("if-none-match", "*").await, 412);
    assert_eq!(
        delete("if-match", new.trim_matches('"')).await,
        400,
        "without quotes"
    );
    assert_eq!(
        delete("if-unmodified-since", "Sat, 01 Aug 2026 12:00:00 GMT").await,
        400
    );
    assert_eq!(delete("if", "(<opaquelocktoken:x>)").await, 412);
    assert_eq!(
        server.send("GET", &path, &[], "").await.text(),
        card("a", "Anna")
    );
    assert_eq!(delete("if-match", &format!("\"x\", {new}")).await, 204);
    assert_eq!(
        delete("if-match", "*").await,
        412,
        "there is no card any more"
    );
}

/// RFC 9110 §13.1.4: with an ETag the date says nothing.
#[tokio::test]
async fn a_date_beside_if_match_is_ignored() {
    let server = Server::start();
    let etag = server.put("a.vcf", card("a", "Ann")).await;
    let path = format!("{BOOK}a.vcf");
    let long_ago = ("if-unmodified-since", "Sat, 29 Oct 1994 19:43:31 GMT");
    for (etag, status) in [("\"x\"", 412), (&etag, 204)] {
        let headers = [("if-match", etag), long_ago];
        let answer = server.send("DELETE", &path, &headers, "").await;
        assert_eq!(answer.status, status);
    }
}

/// RFC 4918 §9.6.1: there is no DELETE of an address book alone.
#[tokio::test]
async fn an_address_book_is_deleted_as_a_whole_or_not_at_all() {
    let server = Server::start();
    let path = format!("{HOME_SET}friends/");
    assert_eq!(server.send("MKCOL", &path, &[], "").await.status, 201);
    for (depth, status) in [("0", 400), ("1", 400), ("2", 400), ("infinity", 204)] {
        let answer = server.send("DELETE", &path, &[("depth", depth)], "").await;
        assert_eq!(answer.status, status, "{depth}");
    }
}

#[tokio::test]
async fn only_cards_can_be_deleted() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    assert_eq!(server.send("DELETE", BOOK, &[], "").await.status, 403);
    assert_eq!(server.send("DELETE", HOME_SET, &[], "").await.status, 405);
    let other = "/dav/addressbooks/me/other/";
    assert_eq!(server.send("DELETE", other, &[], "").await.status, 404);
    assert_eq!(
        server
            .send("DELETE", &format!("{other}a.vcf"), &[], "")
            .await
            .status,
        404
    );
    assert_eq!(
        server
            .send("GET", &format!("{BOOK}a.vcf"), &[], "")
            .await
            .status,
        200
    );
}
