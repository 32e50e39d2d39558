//! Address books that another user shares (RFC 3744: privileges, owner, acl).

use cloudless_store::Access;

use crate::harness::{Answer, BOOK, HOME_SET, PRINCIPAL, Server, basic, card, propfind, query};

const SHARED: &str = "/dav/addressbooks/you/contacts-me/";
const YOUR_HOME: &str = "/dav/addressbooks/you/";

/// A server where `me` shares the personal address book, with a card in it.
async fn server(access: Access) -> Server {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    server
        .store
        .share_book(server.book().id, "you", access)
        .unwrap();
    server
}

async fn you(
    server: &Server,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let authorization = basic("you", "yours");
    server
        .send_as(Some(&authorization), method, path, headers, body.to_owned())
        .await
}

#[tokio::test]
async fn a_shared_book_is_in_the_home_set_after_the_own_ones() {
    let server = server(Access::ReadOnly).await;
    let body = propfind(&["D:owner", "D:current-user-privilege-set", "D:acl"]);
    let list = you(&server, "PROPFIND", YOUR_HOME, &[("depth", "1")], &body).await;
    let list = list.multistatus();
    let own = format!("{YOUR_HOME}contacts/");
    assert_eq!(list.hrefs(), [YOUR_HOME, &own, SHARED]);
    let shared = list.row(SHARED);
    assert_eq!(shared.text("D:owner"), PRINCIPAL);
    assert_eq!(list.row(&own).text("D:owner"), "/dav/principals/you/");
    assert!(shared.found("D:acl").is_none(), "only for its owner");

    // DAVx5 asks for the name of the owner.
    let body = propfind(&["D:displayname", "C:addressbook-home-set"]);
    let owner = you(&server, "PROPFIND", PRINCIPAL, &[("depth", "0")], &body).await;
    let owner = owner.multistatus();
    assert_eq!(owner.row(PRINCIPAL).text("D:displayname"), "me");
    assert!(
        owner
            .row(PRINCIPAL)
            .found("C:addressbook-home-set")
            .is_none()
    );
    // Nothing else of the owner is seen, and nothing of the other user by the owner.
    for path in [HOME_SET, BOOK] {
        let answer = you(&server, "PROPFIND", path, &[("depth", "0")], &body).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    let other = server
        .propfind("/dav/principals/you/", "0", &["D:displayname"])
        .await;
    assert_eq!(other.status, 404);
}

#[tokio::test]
async fn who_may_read_reads_and_changes_nothing() {
    let server = server(Access::ReadOnly).await;
    let path = format!("{SHARED}a.vcf");
    assert_eq!(
        you(&server, "GET", &path, &[], "").await.text(),
        card("a", "Ann")
    );
    let body = query(&["D:getetag"], "<C:filter/>");
    let found = you(&server, "REPORT", SHARED, &[("depth", "1")], &body).await;
    assert_eq!(found.multistatus().hrefs(), [path.as_str()]);
    let body = propfind(&["D:current-user-privilege-set"]);
    let list = you(&server, "PROPFIND", SHARED, &[("depth", "1")], &body).await;
    for row in list.multistatus().rows {
        assert_eq!(
            row.inside("D:current-user-privilege-set"),
            [
                "D:privilege",
                "D:read",
                "D:privilege",
                "D:read-current-user-privilege-set"
            ]
        );
    }
    let update = "<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop><D:displayname>Mine\
                  </D:displayname></D:prop></D:set></D:propertyupdate>";
    let there = [("destination", "/dav/addressbooks/you/contacts/a.vcf")];
    let here = [("destination", "/dav/addressbooks/you/contacts-me/b.vcf")];
    let anna = card("a", "Anna");
    for (method, path, headers, body) in [
        ("PUT", path.as_str(), &[][..], anna.as_str()),
        ("DELETE", &path, &[], ""),
        ("MOVE", &path, &there, ""),
        ("COPY", &path, &here, ""),
        ("PROPPATCH", &path, &[], update),
        ("PROPPATCH", SHARED, &[], update),
    ] {
        let answer = you(&server, method, path, headers, body).await;
        answer.assert_condition(403, "DAV:", "need-privileges");
        assert!(answer.text().contains(SHARED));
    }
    // What was to be written is not lost.
    let versions = server.store.versions(server.book().id, "a.vcf").unwrap();
    assert!(
        versions
            .iter()
            .any(|it| it.bytes.as_deref() == Some(anna.as_bytes()))
    );
    assert_eq!(you(&server, "COPY", &path, &there, "").await.status, 201);
    assert_eq!(
        server
            .send("GET", &format!("{BOOK}a.vcf"), &[], "")
            .await
            .text(),
        card("a", "Ann")
    );
}

#[tokio::test]
async fn who_may_write_changes_cards_but_not_the_book() {
    let server = server(Access::ReadWrite).await;
    let path = format!("{SHARED}a.vcf");
    assert_eq!(
        you(&server, "PUT", &path, &[], &card("a", "Anna"))
            .await
            .status,
        204
    );
    let new = format!("{SHARED}b.vcf");
    assert_eq!(
        you(&server, "PUT", &new, &[], &card("b", "Bob"))
            .await
            .status,
        201
    );
    assert_eq!(you(&server, "DELETE", &path, &[], "").await.status, 204);
    let conflict = you(&server, "PUT", &path, &[], &card("b", "Bob")).await;
    assert!(conflict.text().contains(&new), "in the user's own paths");
    let mine = server
        .propfind(BOOK, "1", &["D:getetag"])
        .await
        .multistatus();
    assert_eq!(mine.hrefs(), [BOOK, &format!("{BOOK}b.vcf")]);
    let update = "<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop><D:displayname>Mine\
                  </D:displayname></D:prop></D:set></D:propertyupdate>";
    let answer = you(&server, "PROPPATCH", SHARED, &[], update).await;
    answer.assert_condition(403, "DAV:", "need-privileges");
    assert_eq!(
        you(&server, "PROPPATCH", &new, &[], update).await.status,
        207
    );
}

#[tokio::test]
async fn rfc_3744_5_5_the_owner_sees_who_may_do_what() {
    let server = server(Access::ReadWrite).await;
    let answer = server.propfind(BOOK, "0", &["D:acl"]).await.multistatus();
    let acl = answer.row(BOOK);
    assert_eq!(acl.text("D:acl"), "/dav/principals/me//dav/principals/you/");
    assert!(acl.inside("D:acl").contains(&"D:write"));
}

/// A client that deletes a shared book gives it back; its owner keeps it.
#[tokio::test]
async fn deleting_a_shared_book_ends_the_share() {
    let server = server(Access::ReadWrite).await;
    assert_eq!(you(&server, "DELETE", SHARED, &[], "").await.status, 204);
    assert_eq!(you(&server, "GET", SHARED, &[], "").await.status, 404);
    assert_eq!(
        server
            .send("GET", &format!("{BOOK}a.vcf"), &[], "")
            .await
            .status,
        200
    );
}

/// RFC 3744 §5.3: each privilege that somebody has is a supported one.
#[tokio::test]
async fn the_supported_privileges_are_told() {
    let server = server(Access::ReadWrite).await;
    let asked = ["D:supported-privilege-set", "D:current-user-privilege-set"];
    let answer = server.propfind(BOOK, "0", &asked).await;
    let document = roxmltree::Document::parse(answer.text()).unwrap();
    let names = |set: &str| -> Vec<String> {
        let set = document
            .descendants()
            .find(|node| node.has_tag_name(("DAV:", set)));
        let privileges = set.unwrap().descendants();
        let privileges = privileges.filter(|node| node.has_tag_name(("DAV:", "privilege")));
        let names = privileges.map(|node| node.first_element_child().unwrap().tag_name().name());
        names.map(str::to_owned).collect()
    };
    let supported = names("supported-privilege-set");
    assert_eq!(
        supported,
        [
            "all",
            "read",
            "read-current-user-privilege-set",
            "read-acl",
            "write",
            "write-content",
            "write-properties",
            "bind",
            "unbind",
        ]
    );
    for privilege in names("current-user-privilege-set") {
        assert!(supported.contains(&privilege), "{privilege}");
    }
    let path = format!("{BOOK}a.vcf");
    let card = server.propfind(&path, "0", &asked[..1]).await.multistatus();
    assert!(card.rows[0].found("D:supported-privilege-set").is_none());
}
