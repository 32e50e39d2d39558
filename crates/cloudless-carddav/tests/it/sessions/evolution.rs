//! Evolution Data Server, which GNOME Contacts uses too.

use super::Client;
use crate::harness::{BOOK, PRINCIPAL, Server, card, multiget};

#[tokio::test]
async fn a_session() {
    let server = Server::start();
    server.put("plus+sign.vcf", card("plus", "Plus")).await;
    let mut client = Client::logged_in(&server);
    // It starts at the root and goes to well-known only when that fails.
    let asked = [
        "D:resourcetype",
        "D:current-user-principal",
        "D:principal-URL",
        "C:addressbook-home-set",
    ];
    let found = client.propfind("/", "0", &asked).await.multistatus();
    assert_eq!(found.rows[0].text("D:principal-URL"), PRINCIPAL);
    let found = client
        .propfind(PRINCIPAL, "0", &["C:addressbook-home-set"])
        .await
        .multistatus();
    let home_set = found.rows[0].text("C:addressbook-home-set").to_owned();
    let asked = [
        "D:resourcetype",
        "D:displayname",
        "D:getetag",
        "D:getcontenttype",
        "D:getcontentlength",
        "D:creationdate",
        "D:getlastmodified",
        "C:addressbook-description",
    ];
    let found = client.propfind(&home_set, "1", &asked).await.multistatus();
    assert_eq!(found.row(BOOK).text("D:displayname"), "Contacts");
    // Opening the book.
    let options = client.send("OPTIONS", BOOK, &[], "").await;
    assert!(options.header("dav").contains("addressbook"));
    let found = client
        .propfind(BOOK, "0", &["D:current-user-privilege-set"])
        .await
        .multistatus();
    assert!(
        found
            .row(BOOK)
            .inside("D:current-user-privilege-set")
            .contains(&"D:write-content")
    );
    let ctag = async |client: &mut Client<'_>| {
        let found = client
            .propfind(BOOK, "0", &["CS:getctag"])
            .await
            .multistatus();
        found.row(BOOK).text("CS:getctag").to_owned()
    };
    let before = ctag(&mut client).await;
    assert_eq!(ctag(&mut client).await, before);
    let listed = client
        .propfind(BOOK, "1", &["D:getetag"])
        .await
        .multistatus();
    // The book has no ETag; it must not be taken for a card.
    assert!(listed.row(BOOK).found("D:getetag").is_none());
    let href = format!("{BOOK}plus%2Bsign.vcf");
    assert_eq!(listed.hrefs(), [BOOK, href.as_str()]);
    let body = multiget(&["D:getetag", "C:address-data"], &[&href]);
    let cards = client.send("REPORT", BOOK, &[], &body).await.multistatus();
    assert_eq!(
        cards.row(&href).text("C:address-data"),
        card("plus", "Plus")
    );
    // An edit in its own spelling of the path, and a new card.
    let headers = [
        ("prefer", "return=minimal"),
        ("content-type", "text/vcard; charset=\"utf-8\""),
    ];
    let put = client
        .send("PUT", &href, &headers, &card("plus", "Plus 2"))
        .await;
    assert_eq!(put.status, 204);
    assert!(
        put.header("etag").starts_with('"'),
        "a strong ETag saves it a GET"
    );
    assert_ne!(ctag(&mut client).await, before);
    let new = format!("{BOOK}da39a3ee5e6b4b0d3255bfef95601890afd80709.vcf");
    let headers = [&headers[..], &[("if-none-match", "*")]].concat();
    assert_eq!(
        client
            .send("PUT", &new, &headers, &card("da39", "New"))
            .await
            .status,
        201
    );
    assert_eq!(client.send("DELETE", &new, &[], "").await.status, 204);
}
