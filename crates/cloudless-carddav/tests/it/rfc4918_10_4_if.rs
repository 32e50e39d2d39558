//! The `If` header on requests that change something.

use crate::harness::{BOOK, HOME_SET, Server, card};
use crate::rfc4918_5_2_plain_collections::FILES;

#[tokio::test]
async fn a_list_of_tags_guards_put_and_delete() {
    let server = Server::start();
    let etag = server.put("a.vcf", card("a", "Ann")).await;
    let path = format!("{BOOK}a.vcf");
    let put = async |condition: &str, text: &str| {
        let headers = [("if", condition), ("content-type", "text/vcard")];
        server
            .send("PUT", &path, &headers, text.to_owned())
            .await
            .status
    };
    let anna = card("a", "Anna");
    for (condition, status) in [
        ("([\"stale\"])", 412),
        (&format!("(<opaquelocktoken:x> [{etag}])"), 412),
        (&format!("(Not [{etag}])"), 412),
        (&format!("</elsewhere> ([{etag}])"), 412),
        ("nonsense", 400),
        (&format!("([\"stale\"]) ([{etag}])"), 204),
    ] {
        assert_eq!(put(condition, &anna).await, status, "{condition}");
    }
    let stale = [("if", format!("([{etag}])"))];
    let stale = [("if", stale[0].1.as_str())];
    assert_eq!(server.send("DELETE", &path, &stale, "").await.status, 412);
    let both = [("if", "(Not <DAV:no-lock>)"), ("if-match", "*")];
    assert_eq!(server.send("DELETE", &path, &both, "").await.status, 400);
    let always = [("if", "(Not <DAV:no-lock>)")];
    assert_eq!(server.send("DELETE", &path, &always, "").await.status, 204);
}

/// RFC 4918 §10.4.1: the state of the resource that a list names.
#[tokio::test]
async fn lists_about_other_resources_are_looked_at() {
    let server = Server::start();
    let a = server.put("a.vcf", card("a", "Ann")).await;
    let file = format!("{FILES}f");
    let answer = server.send("PUT", &file, &[], "x").await;
    let f = answer.header("etag").to_owned();
    let token = async || {
        let found = server.propfind(BOOK, "0", &["D:sync-token"]).await;
        found.multistatus().rows[0].text("D:sync-token").to_owned()
    };
    let old = token().await;
    server.put("c.vcf", card("c", "Cleo")).await;
    let now = token().await;
    let path = format!("{BOOK}a.vcf");
    for (condition, holds) in [
        (format!("<{path}> ([{a}])"), true),
        (format!("<https://example.org:8443{path}> ([{a}])"), true),
        (format!("<https://elsewhere.example{path}> ([{a}])"), false),
        (
            format!("<https://elsewhere.example{path}?x> ([{a}])"),
            false,
        ),
        (format!("<{path}> ([\"x\"])"), false),
        (format!("<{path}> (Not [\"x\"])"), true),
        (format!("<{path}> ([W/{a}])"), false),
        (format!("<{path}> ([\"x\"]) <{file}> ([{f}])"), true),
        (format!("<{file}> ([{a}])"), false),
        (format!("<{BOOK}> (<{now}>)"), true),
        (format!("<{BOOK}> (<{old}>)"), false),
        (format!("<{BOOK}no.vcf> ([{a}])"), false),
        (format!("<{BOOK}no.vcf> (Not [{a}])"), true),
        ("<urn:other> ([\"x\"])".to_owned(), false),
        (
            format!("</dav/addressbooks/you/contacts/a.vcf> ([{a}])"),
            false,
        ),
        ("(<opaquelocktoken:x>) (Not <DAV:no-lock>)".to_owned(), true),
    ] {
        let headers = [("if", condition.as_str()), ("host", "example.org")];
        let answer = server.send("PUT", &file, &headers, "x").await;
        let expected = if holds { 204 } else { 412 };
        assert_eq!(answer.status, expected, "{condition}");
    }
}

/// Every method that changes something obeys.
#[tokio::test]
async fn each_method_that_writes_is_guarded() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    server.send("PUT", &format!("{FILES}f"), &[], "x").await;
    server
        .send("MKCOL", &format!("{HOME_SET}friends/"), &[], "")
        .await;
    let update = "<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop><D:displayname>x\
                  </D:displayname></D:prop></D:set></D:propertyupdate>";
    for (method, path, body) in [
        ("PUT", format!("{BOOK}a.vcf"), &*card("a", "Anna")),
        ("PUT", format!("{FILES}f"), "y"),
        ("PROPPATCH", BOOK.to_owned(), update),
        ("PROPPATCH", format!("{BOOK}a.vcf"), update),
        ("PROPPATCH", format!("{FILES}f"), update),
        ("MKCOL", format!("{HOME_SET}new/"), ""),
        ("MKCOL", format!("{FILES}new/"), ""),
        ("COPY", format!("{FILES}f"), ""),
        ("MOVE", format!("{BOOK}a.vcf"), ""),
        ("MOVE", format!("{HOME_SET}friends/"), ""),
        ("DELETE", format!("{BOOK}a.vcf"), ""),
        ("DELETE", format!("{FILES}f"), ""),
        ("DELETE", format!("{HOME_SET}friends/"), ""),
    ] {
        let to = match &path {
            path if path.starts_with(FILES) => format!("{FILES}g"),
            path if path.ends_with('/') => format!("{HOME_SET}other/"),
            _ => format!("{BOOK}b.vcf"),
        };
        let headers = [("if", "([\"stale\"])"), ("destination", &to)];
        let answer = server.send(method, &path, &headers, body.to_owned()).await;
        assert_eq!(answer.status, 412, "{method} {path}");
    }
    assert_eq!(server.store.address_books(server.me).unwrap().len(), 2);
    assert_eq!(server.book().display_name, "Contacts");
}
