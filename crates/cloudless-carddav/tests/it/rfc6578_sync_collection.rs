//! REPORT sync-collection.

use crate::harness::{BOOK, Server, card, sync_collection};
use crate::multistatus::Multistatus;

const LIMIT_2: &str = "<D:limit><D:nresults>2</D:nresults></D:limit>";

async fn sync(server: &Server, token: &str) -> Multistatus {
    sync_with(server, token, "").await
}

async fn sync_with(server: &Server, token: &str, more: &str) -> Multistatus {
    let body = sync_collection(&["D:getetag"], token, more);
    server
        .send("REPORT", BOOK, &[("depth", "0")], body)
        .await
        .multistatus()
}

fn token(multistatus: &Multistatus) -> &str {
    multistatus.sync_token.as_deref().unwrap()
}

fn href(name: &str) -> String {
    format!("{BOOK}{name}")
}

#[tokio::test]
async fn each_sync_tells_what_changed_since_the_one_before() {
    let server = Server::start();
    let empty = sync(&server, "").await;
    assert_eq!(empty.rows.len(), 0);
    let etag = server
        .put("a b.vcf".replace(' ', "%20").as_str(), card("a", "Ann"))
        .await;
    server.put("b.vcf", card("b", "Bob")).await;
    for since in ["", token(&empty)] {
        let both = sync(&server, since).await;
        assert_eq!(both.hrefs(), [href("a%20b.vcf"), href("b.vcf")], "{since}");
        assert_eq!(both.row(&href("a%20b.vcf")).text("D:getetag"), etag);
    }
    let both = sync(&server, "").await;
    let nothing = sync(&server, token(&both)).await;
    assert_eq!(nothing.rows.len(), 0);
    assert_eq!(token(&nothing), token(&both), "nothing changed");

    server.put("b.vcf", card("b", "Bobby")).await;
    server.put("c.vcf", card("c", "Cleo")).await;
    server.send("DELETE", &href("a%20b.vcf"), &[], "").await;
    let changes = sync(&server, token(&both)).await;
    let mut hrefs = changes.hrefs();
    hrefs.sort_unstable();
    assert_eq!(hrefs, [href("a%20b.vcf"), href("b.vcf"), href("c.vcf")]);
    let gone = changes.row(&href("a%20b.vcf"));
    assert_eq!(gone.status.as_deref(), Some("HTTP/1.1 404 Not Found"));
    assert!(changes.row(&href("b.vcf")).found("D:getetag").is_some());
    // A token of long ago still works, and only a first sync tells nothing of what is gone: the
    // client with the old token may have put the card there and not have synced since.
    assert_eq!(
        sync(&server, token(&empty)).await.hrefs(),
        [href("b.vcf"), href("c.vcf"), href("a%20b.vcf")]
    );
    assert_eq!(
        sync(&server, "").await.hrefs(),
        [href("b.vcf"), href("c.vcf")]
    );
}

/// DAVx5 sends 0, as the RFC says, Thunderbird 1, others nothing.
#[tokio::test]
async fn any_depth_and_level_mean_the_same() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    let body = sync_collection(&["D:getetag"], "", "");
    let infinite = body.replace(">1<", ">infinite<");
    for depth in [
        &[][..],
        &[("depth", "0")],
        &[("depth", "1")],
        &[("depth", "infinity")],
    ] {
        for body in [&body, &infinite] {
            let answer = server
                .send("REPORT", BOOK, depth, body.clone())
                .await
                .multistatus();
            assert_eq!(answer.hrefs(), [href("a.vcf")], "{depth:?}");
        }
    }
    let answer = server.send("REPORT", BOOK, &[("depth", "x")], body).await;
    assert_eq!(answer.status, 400);
}

/// With address-data in the answer Thunderbird needs no multiget.
#[tokio::test]
async fn address_data_comes_inline() {
    let server = Server::start();
    let etag = server.put("a.vcf", card("a", "Ann")).await;
    let body = sync_collection(&["D:getetag", "C:address-data"], "", "");
    let answer = server
        .send("REPORT", BOOK, &[("depth", "1")], body)
        .await
        .multistatus();
    let row = answer.row(&href("a.vcf"));
    assert_eq!(row.text("D:getetag"), etag);
    assert_eq!(row.text("C:address-data"), card("a", "Ann"));
}

/// RFC 6578 §3.6: 507 for the collection, and a token that goes on.
#[tokio::test]
async fn a_limit_cuts_the_answer_and_the_token_goes_on() {
    let server = Server::start();
    for index in 0..5 {
        let uid = format!("card{index}");
        server.put(&format!("{uid}.vcf"), card(&uid, "Ann")).await;
    }
    let mut since = String::new();
    let mut seen = Vec::new();
    let mut answers = 0;
    loop {
        let answer = sync_with(&server, &since, LIMIT_2).await;
        answers += 1;
        since = token(&answer).to_owned();
        let (cut, cards): (Vec<_>, Vec<_>) = answer.rows.iter().partition(|it| it.href == BOOK);
        assert!(cards.len() <= 2, "{answer:?}");
        seen.extend(cards.into_iter().map(|it| it.href.clone()));
        let Some(cut) = cut.first() else { break };
        assert_eq!(
            cut.status.as_deref(),
            Some("HTTP/1.1 507 Insufficient Storage")
        );
        assert_eq!(cut.conditions, ["D:number-of-matches-within-limits"]);
        // A change in between is not lost, nor the end of a card that the client may have put itself.
        if answers == 1 {
            server.put("card0.vcf", card("card0", "Anna")).await;
            server.send("DELETE", &href("card4.vcf"), &[], "").await;
        }
    }
    let expected = ["card0", "card1", "card2", "card3", "card0", "card4"];
    assert_eq!(seen, expected.map(|name| href(&format!("{name}.vcf"))));
    assert_eq!(answers, 3);
    assert_eq!(since, token(&sync(&server, "").await));
    for limit in ["0", "-1", "x"] {
        let body = sync_collection(&["D:getetag"], "", &LIMIT_2.replace('2', limit));
        assert_eq!(
            server.send("REPORT", BOOK, &[], body).await.status,
            400,
            "{limit}"
        );
    }
}

/// 400, on which Thunderbird starts over; DAVx5 looks for the element.
#[tokio::test]
async fn a_token_that_is_not_of_this_book_is_refused() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    let good = token(&sync(&server, "").await).to_owned();
    let (prefix, _) = good.rsplit_once('/').unwrap();
    let other = Server::start();
    other.put("a.vcf", card("a", "Ann")).await;
    let foreign = token(&sync(&other, "").await).to_owned();
    for token in [
        foreign.as_str(),
        &format!("{prefix}/2"),
        &format!("{prefix}/99999999999999999999"),
        &format!("{prefix}/+1"),
        &format!("{prefix}/01"),
        &format!("{prefix}/-1"),
        &format!("{prefix}/"),
        &format!("{good}/1"),
        &good.to_uppercase(),
        "https://cloudless.invalid/sync/",
        "http://example.org/ns/sync/5",
        "1DF3C7D2-0B1A-4F6B-9E5E-6D0C4A3B2F1",
        "1DF3C7D2-0B1A-4F6B-9E5E-6D0C4A3B2F1G",
        "urn:uuid:1DF3C7D2-0B1A-4F6B-9E5E-6D0C4A3B2F10",
    ] {
        let body = sync_collection(&["D:getetag"], token, "");
        let answer = server.send("REPORT", BOOK, &[("depth", "0")], body).await;
        answer.assert_condition(400, "DAV:", "valid-sync-token");
    }
    assert_eq!(sync(&server, &format!("\n {good} ")).await.rows.len(), 0);
}

/// macOS sends a UUID that it made up, and after a refusal it never syncs again.
#[tokio::test]
async fn a_made_up_uuid_gets_everything() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    server.put("gone.vcf", card("gone", "Gone")).await;
    server.send("DELETE", &href("gone.vcf"), &[], "").await;
    for made_up in [
        "1DF3C7D2-0B1A-4F6B-9E5E-6D0C4A3B2F10",
        "1df3c7d2-0b1a-4f6b-9e5e-6d0c4a3b2f10",
    ] {
        let answer = sync(&server, made_up).await;
        assert_eq!(answer.hrefs(), [href("a.vcf")]);
        assert_eq!(sync(&server, token(&answer)).await.rows.len(), 0);
    }
}

/// A book that came back from a backup, or was made anew under its name, has other tokens.
#[tokio::test]
async fn a_token_of_an_earlier_incarnation_is_refused() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    let before = token(&sync(&server, "").await).to_owned();
    server.store.renew_incarnations().unwrap();
    let body = sync_collection(&["D:getetag"], &before, "");
    let answer = server.send("REPORT", BOOK, &[("depth", "0")], body).await;
    answer.assert_condition(400, "DAV:", "valid-sync-token");
    let after = token(&sync(&server, "").await).to_owned();
    assert_ne!(after, before);
    assert_eq!(sync(&server, &after).await.rows.len(), 0);
}

/// macOS keeps a refused token for ever. It comes with one of before a backup was restored, and gets
/// what is there, and what is known to be gone; no other client does.
#[tokio::test]
async fn macos_goes_on_from_any_token() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    server.put("gone.vcf", card("gone", "Gone")).await;
    let before = token(&sync(&server, "").await).to_owned();
    server.send("DELETE", &href("gone.vcf"), &[], "").await;
    server.store.renew_incarnations().unwrap();
    let body = sync_collection(&["D:getetag"], &before, "");
    for agent in [
        "Mac OS X/10.13.2 (17C88) AddressBook/1808.6",
        "macOS/15.5 (24F74) AddressBookCore/2673.600.21",
    ] {
        let headers = [("depth", "1"), ("user-agent", agent)];
        let answer = server.send("REPORT", BOOK, &headers, body.clone()).await;
        let answer = answer.multistatus();
        assert_eq!(answer.hrefs(), [href("a.vcf"), href("gone.vcf")]);
        let gone = answer.row(&href("gone.vcf"));
        assert_eq!(gone.status.as_deref(), Some("HTTP/1.1 404 Not Found"));
        assert_eq!(sync(&server, token(&answer)).await.rows.len(), 0);
    }
    for agent in ["DAVx5/4.5.16", "iOS/18.5 (22F76) dataaccessd/1.0"] {
        let headers = [("depth", "1"), ("user-agent", agent)];
        let answer = server.send("REPORT", BOOK, &headers, body.clone()).await;
        answer.assert_condition(400, "DAV:", "valid-sync-token");
    }
}

/// RFC 6578 §3.6: the server may cut an answer too, for a client that named no limit or a high one.
#[tokio::test]
async fn a_huge_answer_is_cut_by_the_server() {
    let server = Server::start();
    let name = |number| format!("{number:05}.vcf");
    server.fill((0..10_001).map(|number| (name(number), card("x", "Ann").into_bytes())));
    let high = "<D:limit><D:nresults>4000000000</D:nresults></D:limit>";
    for more in ["", high] {
        let first = sync_with(&server, "", more).await;
        assert_eq!(first.rows.len(), 10_001);
        let cut = first.row(BOOK);
        assert_eq!(cut.conditions, ["D:number-of-matches-within-limits"]);
        let rest = sync_with(&server, token(&first), more).await;
        assert_eq!(rest.hrefs(), [href(&name(10_000))]);
    }
}

/// The token from PROPFIND is as good as that from a REPORT.
#[tokio::test]
async fn the_propfind_token_can_be_synced_from() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    let state = server
        .propfind(BOOK, "0", &["D:sync-token"])
        .await
        .multistatus();
    let since = state.row(BOOK).text("D:sync-token");
    assert_eq!(sync(&server, since).await.rows.len(), 0);
    server.put("b.vcf", card("b", "Bob")).await;
    assert_eq!(sync(&server, since).await.hrefs(), [href("b.vcf")]);
}
