//! Large answers are written while the client reads.

use bytes::Bytes;
use cloudless_store::Access;
use http_body::Body as _;
use http_body_util::{BodyExt, Full};

use crate::harness::{BOOK, PASSWORD, Server, basic, card, propfind, request, sync_collection};
use crate::multistatus::Multistatus;

const CARDS: usize = 10_000;

fn full_book() -> Server {
    let server = Server::start();
    server.fill((0..CARDS).map(|index| {
        let photo = "A".repeat(400);
        let text = card(&format!("uid{index}"), &format!("Person {index}"))
            .replace("END:", &format!("PHOTO;ENCODING=b:{photo}\r\nEND:"));
        (format!("{index:05}.vcf"), text.into_bytes())
    }));
    server
}

fn signed(method: &str, depth: &str, body: String) -> http::Request<Full<Bytes>> {
    let authorization = basic("me", PASSWORD);
    request(
        method,
        BOOK,
        &[("depth", depth), ("authorization", &authorization)],
        body,
    )
}

#[tokio::test]
async fn ten_thousand_cards_come_in_small_pieces() {
    let server = full_book();
    let sync = sync_collection(&["D:getetag", "C:address-data"], "", "");
    for (method, body) in [("REPORT", sync), ("PROPFIND", propfind(&["D:getetag"]))] {
        let mut response = server.carddav.respond(signed(method, "1", body)).await;
        assert_eq!(response.status(), 207);
        let mut text = Vec::new();
        let mut pieces = 0;
        while let Some(frame) = response.body_mut().frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            assert!(piece.len() < 80 * 1024, "a piece of {} bytes", piece.len());
            assert!(!piece.is_empty());
            text.extend_from_slice(&piece);
            pieces += 1;
        }
        assert!(pieces > 10, "{method}");
        assert!(response.body().is_end_stream());
        let answer = Multistatus::parse(std::str::from_utf8(&text).unwrap());
        let cards: Vec<_> = answer.rows.iter().filter(|row| row.href != BOOK).collect();
        assert_eq!(cards.len(), CARDS, "{method}");
        for (index, row) in cards.iter().enumerate() {
            assert_eq!(row.href, format!("{BOOK}{index:05}.vcf"));
            assert!(row.found("D:getetag").is_some());
            if method == "REPORT" {
                let name = format!("FN:Person {index}\r\n");
                assert!(row.text("C:address-data").contains(&name), "{row:?}");
            }
        }
    }
}

/// A page is written when the one before it was taken: what comes late tells of late changes.
#[tokio::test]
async fn nothing_is_written_far_ahead_of_the_client() {
    let server = full_book();
    let sync = sync_collection(&["D:getetag", "C:address-data"], "", "");
    let mut response = server.carddav.respond(signed("REPORT", "1", sync)).await;
    let first = response
        .body_mut()
        .frame()
        .await
        .unwrap()
        .unwrap()
        .into_data()
        .unwrap();
    for index in [500, CARDS - 1] {
        let path = format!("{BOOK}{index:05}.vcf");
        assert_eq!(server.send("DELETE", &path, &[], "").await.status, 204);
    }
    server.put("00501.vcf", card("uid501", "Changed")).await;
    let rest = response.into_body().collect().await.unwrap().to_bytes();
    let text = [first, rest].concat();
    let answer = Multistatus::parse(std::str::from_utf8(&text).unwrap());
    // The names of a few more cards may have been read when they went.
    let gone = |index| format!("{BOOK}{index:05}.vcf");
    let mut rows = answer.rows.iter();
    assert!(rows.all(|row| row.href != gone(CARDS - 1)));
    let mut rows = answer.rows.iter().filter(|row| row.href == gone(500));
    assert!(rows.all(|row| row.status.as_deref() == Some("HTTP/1.1 404 Not Found")));
    let changed = answer.row(&format!("{BOOK}00501.vcf"));
    assert_eq!(changed.text("C:address-data"), card("uid501", "Changed"));
    // The next sync, from the token of before, tells of all three again.
    let token = answer.sync_token.unwrap();
    let sync = sync_collection(&["D:getetag"], &token, "");
    let next = server
        .send("REPORT", BOOK, &[("depth", "0")], sync)
        .await
        .multistatus();
    assert_eq!(next.rows.len(), 3);
}

/// A token covers no change that its answer did not tell, and no card is told twice.
#[tokio::test]
async fn changes_during_an_answer_about_changes_come_with_the_next_one() {
    let server = Server::start();
    server.put("before.vcf", card("before", "Before")).await;
    let sync = |token: &str| sync_collection(&["D:getetag", "C:address-data"], token, "");
    let ask = async |token: &str| {
        let answer = server.send("REPORT", BOOK, &[("depth", "0")], sync(token));
        answer.await.multistatus()
    };
    let token = ask("").await.sync_token.unwrap();
    server.fill((0..1_000).map(|index| {
        let name = format!("{index:05}");
        (format!("{name}.vcf"), card(&name, "Person").into_bytes())
    }));
    let body = sync(&token);
    let mut response = server.carddav.respond(signed("REPORT", "0", body)).await;
    let first = response.body_mut().frame().await.unwrap().unwrap();
    let first = first.into_data().unwrap();
    // One that was told, and one that was not.
    for name in ["00000", "00999"] {
        server
            .put(&format!("{name}.vcf"), card(name, "Changed"))
            .await;
    }
    let rest = response.into_body().collect().await.unwrap().to_bytes();
    let text = [first, rest].concat();
    let answer = Multistatus::parse(std::str::from_utf8(&text).unwrap());
    let mut hrefs = answer.hrefs();
    assert_eq!(hrefs.len(), 999);
    hrefs.sort_unstable();
    hrefs.dedup();
    assert_eq!(hrefs.len(), 999, "each once");
    let next = ask(&answer.sync_token.unwrap()).await;
    let changed = ["00000.vcf", "00999.vcf"].map(|name| format!("{BOOK}{name}"));
    assert_eq!(next.hrefs(), changed);
}

#[tokio::test]
async fn a_short_answer_has_a_length() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    let response = server
        .carddav
        .respond(signed("PROPFIND", "1", propfind(&["D:getetag"])))
        .await;
    let length = response.body().size_hint().exact().unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(length, u64::try_from(body.len()).unwrap());
}

/// A server may answer on any thread.
#[test]
fn the_answer_is_send() {
    fn check(_: impl Send) {}
    let server = Server::start();
    check(server.carddav.respond(request("GET", "/", &[], "")));
}

/// Whoever lost the device gets no more of an answer that is under way.
#[tokio::test]
async fn an_answer_breaks_off_when_its_device_is_revoked() {
    let server = full_book();
    let sync = sync_collection(&["D:getetag", "C:address-data"], "", "");
    let mut response = server.carddav.respond(signed("REPORT", "1", sync)).await;
    assert_eq!(response.status(), 207);
    assert!(response.body_mut().frame().await.unwrap().is_ok());
    let at = cloudless_store::Timestamp::from(crate::harness::now());
    server.store.revoke_device("me", "phone", at).unwrap();
    let mut pages = 0;
    let error = loop {
        match response.body_mut().frame().await.expect("no end before") {
            Ok(_) => pages += 1,
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("could not be read"), "{error}");
    assert!(pages <= 2, "{pages} pages after the device was revoked");
    assert!(response.body_mut().frame().await.is_none());
}

/// The same for whom the address book is no longer shared with, and when it is gone.
#[tokio::test]
async fn an_answer_breaks_off_when_its_share_ends() {
    let server = full_book();
    let book = server.book().id;
    server
        .store
        .share_book(book, "you", Access::ReadOnly)
        .unwrap();
    let sync = sync_collection(&["D:getetag", "C:address-data"], "", "");
    let authorization = basic("you", "yours");
    let headers = [("authorization", authorization.as_str()), ("depth", "1")];
    let shared = "/dav/addressbooks/you/contacts-me/";
    let asked = request("REPORT", shared, &headers, sync);
    let mut response = server.carddav.respond(asked).await;
    assert_eq!(response.status(), 207);
    assert!(response.body_mut().frame().await.unwrap().is_ok());
    assert!(server.store.unshare_book(book, "you").unwrap());
    let mut pages = 0;
    while let Ok(_page) = response.body_mut().frame().await.expect("no end before") {
        pages += 1;
    }
    assert!(pages <= 2, "{pages} pages after the share ended");
    assert!(response.body_mut().frame().await.is_none());
}
