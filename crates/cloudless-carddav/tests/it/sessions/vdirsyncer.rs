//! vdirsyncer.

use super::Client;
use crate::harness::{BOOK, Server, card, multiget};

#[tokio::test]
async fn a_session() {
    let server = Server::start();
    let mut client = Client::logged_in(&server);
    let found = client
        .propfind("/.well-known/carddav", "0", &["D:current-user-principal"])
        .await;
    assert_eq!(
        client.log,
        ["PROPFIND /.well-known/carddav 301", "PROPFIND /dav/ 207"]
    );
    let found = found.multistatus();
    let principal = found.rows[0].text("D:current-user-principal").to_owned();
    let found = client
        .propfind(&principal, "0", &["C:addressbook-home-set"])
        .await
        .multistatus();
    let home_set = found.rows[0].text("C:addressbook-home-set").to_owned();
    let found = client
        .propfind(&home_set, "1", &["D:resourcetype"])
        .await
        .multistatus();
    assert!(
        found
            .row(BOOK)
            .inside("D:resourcetype")
            .contains(&"C:addressbook")
    );
    let found = client
        .propfind(BOOK, "0", &["D:displayname"])
        .await
        .multistatus();
    assert_eq!(found.row(BOOK).text("D:displayname"), "Contacts");
    // Upload with If-None-Match, list, fetch, change with If-Match, delete with If-Match.
    let path = format!("{BOOK}uid%401.vcf");
    let headers = [("if-none-match", "*"), ("content-type", "text/vcard")];
    let put = client
        .send("PUT", &path, &headers, &card("uid@1", "Ann"))
        .await;
    assert_eq!(put.status, 201);
    let asked = ["D:resourcetype", "D:getcontenttype", "D:getetag"];
    let listed = client.propfind(BOOK, "1", &asked).await.multistatus();
    let row = listed.row(&path);
    assert!(row.text("D:getcontenttype").starts_with("text/vcard"));
    let etag = row.text("D:getetag").to_owned();
    assert_eq!(etag, put.header("etag"));
    let body = multiget(&["D:getetag", "C:address-data"], &[&path]);
    let cards = client.send("REPORT", BOOK, &[], &body).await.multistatus();
    assert_eq!(
        cards.row(&path).text("C:address-data"),
        card("uid@1", "Ann")
    );
    let headers = [("if-match", etag.as_str()), ("content-type", "text/vcard")];
    let put = client
        .send("PUT", &path, &headers, &card("uid@1", "Anna"))
        .await;
    assert_eq!(put.status, 204);
    let stale = client
        .send("DELETE", &path, &[("if-match", &etag)], "")
        .await;
    assert_eq!(stale.status, 412, "a conflict is seen");
    let gone = client
        .send("DELETE", &path, &[("if-match", put.header("etag"))], "")
        .await;
    assert_eq!(gone.status, 204);
}
