//! Thunderbird.

use super::Client;
use crate::harness::{BOOK, HOME_SET, PRINCIPAL, Server, card, multiget, sync_collection};

#[tokio::test]
async fn a_session() {
    let server = Server::start();
    server.put("old.vcf", card("old", "Old")).await;
    let mut client = Client::new(&server);
    let found = client
        .propfind("/.well-known/carddav", "0", &["D:current-user-principal"])
        .await;
    let found = found.multistatus();
    assert_eq!(found.rows[0].text("D:current-user-principal"), PRINCIPAL);
    let found = client
        .propfind(PRINCIPAL, "0", &["C:addressbook-home-set"])
        .await
        .multistatus();
    assert_eq!(found.rows[0].text("C:addressbook-home-set"), HOME_SET);
    let asked = [
        "D:resourcetype",
        "D:displayname",
        "D:current-user-privilege-set",
    ];
    let found = client.propfind(HOME_SET, "1", &asked).await.multistatus();
    let book = found.row(BOOK);
    assert_eq!(book.propstats[0].status, "HTTP/1.1 200 OK");
    assert!(
        book.inside("D:current-user-privilege-set")
            .contains(&"D:write")
    );
    // First sync.
    let asked = ["D:resourcetype", "D:getetag", "CS:getctag"];
    let listed = client.propfind(BOOK, "1", &asked).await.multistatus();
    let hrefs: Vec<_> = listed
        .hrefs()
        .into_iter()
        .filter(|href| *href != BOOK)
        .collect();
    let data = ["D:getetag", "C:address-data"];
    let depth = [("depth", "1")];
    let cards = client
        .send("REPORT", BOOK, &depth, &multiget(&data, &hrefs))
        .await
        .multistatus();
    assert_eq!(cards.hrefs(), hrefs);
    let asked = ["D:displayname", "CS:getctag", "D:sync-token"];
    let state = client.propfind(BOOK, "0", &asked).await.multistatus();
    let token = state.row(BOOK).text("D:sync-token").to_owned();
    // A new card, whose href is taken from the answer to a multiget.
    let path = format!("{BOOK}a@b.vcf");
    let new = card("a@b", "New").replace("VERSION:3.0", "VERSION:4.0");
    let put = client
        .send("PUT", &path, &[("content-type", "text/vcard")], &new)
        .await;
    assert_eq!(put.status, 201);
    let cards = client
        .send("REPORT", BOOK, &depth, &multiget(&data, &[&path]))
        .await
        .multistatus();
    assert_eq!(cards.rows[0].text("C:address-data"), new);
    let body = sync_collection(&data, &token, "");
    let changes = client
        .send("REPORT", BOOK, &depth, &body)
        .await
        .multistatus();
    assert_eq!(changes.hrefs(), cards.hrefs(), "compared as text");
    // A deletion without conditions, and a restart that begins with a sync.
    let gone = client
        .send("DELETE", &path, &[("content-type", "text/xml")], "")
        .await;
    assert_eq!(gone.status, 204);
    let mut client = Client::new(&server);
    let body = sync_collection(&data, changes.sync_token.as_deref().unwrap(), "");
    let changes = client
        .send("REPORT", BOOK, &depth, &body)
        .await
        .multistatus();
    assert_eq!(client.log.len(), 2, "401 first: {:?}", client.log);
    assert_eq!(
        changes.rows[0].status.as_deref(),
        Some("HTTP/1.1 404 Not Found")
    );
    // A token of another server: on 400 it lists again.
    let body = sync_collection(&data, "http://example.org/sync/7", "");
    assert_eq!(client.send("REPORT", BOOK, &depth, &body).await.status, 400);
}
