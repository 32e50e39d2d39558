//! COPY and MOVE of address books (RFC 4918 §9.8, §9.9; RFC 6352 §6.3.2.1).

use cloudless_store::{Access, HistoryQuery, VersionKind};

use crate::harness::{Answer, BOOK, HOME_SET, Server, basic, card};

const DAV: &str = "DAV:";
const CARDDAV: &str = "urn:ietf:params:xml:ns:carddav";
const FRIENDS: &str = "/dav/addressbooks/me/friends/";
const WORK: &str = "/dav/addressbooks/me/work/";

/// A server whose user has an address book of friends with one card.
async fn server() -> Server {
    let server = Server::start();
    server.send("MKCOL", FRIENDS, &[], "").await;
    let path = format!("{FRIENDS}a.vcf");
    server.send("PUT", &path, &[], card("a", "Ann")).await;
    server
}

async fn transfer(
    server: &Server,
    method: &str,
    from: &str,
    to: &str,
    more: &[(&str, &str)],
) -> Answer {
    let mut headers = vec![("destination", to)];
    headers.extend(more);
    server.send(method, from, &headers, "").await
}

async fn sync_token(server: &Server, path: &str) -> String {
    let found = server.propfind(path, "0", &["D:sync-token"]).await;
    found.multistatus().rows[0].text("D:sync-token").to_owned()
}

#[tokio::test]
async fn a_move_gives_it_another_name_and_keeps_all_of_it() {
    let server = server().await;
    let token = sync_token(&server, FRIENDS).await;
    let moved = transfer(&server, "MOVE", FRIENDS, WORK, &[]).await;
    assert_eq!(moved.status, 201);
    assert_eq!(server.send("GET", FRIENDS, &[], "").await.status, 404);
    let got = server.send("GET", &format!("{WORK}a.vcf"), &[], "").await;
    assert_eq!(got.text(), card("a", "Ann"));
    assert_eq!(
        sync_token(&server, WORK).await,
        token,
        "nothing else changed"
    );
    let book = server
        .store
        .address_book(server.me, "work")
        .unwrap()
        .unwrap();
    assert_eq!(server.store.versions(book.id, "a.vcf").unwrap().len(), 1);
}

#[tokio::test]
async fn a_copy_is_a_book_of_its_own_with_the_cards() {
    let server = server().await;
    let copied = transfer(&server, "COPY", FRIENDS, WORK, &[]).await;
    assert_eq!(copied.status, 201);
    assert_eq!(server.send("DELETE", FRIENDS, &[], "").await.status, 204);
    let got = server.send("GET", &format!("{WORK}a.vcf"), &[], "").await;
    assert_eq!(got.text(), card("a", "Ann"));
    let found = server.propfind(WORK, "0", &["D:displayname"]).await;
    assert_eq!(found.multistatus().rows[0].text("D:displayname"), "friends");
    let book = server
        .store
        .address_book(server.me, "work")
        .unwrap()
        .unwrap();
    let history = server
        .store
        .history(book.id, &HistoryQuery::default())
        .unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].kind, VersionKind::Created);
    let alone = format!("{HOME_SET}alone/");
    let copied = transfer(&server, "COPY", WORK, &alone, &[("depth", "0")]).await;
    assert_eq!(copied.status, 201);
    let list = server.propfind(&alone, "1", &["D:getetag"]).await;
    assert_eq!(list.multistatus().hrefs(), [&*alone]);
}

#[tokio::test]
async fn no_address_book_is_replaced_or_put_elsewhere() {
    let server = server().await;
    server.send("MKCOL", WORK, &[], "").await;
    for method in ["COPY", "MOVE"] {
        let refused = transfer(&server, method, FRIENDS, WORK, &[]).await;
        refused.assert_condition(403, CARDDAV, "addressbook-collection-location-ok");
        for to in [
            "/dav/files/me/friends/",
            &format!("{BOOK}friends"),
            HOME_SET,
        ] {
            let refused = transfer(&server, method, FRIENDS, to, &[]).await;
            refused.assert_condition(403, CARDDAV, "addressbook-collection-location-ok");
        }
        for (from, to, more, status) in [
            (FRIENDS, WORK, ("overwrite", "F"), 412),
            (FRIENDS, FRIENDS, ("overwrite", "T"), 403),
            (
                FRIENDS,
                "/dav/addressbooks/you/friends/",
                ("overwrite", "T"),
                403,
            ),
            (FRIENDS, "/dav/addressbooks/me/new/", ("depth", "1"), 400),
            (
                FRIENDS,
                "/dav/addressbooks/me/new/",
                ("if-none-match", "*"),
                412,
            ),
            (
                "/dav/addressbooks/me/no/",
                "/dav/addressbooks/me/new/",
                ("overwrite", "T"),
                404,
            ),
        ] {
            let refused = transfer(&server, method, from, to, &[more]).await;
            assert_eq!(refused.status, status, "{method} {from} {to} {more:?}");
        }
    }
    let renamed = transfer(&server, "MOVE", BOOK, "/dav/addressbooks/me/new/", &[]).await;
    assert_eq!(
        renamed.status, 403,
        "the personal one stays where clients look for it"
    );
    let names = server.store.address_books(server.me).unwrap();
    let names: Vec<_> = names.iter().map(|book| book.slug.as_str()).collect();
    assert_eq!(names, ["contacts", "friends", "work"]);
}

/// Those that share a book name it as they like, and may keep a copy of it.
#[tokio::test]
async fn a_shared_book_is_renamed_for_one_user_only() {
    let server = server().await;
    let book = server
        .store
        .address_book(server.me, "friends")
        .unwrap()
        .unwrap();
    server
        .store
        .share_book(book.id, "you", Access::ReadOnly)
        .unwrap();
    let you = basic("you", "yours");
    let shared = "/dav/addressbooks/you/friends-me/";
    let renamed = "/dav/addressbooks/you/theirs/";
    let transfer = async |method: &str, from: &str, to: &str| {
        let headers = [("destination", to)];
        let answer = server.send_as(Some(&you), method, from, &headers, "").await;
        answer.status
    };
    assert_eq!(transfer("MOVE", shared, renamed).await, 201);
    assert_eq!(
        transfer("COPY", renamed, "/dav/addressbooks/you/own/").await,
        201
    );
    let path = "/dav/addressbooks/you/own/b.vcf";
    let put = server
        .send_as(Some(&you), "PUT", path, &[], card("b", "Bob"))
        .await;
    assert_eq!(put.status, 201);
    let mine = server.propfind(FRIENDS, "1", &["D:getetag"]).await;
    assert_eq!(
        mine.multistatus().hrefs(),
        [FRIENDS, &format!("{FRIENDS}a.vcf")]
    );
}

/// RFC 4918 §9.6, RFC 9110 §13.1, RFC 6578 §5.
#[tokio::test]
async fn conditions_guard_the_end_of_an_address_book() {
    let server = server().await;
    let before = sync_token(&server, FRIENDS).await;
    let path = format!("{FRIENDS}b.vcf");
    server.send("PUT", &path, &[], card("b", "Bob")).await;
    let now = sync_token(&server, FRIENDS).await;
    for (header, value, status) in [
        ("if-match", "\"x\"", 412),
        ("if-none-match", "*", 412),
        ("if", &*format!("(<{before}>)"), 412),
        ("if", &*format!("(Not <{now}>)"), 412),
        ("if", "([\"x\"])", 412),
        ("if", "nonsense", 400),
        ("if", &*format!("(<{now}>)"), 204),
    ] {
        let headers = [(header, value)];
        let answer = server.send("DELETE", FRIENDS, &headers, "").await;
        assert_eq!(answer.status, status, "{header}: {value}");
    }
}

/// RFC 4331 §6.
#[tokio::test]
async fn a_book_that_is_too_large_to_be_copied_is_refused_with_its_precondition() {
    let server = server().await;
    let database = rusqlite::Connection::open(server.directory().join("store.sqlite")).unwrap();
    database
        .execute("UPDATE cards SET size = 300 << 20", [])
        .unwrap();
    let copy = "/dav/addressbooks/me/copy/";
    let refused = transfer(&server, "COPY", FRIENDS, copy, &[]).await;
    refused.assert_condition(507, DAV, "quota-not-exceeded");
    let alone = transfer(&server, "COPY", FRIENDS, copy, &[("depth", "0")]).await;
    assert_eq!(alone.status, 201, "without its cards it is small");
}
