//! COPY and MOVE of plain resources and collections (RFC 4918 §9.8, §9.9).

use crate::harness::{Answer, BOOK, Server, card};
use crate::rfc4918_5_2_plain_collections::{FILES, put, status};

/// A server with `a/`, which is red, `a/b`, which is blue, and `c`.
async fn server() -> Server {
    let server = Server::start();
    status(&server, "MKCOL", &format!("{FILES}a/")).await;
    put(&server, &format!("{FILES}a/b"), "b").await;
    put(&server, &format!("{FILES}c"), "c").await;
    for (path, color) in [("a/", "red"), ("a/b", "blue")] {
        let body = format!(
            "<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop>\
             <color xmlns='urn:example'>{color}</color></D:prop></D:set></D:propertyupdate>"
        );
        let path = format!("{FILES}{path}");
        let answer = server.send("PROPPATCH", &path, &[], body).await;
        assert_eq!(answer.status, 207);
    }
    server
}

async fn transfer(
    server: &Server,
    method: &str,
    (from, to): (&str, &str),
    more: &[(&str, &str)],
) -> Answer {
    let to = format!("{FILES}{to}");
    let mut headers = vec![("destination", to.as_str())];
    headers.extend(more);
    server
        .send(method, &format!("{FILES}{from}"), &headers, "")
        .await
}

async fn color(server: &Server, path: &str) -> Option<String> {
    let path = format!("{FILES}{path}");
    let answer = server.propfind(&path, "0", &["X:color"]).await;
    if answer.status == 404 {
        return None;
    }
    let found = answer.multistatus();
    let row = found.rows.first()?;
    row.found("X:color")?;
    Some(row.text("X:color").to_owned())
}

#[tokio::test]
async fn rfc_4918_9_8_3_a_collection_goes_whole_or_alone() {
    let red = Some("red".to_owned());
    let blue = Some("blue".to_owned());
    for (method, depth, stays, members) in [
        ("COPY", None, true, true),
        ("COPY", Some("infinity"), true, true),
        ("COPY", Some("0"), true, false),
        ("MOVE", None, false, true),
        ("MOVE", Some("infinity"), false, true),
    ] {
        let server = server().await;
        let more: Vec<_> = depth.map(|depth| ("depth", depth)).into_iter().collect();
        let answer = transfer(&server, method, ("a/", "d/"), &more).await;
        assert_eq!(
            (answer.status, answer.text()),
            (201, ""),
            "{method} {depth:?}"
        );
        assert_eq!(color(&server, "d/").await, red);
        assert_eq!(
            color(&server, "d/b").await,
            blue.clone().filter(|_| members)
        );
        assert_eq!(color(&server, "a/b").await, blue.clone().filter(|_| stays));
        // Over the first copy: what was there goes first.
        if stays {
            put(&server, &format!("{FILES}d/old"), "old").await;
            let answer = transfer(&server, method, ("a/", "d/"), &more).await;
            assert_eq!(answer.status, 204);
            assert_eq!(status(&server, "GET", &format!("{FILES}d/old")).await, 404);
        }
    }
}

#[tokio::test]
async fn rfc_4918_10_6_overwrite_replaces_whatever_is_there() {
    for method in ["COPY", "MOVE"] {
        for (from, to) in [("a/b", "c"), ("c", "a/"), ("a/", "c")] {
            let server = server().await;
            let keep = [("overwrite", "F")];
            let answer = transfer(&server, method, (from, to), &keep).await;
            assert_eq!(answer.status, 412, "{method} {from} {to}");
            let path = format!("{FILES}{}", from.trim_end_matches('/'));
            let before = server.send("GET", &path, &[], "").await;
            let answer = transfer(&server, method, (from, to), &[]).await;
            assert_eq!(answer.status, 204, "{method} {from} {to}");
            let path = format!("{FILES}{}", to.trim_end_matches('/'));
            let after = server.send("GET", &path, &[], "").await;
            assert_eq!(after.body, before.body);
            assert_eq!(after.header("content-type"), before.header("content-type"));
            assert_eq!(after.header("etag"), before.header("etag"));
        }
    }
}

#[tokio::test]
async fn rfc_4918_9_8_5_what_cannot_be_is_refused() {
    let server = server().await;
    server.put("a.vcf", card("a", "Ann")).await;
    for (from, to, status) in [
        ("none", "d", 404),
        ("c/", "d", 404),
        ("c", "none/d", 409),
        ("c", "a/b/d", 409),
        ("c", "c", 403),
        ("a/", "a/", 403),
        ("a/", "a/d/", 403),
        ("a/b", "a", 403),
        ("a", "", 403),
        ("", "d", 403),
    ] {
        for method in ["COPY", "MOVE"] {
            let answer = transfer(&server, method, (from, to), &[]).await;
            assert_eq!(answer.status, status, "{method} {from:?} {to:?}");
        }
    }
    for (method, depth) in [("COPY", "1"), ("MOVE", "1"), ("MOVE", "0")] {
        let answer = transfer(&server, method, ("a/", "d/"), &[("depth", depth)]).await;
        assert_eq!(answer.status, 400, "{method} {depth}");
    }
    let stale = [("if-match", "\"stale\"")];
    let answer = transfer(&server, "MOVE", ("c", "d"), &stale).await;
    assert_eq!(answer.status, 412);
    // Cards and files do not mix.
    let file = format!("{FILES}c");
    let card = format!("{BOOK}a.vcf");
    for (from, to) in [(&file, &card), (&card, &file), (&file, &BOOK.to_owned())] {
        for method in ["COPY", "MOVE"] {
            let headers = [("destination", to.as_str())];
            let answer = server.send(method, from, &headers, "").await;
            assert_eq!(answer.status, 403, "{method} {from} {to}");
        }
    }
    let elsewhere = [
        ("host", "here.example"),
        ("destination", "http://there.example/d"),
    ];
    let answer = server.send("COPY", &file, &elsewhere, "").await;
    assert_eq!(answer.status, 502);
}
