//! Contacts on iOS and macOS.

use super::Client;
use crate::harness::{BOOK, Server, card, multiget, sync_collection};

#[tokio::test]
async fn a_session() {
    let server = Server::start();
    server.put("A1B2.vcf", card("A1B2", "Ann")).await;
    let mut client = Client::new(&server);
    let asked = [
        "D:current-user-principal",
        "D:principal-URL",
        "D:resourcetype",
    ];
    let found = client
        .propfind("/.well-known/carddav", "0", &asked)
        .await
        .multistatus();
    let principal = found.rows[0].text("D:current-user-principal").to_owned();
    assert_eq!(
        client.send("OPTIONS", &principal, &[], "").await.status,
        200
    );
    let asked = [
        "C:addressbook-home-set",
        "C:directory-gateway",
        "D:displayname",
        "CS:email-address-set",
        "D:principal-collection-set",
        "D:principal-URL",
        "D:resource-id",
        "D:supported-report-set",
    ];
    let found = client.propfind(&principal, "0", &asked).await.multistatus();
    let home_set = found.rows[0].text("C:addressbook-home-set").to_owned();
    // It needs a slash at the end of each collection.
    assert!(principal.ends_with('/') && home_set.ends_with('/'));
    let asked = [
        "D:add-member",
        "X:bulk-requests",
        "D:current-user-privilege-set",
        "D:displayname",
        "C:max-image-size",
        "C:max-resource-size",
        "X:me-card",
        "D:owner",
        "X:push-transports",
        "D:quota-available-bytes",
        "D:resource-id",
        "D:resourcetype",
        "D:supported-report-set",
        "D:sync-token",
        "CS:getctag",
    ];
    let found = client.propfind(&home_set, "1", &asked).await.multistatus();
    let book = found.row(BOOK);
    // Both would make it send requests that are not served.
    assert!(book.found("D:add-member").is_none() && book.found("X:bulk-requests").is_none());
    assert!(!book.text("CS:getctag").is_empty());
    let body = sync_collection(&["D:getetag"], "", "");
    let listed = client
        .send("REPORT", BOOK, &[("depth", "1")], &body)
        .await
        .multistatus();
    let href = format!("{BOOK}A1B2.vcf");
    assert_eq!(listed.hrefs(), [href.as_str()]);
    // It asks again for ever for an href that the answer leaves out.
    let gone = format!("{BOOK}GONE.vcf");
    let data = "C:address-data content-type='text/vcard' version='3.0'";
    let body = multiget(&["D:getetag", data], &[&href, &gone]);
    let cards = client
        .send("REPORT", BOOK, &[("depth", "1")], &body)
        .await
        .multistatus();
    assert_eq!(cards.hrefs(), [&href, &gone]);
    let headers = [
        ("content-type", "text/vcard; charset=utf-8"),
        ("if-none-match", "*"),
    ];
    let new = card("C3D4", "Cleo").replace(
        "END:",
        "item1.EMAIL;type=INTERNET;type=pref:c@example.org\r\nitem1.X-ABLabel:_$!<Other>!$_\r\n\
         BDAY;X-APPLE-OMIT-YEAR=1604:1604-02-29\r\nEND:",
    );
    let path = format!("{BOOK}C3D4.vcf");
    assert_eq!(client.send("PUT", &path, &headers, &new).await.status, 201);
    assert_eq!(client.send("GET", &path, &[], "").await.text(), new);
}
