//! GET of a card in the version that `Accept` asks for (RFC 6352 §5.1.1).

use crate::harness::{BOOK, Server, card};

#[tokio::test]
async fn accept_chooses_the_version_and_the_etag_is_of_the_stored_card() {
    let server = Server::start();
    let etag = server.put("a.vcf", card("a", "Ann")).await;
    let path = format!("{BOOK}a.vcf");
    for (accept, version) in [
        ("*/*", "3.0"),
        ("text/vcard", "3.0"),
        ("text/html", "3.0"),
        ("text/vcard; version=3.0", "3.0"),
        ("text/vcard; version=4.0", "4.0"),
        ("text/vcard; version=4.0, text/vcard; version=3.0", "3.0"),
    ] {
        let get = server.send("GET", &path, &[("accept", accept)], "").await;
        assert_eq!(get.status, 200, "{accept}");
        assert_eq!(
            get.header("content-type"),
            format!("text/vcard; charset=utf-8; version={version}"),
            "{accept}"
        );
        assert!(get.text().contains(&format!("VERSION:{version}\r\n")));
        assert_eq!(get.text() == card("a", "Ann"), version == "3.0");
        assert_eq!(get.header("etag"), etag);
        assert_eq!(get.header("vary"), "Accept");
        let head = server.send("HEAD", &path, &[("accept", accept)], "").await;
        assert_eq!(head.headers, get.headers);
    }
}

/// A card that says no version that can be named is given as it is.
#[tokio::test]
async fn a_card_of_another_version_has_none_in_its_content_type() {
    let server = Server::start();
    let old = card("a", "Ann").replace("VERSION:3.0", "VERSION:2.1");
    server.put("a.vcf", old.clone()).await;
    let path = format!("{BOOK}a.vcf");
    let get = server.send("GET", &path, &[], "").await;
    assert_eq!(get.header("content-type"), "text/vcard; charset=utf-8");
    assert_eq!(get.text(), old);
    let accept = [("accept", "text/vcard; version=3.0")];
    let get = server.send("GET", &path, &accept, "").await;
    assert!(get.text().contains("VERSION:3.0\r\n"));
}
