//! MKCOL of address books (RFC 6352 §6.3.1, RFC 5689), and their end.

use crate::harness::{Answer, BOOK, HOME_SET, Server, card};

const CARDDAV: &str = "urn:ietf:params:xml:ns:carddav";
const FRIENDS: &str = "/dav/addressbooks/me/friends/";
const TYPE: &str = "<D:resourcetype><D:collection/><C:addressbook/></D:resourcetype>";

async fn mkcol(server: &Server, path: &str, properties: &str) -> Answer {
    let body = format!(
        "<D:mkcol xmlns:D='DAV:' xmlns:C='{CARDDAV}' xmlns:X='urn:example'>\
         <D:set><D:prop>{properties}</D:prop></D:set></D:mkcol>"
    );
    let headers = [("content-type", "application/xml; charset=utf-8")];
    server.send("MKCOL", path, &headers, body).await
}

#[tokio::test]
async fn rfc_6352_6_3_1_1_an_address_book_is_made_with_its_properties() {
    let server = Server::start();
    let properties = format!(
        "{TYPE}<D:displayname>Friends</D:displayname>\
         <C:addressbook-description>All of them</C:addressbook-description><X:color>red</X:color>"
    );
    assert_eq!(mkcol(&server, FRIENDS, &properties).await.status, 201);
    let asked = [
        "D:displayname",
        "D:resourcetype",
        "C:addressbook-description",
        "X:color",
    ];
    let list = server.propfind(HOME_SET, "1", &asked).await.multistatus();
    assert_eq!(
        list.hrefs(),
        [HOME_SET, BOOK, FRIENDS],
        "the personal one first"
    );
    let row = list.row(FRIENDS);
    assert_eq!(row.text("D:displayname"), "Friends");
    assert_eq!(row.text("C:addressbook-description"), "All of them");
    assert_eq!(row.text("X:color"), "red");
    assert_eq!(
        row.inside("D:resourcetype"),
        ["D:collection", "C:addressbook"]
    );

    // Cards of one book are none of another.
    let path = format!("{FRIENDS}a.vcf");
    let put = server.send("PUT", &path, &[], card("a", "Ann")).await;
    assert_eq!(put.status, 201);
    server.put("a.vcf", card("a", "Anna")).await;
    assert_eq!(
        server.send("GET", &path, &[], "").await.text(),
        card("a", "Ann")
    );
}

#[tokio::test]
async fn a_plain_mkcol_makes_an_address_book_of_its_name() {
    let server = Server::start();
    let path = FRIENDS.trim_end_matches('/');
    let answer = server.send("MKCOL", path, &[], "").await;
    assert_eq!(
        (answer.status, answer.header("cache-control")),
        (201, "no-cache")
    );
    let found = server.propfind(FRIENDS, "0", &["D:displayname"]).await;
    assert_eq!(
        found.multistatus().row(FRIENDS).text("D:displayname"),
        "friends"
    );
    // RFC 4918 §9.3: only where nothing is.
    for path in [FRIENDS, BOOK, HOME_SET, "/dav/"] {
        let again = server.send("MKCOL", path, &[], "").await;
        assert_eq!(again.status, 405, "{path}");
        assert!(again.header("allow").contains("PROPFIND"));
    }
}

#[tokio::test]
async fn what_cannot_be_made_is_refused_with_its_precondition() {
    let server = Server::start();
    let nested = format!("{BOOK}nested/");
    for path in [nested.as_str(), nested.trim_end_matches('/'), "/elsewhere/"] {
        let answer = mkcol(&server, path, TYPE).await;
        answer.assert_condition(403, CARDDAV, "addressbook-collection-location-ok");
    }
    for (properties, refused, others) in [
        (
            "<D:resourcetype><D:collection/></D:resourcetype><X:color/>",
            "<D:valid-resourcetype/>",
            true,
        ),
        (
            "<D:resourcetype><D:collection/><C:addressbook/><X:odd/></D:resourcetype>",
            "<D:valid-resourcetype/>",
            false,
        ),
        (
            "<D:resourcetype><D:collection/><C:addressbook/></D:resourcetype><D:getetag/>",
            "<D:cannot-modify-protected-property/>",
            true,
        ),
    ] {
        let answer = mkcol(&server, FRIENDS, properties).await;
        assert_eq!(answer.status, 403, "{properties}");
        let text = answer.text();
        assert!(text.contains("<D:mkcol-response"), "{text}");
        assert!(text.contains(refused), "{text}");
        assert_eq!(text.contains("424"), others, "{text}");
    }
    let many: String = (0..65).map(|number| format!("<X:p{number}/>")).collect();
    assert_eq!(mkcol(&server, FRIENDS, &many).await.status, 507);
    let headers = [("content-type", "text/plain")];
    let other = server.send("MKCOL", FRIENDS, &headers, "text").await;
    assert_eq!(other.status, 415);
    assert_eq!(server.send("MKCOL", FRIENDS, &[], "text").await.status, 400);
    assert_eq!(server.store.address_books(server.me).unwrap().len(), 1);
}

#[tokio::test]
async fn rfc_4918_9_6_1_an_address_book_is_deleted_but_never_the_personal_one() {
    let server = Server::start();
    mkcol(&server, FRIENDS, TYPE).await;
    let path = format!("{FRIENDS}a.vcf");
    server.send("PUT", &path, &[], card("a", "Ann")).await;
    assert_eq!(server.send("DELETE", FRIENDS, &[], "").await.status, 204);
    assert_eq!(server.send("GET", &path, &[], "").await.status, 404);
    assert_eq!(server.send("DELETE", FRIENDS, &[], "").await.status, 404);
    server.put("a.vcf", card("a", "Ann")).await;
    assert_eq!(server.send("DELETE", BOOK, &[], "").await.status, 403);
    assert_eq!(server.send("DELETE", HOME_SET, &[], "").await.status, 405);
    let list = server
        .propfind(BOOK, "1", &["D:getetag"])
        .await
        .multistatus();
    assert_eq!(list.rows.len(), 2);
    // A new one of the same name is another one.
    let deleted = server.store.deleted_books(server.me).unwrap();
    mkcol(&server, FRIENDS, TYPE).await;
    let book = server
        .store
        .address_book(server.me, "friends")
        .unwrap()
        .unwrap();
    assert_ne!(book.id, deleted[0].id);
}
