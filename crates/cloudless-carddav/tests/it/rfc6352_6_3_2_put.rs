//! PUT of cards.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use cloudless_store::{Timestamp, VersionKind};
use http_body::Frame;

use crate::harness::{Answer, BOOK, PASSWORD, Server, basic, card, now};

const CARDDAV: &str = "urn:ietf:params:xml:ns:carddav";

/// The bodies that were refused under a name, with the reasons.
fn refused(server: &Server, name: &str) -> Vec<(Vec<u8>, String)> {
    let versions = server.store.versions(server.book().id, name).unwrap();
    let refused = versions
        .into_iter()
        .filter(|it| it.kind == VersionKind::Refused);
    refused
        .map(|it| (it.bytes.unwrap(), it.reason.unwrap()))
        .collect()
}

async fn put(server: &Server, name: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    server
        .send("PUT", &format!("{BOOK}{name}"), headers, body.to_owned())
        .await
}

#[tokio::test]
async fn creating_is_201_and_changing_204_with_the_etag() {
    let server = Server::start();
    let created = put(&server, "a.vcf", &[], &card("a", "Ann")).await;
    assert_eq!((created.status, created.body.len()), (201, 0));
    let changed = put(&server, "a.vcf", &[], &card("a", "Anna")).await;
    assert_eq!((changed.status, changed.body.len()), (204, 0));
    let same = put(&server, "a.vcf", &[], &card("a", "Anna")).await;
    assert_eq!(same.status, 204);
    assert_ne!(created.header("etag"), changed.header("etag"));
    assert_eq!(same.header("etag"), changed.header("etag"));
    let get = server.send("GET", &format!("{BOOK}a.vcf"), &[], "").await;
    assert_eq!(get.header("etag"), changed.header("etag"));
    assert_eq!(get.text(), card("a", "Anna"));
    let versions = server.store.versions(server.book().id, "a.vcf").unwrap();
    assert_eq!(versions.len(), 2, "writing the same bytes is no change");
    assert_eq!(versions[0].at, Timestamp::from(now()));
    let phone = server.store.devices(Some("me")).unwrap().remove(0).id;
    assert_eq!(versions[0].device, Some(phone));
}

#[tokio::test]
async fn the_content_type_is_that_of_a_vcard_in_any_spelling() {
    let server = Server::start();
    for content_type in [
        "text/vcard",
        "text/vcard; charset=utf-8",
        "TEXT/VCARD;CHARSET=\"UTF-8\"",
        "text/vcard;version=4.0",
        "text/x-vcard",
        "text/directory;profile=vCard",
        "",
        " text/vcard ",
    ] {
        let body = card("a", content_type.trim_matches(' '));
        let answer = put(&server, "a.vcf", &[("content-type", content_type)], &body).await;
        assert!(
            matches!(answer.status, 201 | 204),
            "{content_type:?}: {answer:?}"
        );
    }
    assert_eq!(
        put(&server, "a.vcf", &[], &card("a", "none")).await.status,
        204
    );
    for content_type in [
        "text/calendar",
        "application/xml",
        "text/plain",
        "text/vcards",
        "text",
    ] {
        let body = card("a", content_type);
        let answer = put(&server, "a.vcf", &[("content-type", content_type)], &body).await;
        answer.assert_condition(415, CARDDAV, "supported-address-data");
    }
    let kept = refused(&server, "a.vcf");
    assert_eq!(kept.len(), 5);
    assert_eq!(kept[0].0, card("a", "text/calendar").into_bytes());
    let get = server.send("GET", &format!("{BOOK}a.vcf"), &[], "").await;
    assert_eq!(get.text(), card("a", "none"));
}

#[tokio::test]
async fn what_is_not_one_vcard_is_refused_and_kept() {
    let server = Server::start();
    let good = card("a", "Ann");
    let two = good.repeat(2);
    let half = good.replace("END:VCARD\r\n", "");
    let bodies = [
        "",
        "nonsense",
        "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n",
        &two,
        &half,
    ];
    for body in bodies {
        let answer = put(&server, "a.vcf", &[], body).await;
        answer.assert_condition(403, CARDDAV, "valid-address-data");
        let kept = refused(&server, "a.vcf");
        let (bytes, reason) = kept.last().unwrap();
        assert_eq!(bytes, body.as_bytes());
        assert!(!reason.is_empty());
    }
    assert_eq!(refused(&server, "a.vcf").len(), bodies.len());
    assert_eq!(
        server
            .send("GET", &format!("{BOOK}a.vcf"), &[], "")
            .await
            .status,
        404
    );
    assert_eq!(server.book().revision, 0, "a client sees nothing of it");
}

#[tokio::test]
async fn a_card_may_have_10_mib_and_no_byte_more() {
    let server = Server::start();
    let limit = 10 * 1024 * 1024;
    let padding = limit - card("a", "").len() - "NOTE:\r\n".len();
    let body = |padding: usize| {
        card("a", "").replace("END:", &format!("NOTE:{}\r\nEND:", "x".repeat(padding)))
    };
    let fits = body(padding);
    assert_eq!(fits.len(), limit);
    assert_eq!(put(&server, "a.vcf", &[], &fits).await.status, 201);
    let get = server.send("GET", &format!("{BOOK}a.vcf"), &[], "").await;
    assert_eq!(get.body, fits);
    let answer = put(&server, "a.vcf", &[], &body(padding + 1)).await;
    answer.assert_condition(413, CARDDAV, "max-resource-size");
    let get = server.send("HEAD", &format!("{BOOK}a.vcf"), &[], "").await;
    assert_eq!(get.header("content-length"), limit.to_string());
}

#[tokio::test]
async fn an_endless_body_is_read_no_further_than_the_limit() {
    struct Endless(usize);
    impl http_body::Body for Endless {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let read = &mut self.get_mut().0;
            *read += 1 << 20;
            assert!(*read <= 11 << 20, "read beyond the limit");
            Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; 1 << 20])))))
        }
    }
    let server = Server::start();
    let request = http::Request::put(format!("{BOOK}a.vcf"))
        .header("authorization", basic("me", PASSWORD))
        .body(Endless(0))
        .unwrap();
    let answer = Answer::read(server.carddav.respond(request).await).await;
    answer.assert_condition(413, CARDDAV, "max-resource-size");
}

#[tokio::test]
async fn a_body_that_breaks_off_stores_nothing() {
    struct Broken(bool);
    impl http_body::Body for Broken {
        type Data = Bytes;
        type Error = &'static str;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            let first = std::mem::replace(&mut self.get_mut().0, false);
            let whole = Frame::data(Bytes::from(card("a", "Ann")));
            Poll::Ready(Some(if first { Ok(whole) } else { Err("reset") }))
        }
    }
    let server = Server::start();
    let request = http::Request::put(format!("{BOOK}a.vcf"))
        .header("authorization", basic("me", PASSWORD))
        .body(Broken(true))
        .unwrap();
    let answer = Answer::read(server.carddav.respond(request).await).await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        server
            .send("GET", &format!("{BOOK}a.vcf"), &[], "")
            .await
            .status,
        404
    );
}

/// RFC 9110 §13.1.
#[tokio::test]
async fn conditions_decide_in_the_transaction() {
    let server = Server::start();
    let put = async |name: &str, value: &str, full_name: &str| {
        put(&server, "a.vcf", &[(name, value)], &card("a", full_name)).await
    };
    assert_eq!(put("if-match", "*", "too early").await.status, 412);
    assert_eq!(put("if-match", "\"x\"", "too early").await.status, 412);
    let created = put("if-none-match", "*", "Ann").await;
    assert_eq!(created.status, 201);
    assert_eq!(put("if-none-match", "*", "again").await.status, 412);
    let first = created.header("etag");
    let changed = put("if-match", first, "Anna").await;
    assert_eq!(changed.status, 204);
    let second = changed.header("etag");
    assert_eq!(put("if-match", first, "stale").await.status, 412);
    assert_eq!(
        put("if-match", &format!("W/{second}"), "weak").await.status,
        412
    );
    let both = format!("W/{first}, \"x,y\",, {second}");
    assert_eq!(put("if-match", &both, "Anne").await.status, 204);
    assert_eq!(put("if-match", "*", "Anni").await.status, 204);
    assert_eq!(put("if-none-match", "\"x\"", "Anouk").await.status, 204);
    let current = put("if-match", "*", "Annika").await;
    let weak = format!("W/{}", current.header("etag"));
    assert_eq!(
        put("if-none-match", &weak, "known").await.status,
        412,
        "compared weakly"
    );
    let get = server.send("GET", &format!("{BOOK}a.vcf"), &[], "").await;
    assert_eq!(get.text(), card("a", "Annika"));
    let lost = ["too early", "again", "stale", "weak", "known"];
    let kept: Vec<_> = refused(&server, "a.vcf")
        .into_iter()
        .map(|it| it.0)
        .collect();
    assert_eq!(kept, lost.map(|name| card("a", name).into_bytes()));
}

#[tokio::test]
async fn a_condition_that_cannot_be_understood_stores_nothing_and_keeps_the_body() {
    let server = Server::start();
    let etag = server.put("a.vcf", card("a", "Ann")).await;
    let unquoted = etag.trim_matches('"');
    let date = "Sat, 01 Aug 2026 12:00:00 GMT";
    let mut bodies = Vec::new();
    for (headers, status) in [
        (&[("if-match", unquoted)][..], 400),
        (&[("if-match", "")], 400),
        (&[("if-match", "\"a\" \"b\"")], 400),
        (&[("if-match", "*, \"a\"")], 400),
        (&[("if-none-match", "**")], 400),
        (&[("if-match", &etag), ("if-none-match", "\"x\"")], 400),
        (&[("if-unmodified-since", date)], 400),
        (&[("if", "([\"x\"])")], 412),
        (&[("content-range", "bytes 0-9/10")], 400),
        (&[("content-encoding", "gzip")], 415),
    ] {
        let body = card("a", &format!("edit {}", bodies.len()));
        let answer = put(&server, "a.vcf", headers, &body).await;
        assert_eq!(answer.status, status, "{headers:?}");
        bodies.push(body.into_bytes());
    }
    let kept: Vec<_> = refused(&server, "a.vcf")
        .into_iter()
        .map(|it| it.0)
        .collect();
    assert_eq!(kept, bodies);
    let get = server.send("GET", &format!("{BOOK}a.vcf"), &[], "").await;
    assert_eq!(get.text(), card("a", "Ann"));
}

#[tokio::test]
async fn two_cards_of_a_book_never_share_a_uid() {
    let server = Server::start();
    server.put("a%20b.vcf", card("same", "Ann")).await;
    let answer = put(&server, "c.vcf", &[], &card("same", "Bob")).await;
    answer.assert_condition(409, CARDDAV, "no-uid-conflict");
    let document = roxmltree::Document::parse(answer.text()).unwrap();
    let href = document
        .descendants()
        .find(|it| it.has_tag_name(("DAV:", "href")))
        .unwrap();
    assert_eq!(href.text(), Some(format!("{BOOK}a%20b.vcf").as_str()));
    assert_eq!(
        refused(&server, "c.vcf")[0].0,
        card("same", "Bob").into_bytes()
    );
    assert_eq!(
        server
            .send("GET", &format!("{BOOK}c.vcf"), &[], "")
            .await
            .status,
        404
    );
    server
        .send("DELETE", &format!("{BOOK}a%20b.vcf"), &[], "")
        .await;
    assert_eq!(
        put(&server, "c.vcf", &[], &card("same", "Bob"))
            .await
            .status,
        201
    );
    // Cards without a UID never conflict.
    let nameless = card("", "X").replace("UID:\r\n", "");
    for name in ["d.vcf", "e.vcf"] {
        assert_eq!(put(&server, name, &[], &nameless).await.status, 201);
    }
}

/// Against RFC 6352 §6.3.2.1: refused, the edit would be lost to who made it; taken, nothing is.
#[tokio::test]
async fn a_card_may_get_another_uid() {
    let server = Server::start();
    server.put("a.vcf", card("old", "Ann")).await;
    let answer = put(&server, "a.vcf", &[], &card("new", "Ann")).await;
    assert_eq!(answer.status, 204);
    let versions = server.store.versions(server.book().id, "a.vcf").unwrap();
    let kept = versions[0].bytes.as_deref();
    assert_eq!(kept, Some(card("old", "Ann").as_bytes()));
    let answer = put(&server, "b.vcf", &[], &card("old", "Ann")).await;
    assert_eq!(answer.status, 201, "nobody has it now");
    let answer = put(&server, "b.vcf", &[], &card("new", "Ann")).await;
    answer.assert_condition(409, CARDDAV, "no-uid-conflict");
}

#[tokio::test]
async fn a_card_needs_an_address_book_and_a_name() {
    let server = Server::start();
    let elsewhere = "/dav/addressbooks/me/other/a.vcf";
    let answer = server.send("PUT", elsewhere, &[], card("a", "Ann")).await;
    assert_eq!(answer.status, 409);
    let long = "x".repeat(256);
    for name in ["a%2Fb.vcf", "a%00.vcf", &long] {
        let answer = put(&server, name, &[], &card("a", "Ann")).await;
        assert_eq!(answer.status, 400, "{name}");
    }
    for path in [BOOK, "/dav/addressbooks/me/contacts", "/dav/", "/"] {
        assert_eq!(
            server.send("PUT", path, &[], card("a", "Ann")).await.status,
            405,
            "{path}"
        );
    }
    assert_eq!(
        put(&server, "a.vcf/", &[], &card("a", "Ann")).await.status,
        404
    );
    assert_eq!(server.book().revision, 0);
}

/// Evolution re-encodes what others left alone: paths are compared decoded.
#[tokio::test]
async fn a_name_in_any_spelling_is_the_same_card() {
    let server = Server::start();
    server
        .put(
            "at@sign+&caf\u{e9}.vcf"
                .replace('\u{e9}', "%C3%A9")
                .as_str(),
            card("a", "Ann"),
        )
        .await;
    let other = format!("{BOOK}at%40sign%2b%26caf%c3%a9%2Evcf");
    let answer = server
        .send("PUT", &other, &[("if-match", "*")], card("a", "Anna"))
        .await;
    assert_eq!(answer.status, 204);
    let listed = server
        .propfind(BOOK, "1", &["D:getetag"])
        .await
        .multistatus();
    assert_eq!(
        listed.hrefs(),
        [BOOK, &format!("{BOOK}at%40sign%2B%26caf%C3%A9.vcf")]
    );
}

/// No client should send such a name, and what it holds is a contact all the same.
#[tokio::test]
async fn a_name_that_is_not_encoded_as_it_should_be_is_taken_as_it_stands() {
    let server = Server::start();
    for (name, href) in [
        ("100%.vcf", "100%25.vcf"),
        ("%zz%41.vcf", "%25zz%2541.vcf"),
        ("J%FCrgen.vcf", "J%25FCrgen.vcf"),
    ] {
        let bytes = card(name, "Odd");
        server.put(name, bytes.clone()).await;
        for spelled in [name, href] {
            let get = server
                .send("GET", &format!("{BOOK}{spelled}"), &[], "")
                .await;
            assert_eq!((get.status, get.text()), (200, &*bytes), "{spelled}");
        }
        let list = server.propfind(BOOK, "1", &["D:getetag"]).await;
        assert_eq!(list.multistatus().hrefs(), [BOOK, &format!("{BOOK}{href}")]);
        let gone = server
            .send("DELETE", &format!("{BOOK}{name}"), &[], "")
            .await;
        assert_eq!(gone.status, 204);
    }
    for path in [
        "/dav/addressbooks/me/con%tacts/a.vcf",
        "/dav/addressbooks/you/contacts/100%.vcf",
        "/dav/addressbooks/me/contacts/../contacts/100%.vcf",
        "/dav/files/me/100%.vcf",
    ] {
        let answer = server.send("PUT", path, &[], card("a", "Ann")).await;
        assert_eq!(answer.status, 404, "{path}");
    }
}
