//! The version and the parts of cards that a report asks for.

use cloudless_carddav::Settings;

use crate::harness::{Answer, BOOK, Server, card, multiget, query, sync_collection};

const CARDDAV: &str = "urn:ietf:params:xml:ns:carddav";

/// The answers of all three reports, each asked for address-data with these attributes and content.
async fn reports(server: &Server, attributes: &str, inside: &str) -> Vec<Answer> {
    let href = format!("{BOOK}a.vcf");
    let properties = ["D:getetag", "C:address-data"];
    let mut answers = Vec::new();
    for body in [
        multiget(&properties, &[&href]),
        query(&properties, "<C:filter/>"),
        query(
            &properties,
            "<C:filter><C:prop-filter name='FN'/></C:filter>",
        ),
        sync_collection(&properties, "", ""),
    ] {
        let body = body.replace(
            "<C:address-data/>",
            &format!("<C:address-data {attributes}>{inside}</C:address-data>"),
        );
        answers.push(server.send("REPORT", BOOK, &[("depth", "1")], body).await);
    }
    answers
}

/// The card that all three reports give.
async fn given(server: &Server, attributes: &str, inside: &str) -> String {
    let mut given = Vec::new();
    for answer in reports(server, attributes, inside).await {
        let answer = answer.multistatus();
        let row = answer.row(&format!("{BOOK}a.vcf"));
        let etag = format!(
            "\"{}\"",
            server
                .store
                .card_row(server.book().id, "a.vcf")
                .unwrap()
                .unwrap()
                .etag
        );
        assert_eq!(row.text("D:getetag"), etag, "of the stored bytes");
        given.push(row.text("C:address-data").to_owned());
    }
    given.dedup();
    assert_eq!(given.len(), 1, "{given:?}");
    given.remove(0)
}

#[tokio::test]
async fn the_version_asked_for_is_given_and_no_other() {
    let server = Server::start();
    let v3 = card("a", "Ann");
    server.put("a.vcf", v3.clone()).await;
    for attributes in [
        "",
        "content-type='text/vcard'",
        "content-type='TEXT/VCARD; charset=utf-8'",
        "version='3.0'",
    ] {
        assert_eq!(given(&server, attributes, "").await, v3, "{attributes}");
    }
    let v4 = given(&server, "content-type='text/vcard' version='4.0'", "").await;
    assert!(v4.contains("VERSION:4.0\r\n"), "{v4}");

    let stored = v3.replace("VERSION:3.0", "VERSION:4.0");
    server.put("a.vcf", stored.clone()).await;
    assert_eq!(given(&server, "", "").await, stored);
    assert_eq!(given(&server, "version='4.0'", "").await, stored);
    let converted = given(&server, "version='3.0'", "").await;
    assert!(converted.contains("VERSION:3.0\r\n"), "{converted}");
}

#[tokio::test]
async fn another_format_or_version_is_refused() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    for attributes in [
        "content-type='application/vcard+json'",
        "version='5.0'",
        "content-type='text/vcard' version='2.1'",
    ] {
        for answer in reports(&server, attributes, "").await {
            answer.assert_condition(403, CARDDAV, "supported-address-data");
        }
    }
}

#[tokio::test]
async fn rfc_6352_10_4_2_only_the_properties_asked_for() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    let parts = "<C:prop name='fn'/><C:prop name='UID' novalue='yes'/><C:prop name='X-NONE'/>";
    assert_eq!(
        given(&server, "", parts).await,
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:\r\nFN:Ann\r\nEND:VCARD\r\n"
    );
    let parts = given(&server, "version='4.0'", "<C:prop name='FN'/>").await;
    assert_eq!(
        parts,
        "BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Ann\r\nEND:VCARD\r\n"
    );
    // KDE.
    assert_eq!(given(&server, "", "<C:allprop/>").await, card("a", "Ann"));
}

/// RFC 6352 §6.2.2. DAVx5 writes what it sees here.
#[tokio::test]
async fn vcard_4_is_offered_only_where_the_settings_say_so() {
    let mut server = Server::start();
    for (offer_vcard_4, versions) in [(false, &["3.0"][..]), (true, &["3.0", "4.0"])] {
        server.carddav = server.carddav.with_settings(Settings { offer_vcard_4 });
        let answer = server
            .propfind(BOOK, "0", &["C:supported-address-data"])
            .await;
        let expected: Vec<_> = versions
            .iter()
            .map(|it| format!("C:address-data-type@content-type=text/vcard@version={it}"))
            .collect();
        let answer = answer.multistatus();
        assert_eq!(
            answer.row(BOOK).inside("C:supported-address-data"),
            expected
        );
    }
}
