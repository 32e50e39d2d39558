//! The `Prefer` header in WebDAV (RFC 8144).

use crate::harness::{
    Answer, BOOK, HOME_SET, Server, card, multiget, propfind, query, sync_collection,
};

const MINIMAL: (&str, &str) = ("prefer", "return=minimal");
const REPRESENTATION: (&str, &str) = ("prefer", "return=representation");

#[tokio::test]
async fn rfc_8144_2_1_minimal_leaves_out_what_is_not_there() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    let href = format!("{BOOK}a.vcf");
    let properties = ["D:getetag", "X:color"];
    for (method, body) in [
        ("PROPFIND", propfind(&properties)),
        ("REPORT", multiget(&properties, &[&href])),
        ("REPORT", query(&properties, "<C:filter/>")),
        ("REPORT", sync_collection(&properties, "", "")),
    ] {
        for (prefer, missing) in [
            (None, &["X:color"][..]),
            (Some("return=minimal"), &[]),
            (Some("wait=10, Return=\"minimal\"; foo"), &[]),
            (Some("return=representation, return=minimal"), &["X:color"]),
        ] {
            let mut headers = vec![("depth", "1")];
            headers.extend(prefer.map(|prefer| ("prefer", prefer)));
            let answer = server.send(method, BOOK, &headers, body.clone()).await;
            let applied = if missing.is_empty() { MINIMAL.1 } else { "" };
            assert_eq!(answer.header("preference-applied"), applied, "{prefer:?}");
            let answer = answer.multistatus();
            let row = answer.row(&href);
            assert!(row.found("D:getetag").is_some());
            assert_eq!(row.names("HTTP/1.1 404 Not Found"), missing, "{body}");
        }
    }
}

#[tokio::test]
async fn rfc_8144_2_2_depth_noroot_leaves_the_collection_itself_out() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    let body = propfind(&["D:getetag", "X:color"]);
    let list = async |path: &str, depth: &str, prefer: &str| {
        let headers = [("depth", depth), ("prefer", prefer)];
        server.send("PROPFIND", path, &headers, body.clone()).await
    };
    let answer = list(BOOK, "1", "depth-noroot").await;
    assert_eq!(answer.header("preference-applied"), "depth-noroot");
    let path = format!("{BOOK}a.vcf");
    assert_eq!(answer.multistatus().hrefs(), [&*path]);
    let answer = list(HOME_SET, "1", "return=minimal, depth-noroot").await;
    let applied: Vec<_> = answer
        .headers
        .get_all("preference-applied")
        .iter()
        .collect();
    assert_eq!(applied, ["return=minimal", "depth-noroot"]);
    assert_eq!(answer.multistatus().hrefs(), [BOOK]);
    // Without members there is nothing to leave out.
    let answer = list(BOOK, "0", "depth-noroot").await;
    assert_eq!(answer.header("preference-applied"), "");
    assert_eq!(answer.multistatus().hrefs(), [BOOK]);
}

async fn put(server: &Server, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut all = vec![("content-type", "text/vcard")];
    all.extend(headers);
    let path = format!("{BOOK}a.vcf");
    server.send("PUT", &path, &all, body.to_owned()).await
}

#[track_caller]
fn assert_is(answer: &Answer, status: u16, body: &str) {
    assert_eq!(answer.status, status);
    assert_eq!(answer.text(), body);
    assert_eq!(answer.header("preference-applied"), REPRESENTATION.1);
    assert_eq!(answer.header("content-location"), format!("{BOOK}a.vcf"));
    assert!(answer.header("content-type").starts_with("text/vcard"));
    assert!(!answer.header("etag").is_empty());
}

#[tokio::test]
async fn rfc_8144_3_1_a_put_gives_the_card_back() {
    let server = Server::start();
    let (ann, anna) = (card("a", "Ann"), card("a", "Anna"));
    assert_is(&put(&server, &[REPRESENTATION], &ann).await, 201, &ann);
    assert_is(&put(&server, &[REPRESENTATION], &anna).await, 200, &anna);
    let plain = put(&server, &[MINIMAL], &ann).await;
    assert_eq!((plain.status, plain.text()), (204, ""));
}

/// A client whose edit comes too late needs no second request to merge it.
#[tokio::test]
async fn rfc_8144_3_2_a_failed_condition_gives_the_current_card() {
    let server = Server::start();
    let ann = card("a", "Ann");
    put(&server, &[], &ann).await;
    let late = card("a", "Late");
    for condition in [("if-match", "\"old\""), ("if-none-match", "*")] {
        let answer = put(&server, &[condition, REPRESENTATION], &late).await;
        assert_is(&answer, 412, &ann);
        let plain = put(&server, &[condition], &late).await;
        assert_eq!(plain.status, 412);
        assert_eq!(plain.header("preference-applied"), "");
    }
    server
        .send("DELETE", &format!("{BOOK}a.vcf"), &[], "")
        .await;
    let answer = put(&server, &[("if-match", "\"old\""), REPRESENTATION], &late).await;
    assert_eq!(answer.status, 412);
    assert_eq!(answer.header("preference-applied"), "", "there is none");
}
