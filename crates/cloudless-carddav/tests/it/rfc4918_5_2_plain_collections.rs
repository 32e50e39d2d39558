//! Plain collections and what is in them: MKCOL, PUT, GET, DELETE and PROPFIND (RFC 4918 §9).

use crate::harness::{Answer, BOOK, HOME_SET, Server, basic, card, propfind};

pub(crate) const FILES: &str = "/dav/files/me/";

pub(crate) async fn put(server: &Server, path: &str, body: &str) -> Answer {
    let headers = [("content-type", "text/x-note; charset=utf-8")];
    server.send("PUT", path, &headers, body.to_owned()).await
}

pub(crate) async fn status(server: &Server, method: &str, path: &str) -> u16 {
    server.send(method, path, &[], "").await.status
}

#[tokio::test]
async fn rfc_4918_9_7_1_any_bytes_are_kept_with_their_media_type() {
    let server = Server::start();
    let path = format!("{FILES}a%20note%2Ftxt");
    assert_eq!(put(&server, &path, "x").await.status, 400, "a / in a name");
    let path = format!("{FILES}%C3%A4%23%3F");
    for (content_type, body, status) in [
        (Some("text/html"), &b"<script>"[..], 201),
        (Some("application/x-odd; a=\"b\""), &[0, 255, 13, 10], 204),
        (None, &[], 204),
        (Some("text/vcard"), b"no card", 204),
    ] {
        let headers: Vec<_> = content_type
            .map(|it| ("content-type", it))
            .into_iter()
            .collect();
        let answer = server.send("PUT", &path, &headers, body.to_vec()).await;
        assert_eq!(answer.status, status, "{answer:?}");
        let etag = answer.header("etag").to_owned();
        let got = server.send("GET", &path, &[], "").await;
        assert_eq!((got.status, &*got.body), (200, body));
        let given = content_type.unwrap_or("application/octet-stream");
        assert_eq!(got.header("content-type"), given);
        assert_eq!(got.header("etag"), etag);
        assert_eq!(got.header("content-security-policy"), "sandbox");
        assert_eq!(got.header("x-content-type-options"), "nosniff");
        assert_eq!(got.header("content-disposition"), "attachment");
        assert_eq!(got.header("last-modified"), "Sat, 01 Aug 2026 12:00:00 GMT");
        let head = server.send("HEAD", &path, &[], "").await;
        assert_eq!(head.header("content-length"), body.len().to_string());
        assert!(head.body.is_empty());
        let known = [("if-none-match", etag.as_str())];
        assert_eq!(server.send("GET", &path, &known, "").await.status, 304);
        let properties = ["D:getetag", "D:getcontentlength", "D:getcontenttype"];
        let found = server.propfind(&path, "0", &properties).await.multistatus();
        let row = found.row(&path);
        assert_eq!(row.text("D:getetag"), etag);
        assert_eq!(row.text("D:getcontentlength"), body.len().to_string());
        assert_eq!(row.text("D:getcontenttype"), given);
    }
    for (headers, status) in [
        ([("content-encoding", "gzip")], 415),
        ([("content-range", "bytes 0-0/1")], 400),
    ] {
        let answer = server.send("PUT", &path, &headers, "x").await;
        assert_eq!(answer.status, status);
    }
    let large = vec![0; 10 * 1024 * 1024 + 1];
    assert_eq!(server.send("PUT", &path, &[], large).await.status, 413);
}

#[tokio::test]
async fn rfc_4918_9_3_1_collections_are_made_one_in_another() {
    let server = Server::start();
    let (a, b) = (format!("{FILES}a/"), format!("{FILES}a/b"));
    assert_eq!(status(&server, "MKCOL", &b).await, 409, "no parent");
    assert_eq!(put(&server, &b, "x").await.status, 409, "no parent");
    assert_eq!(status(&server, "MKCOL", &a).await, 201);
    assert_eq!(put(&server, &b, "x").await.status, 201);
    for path in [&a, &b, FILES, "/dav/files/"] {
        assert_eq!(status(&server, "MKCOL", path).await, 405, "{path}");
    }
    assert_eq!(status(&server, "MKCOL", &format!("{b}/c")).await, 409);
    assert_eq!(put(&server, &format!("{b}/c"), "x").await.status, 409);
    for path in [a.as_str(), a.trim_end_matches('/'), FILES] {
        let refused = put(&server, path, "x").await;
        assert_eq!(refused.status, 405, "{path}");
        assert!(!refused.header("allow").contains("PUT"));
    }
    let typed = [("content-type", "text/plain")];
    let c = format!("{FILES}c/");
    let refused = server.send("MKCOL", &c, &typed, "text").await;
    assert_eq!(refused.status, 415);
    let deep = format!("{FILES}{}", "d/".repeat(33));
    assert_eq!(status(&server, "MKCOL", &deep).await, 403);
    let long = format!("{FILES}{}", "x".repeat(256));
    assert_eq!(status(&server, "MKCOL", &long).await, 400);
}

/// RFC 5689 §3: with its properties or not at all, and never another type.
#[tokio::test]
async fn an_extended_mkcol_sets_properties_of_a_plain_collection() {
    let server = Server::start();
    let path = format!("{FILES}a/");
    let mkcol = async |properties: &str| {
        let body = format!(
            "<D:mkcol xmlns:D='DAV:' xmlns:X='urn:example' \
             xmlns:C='urn:ietf:params:xml:ns:carddav'>\
             <D:set><D:prop>{properties}</D:prop></D:set></D:mkcol>"
        );
        let headers = [("content-type", "application/xml")];
        server.send("MKCOL", &path, &headers, body).await
    };
    let plain = "<D:resourcetype><D:collection/></D:resourcetype>";
    let book = "<D:resourcetype><D:collection/><C:addressbook/></D:resourcetype>";
    let refused = mkcol(book).await;
    assert!(refused.text().contains("<D:valid-resourcetype/>"));
    let refused = mkcol(&format!("{plain}<D:getetag/>")).await;
    assert_eq!(refused.status, 403);
    let many: String = (0..65).map(|n| format!("<X:p{n}/>")).collect();
    assert_eq!(mkcol(&many).await.status, 507);
    assert_eq!(status(&server, "GET", &path).await, 404);
    let text = "<D:displayname>A</D:displayname><X:color>red</X:color>";
    assert_eq!(mkcol(&format!("{plain}{text}")).await.status, 201);
    let found = server
        .propfind(&path, "0", &["D:displayname", "X:color", "D:resourcetype"])
        .await
        .multistatus();
    let row = found.row(&path);
    assert_eq!(
        (row.text("D:displayname"), row.text("X:color")),
        ("A", "red")
    );
    assert_eq!(row.inside("D:resourcetype"), ["D:collection"]);
}

#[tokio::test]
async fn rfc_4918_9_1_members_are_listed_by_depth() {
    let server = Server::start();
    let (a, b) = (format!("{FILES}a/"), format!("{FILES}a/b"));
    status(&server, "MKCOL", &a).await;
    put(&server, &b, "x").await;
    let list = async |path: &str, depth: &str| {
        let answer = server.propfind(path, depth, &["D:resourcetype"]).await;
        let rows = answer.multistatus().rows.into_iter();
        rows.map(|row| row.href).collect::<Vec<_>>()
    };
    assert_eq!(list("/dav/files/", "1").await, ["/dav/files/", FILES]);
    assert_eq!(list(FILES, "1").await, [FILES, &a]);
    assert_eq!(list(a.trim_end_matches('/'), "1").await, [&*a, &b]);
    assert_eq!(list(&a, "0").await, [&*a]);
    assert_eq!(list(&b, "1").await, [&*b]);
    assert_eq!(list(&b, "infinity").await, [&*b]);
    let refused = server.propfind(&a, "infinity", &["D:getetag"]).await;
    refused.assert_condition(403, "DAV:", "propfind-finite-depth");
    assert_eq!(status(&server, "PROPFIND", &format!("{b}/")).await, 404);
    // Clients that look for address books meet none of this.
    let home = server.propfind(HOME_SET, "1", &["D:resourcetype"]).await;
    assert_eq!(home.multistatus().hrefs(), [HOME_SET, BOOK]);
    assert_eq!(status(&server, "REPORT", &a).await, 405);
}

#[tokio::test]
async fn rfc_4918_9_6_1_a_collection_goes_with_all_that_is_in_it() {
    let server = Server::start();
    let (a, b) = (format!("{FILES}a/"), format!("{FILES}a/b"));
    status(&server, "MKCOL", &a).await;
    let etag = put(&server, &b, "x").await.header("etag").to_owned();
    let delete = async |path: &str, header: &str, value: &str| {
        let headers = [(header, value)];
        server.send("DELETE", path, &headers, "").await.status
    };
    assert_eq!(delete(&a, "depth", "0").await, 400);
    assert_eq!(delete(&format!("{b}/"), "depth", "infinity").await, 404);
    assert_eq!(delete(&b, "if-match", "\"other\"").await, 412);
    assert_eq!(delete(&a, "if-none-match", "*").await, 412);
    assert_eq!(delete(&a, "if-match", &etag).await, 412, "it has no tag");
    assert_eq!(
        delete(FILES, "depth", "infinity").await,
        403,
        "the root stays"
    );
    assert_eq!(delete(&a, "if-match", "*").await, 204);
    for path in [&a, &b] {
        assert_eq!(status(&server, "GET", path).await, 404);
        assert_eq!(status(&server, "DELETE", path).await, 404);
    }
    assert_eq!(put(&server, &b, "x").await.status, 409);
}

#[tokio::test]
async fn rfc_9110_13_1_conditions_guard_a_put() {
    let server = Server::start();
    let path = format!("{FILES}a");
    let put = async |header: &str, value: &str, body: &str| {
        let headers = [(header, value)];
        server.send("PUT", &path, &headers, body.to_owned()).await
    };
    assert_eq!(put("if-match", "*", "1").await.status, 412);
    let etag = put("if-none-match", "*", "1")
        .await
        .header("etag")
        .to_owned();
    assert_eq!(put("if-none-match", "*", "2").await.status, 412);
    assert_eq!(put("if-match", "\"other\"", "2").await.status, 412);
    assert_eq!(put("if", "([\"other\"])", "2").await.status, 412);
    assert_eq!(put("if", &format!("([{etag}])"), "2").await.status, 204);
    assert_eq!(put("if-match", &etag, "3").await.status, 412);
    assert_eq!(server.send("GET", &path, &[], "").await.text(), "2");
}

/// RFC 4331: what is left is told, and when nothing is, why.
#[tokio::test]
async fn a_tree_has_a_quota() {
    let server = Server::start();
    let quota = async || {
        let names = ["D:quota-used-bytes", "D:quota-available-bytes"];
        let found = server.propfind(FILES, "0", &names).await.multistatus();
        let number = |name: &str| found.row(FILES).text(name).parse::<u64>().unwrap();
        (number(names[0]), number(names[1]))
    };
    let (used, available) = quota().await;
    assert_eq!(used, 0);
    let part = vec![0; 8 * 1024 * 1024];
    for n in 0..8 {
        let path = format!("{FILES}{n}");
        assert_eq!(
            server.send("PUT", &path, &[], part.clone()).await.status,
            201
        );
    }
    assert_eq!(quota().await, (available, 0));
    let path = format!("{FILES}one-more");
    let refused = server.send("PUT", &path, &[], "x").await;
    refused.assert_condition(507, "DAV:", "quota-not-exceeded");
    let to = [("destination", path.as_str())];
    let refused = server.send("COPY", &format!("{FILES}0"), &to, "").await;
    refused.assert_condition(507, "DAV:", "quota-not-exceeded");
    let update = "<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop><X:a xmlns:X='urn:example'/>\
                  </D:prop></D:set></D:propertyupdate>";
    let refused = server.send("PROPPATCH", FILES, &[], update).await;
    assert!(refused.text().contains("<D:quota-not-exceeded/>"));
    // Contacts have nothing to do with it.
    server.put("a.vcf", card("a", "Ann")).await;
    assert_eq!(status(&server, "DELETE", &format!("{FILES}0")).await, 204);
    assert_eq!(server.send("PUT", &path, &[], "x").await.status, 201);
}

#[tokio::test]
async fn a_tree_is_its_users_alone() {
    let server = Server::start();
    let path = format!("{FILES}a");
    put(&server, &path, "mine").await;
    let you = basic("you", "yours");
    let body = propfind(&["D:getetag"]);
    for method in [
        "GET",
        "PUT",
        "DELETE",
        "MKCOL",
        "PROPFIND",
        "PROPPATCH",
        "OPTIONS",
    ] {
        let headers = [("depth", "0")];
        let answer = server
            .send_as(Some(&you), method, &path, &headers, body.clone())
            .await;
        assert_eq!(answer.status, 404, "{method}");
    }
    let headers = [("destination", path.as_str())];
    let yours = "/dav/files/you/b";
    server.send_as(Some(&you), "PUT", yours, &[], "x").await;
    for method in ["COPY", "MOVE"] {
        let answer = server
            .send_as(Some(&you), method, yours, &headers, "")
            .await;
        assert_eq!(answer.status, 403);
    }
    assert_eq!(server.send("GET", &path, &[], "").await.text(), "mine");
}
