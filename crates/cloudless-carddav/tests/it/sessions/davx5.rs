//! DAVx5 on Android.

use super::Client;
use crate::harness::{Server, card, multiget, sync_collection};

#[tokio::test]
async fn a_session() {
    let server = Server::start();
    let mut client = Client::new(&server);
    // Discovery.
    let found = client
        .propfind(
            "/.well-known/carddav",
            "0",
            &[
                "D:resourcetype",
                "D:displayname",
                "D:current-user-principal",
                "C:addressbook-home-set",
                "C:addressbook-description",
            ],
        )
        .await
        .multistatus();
    let log = [
        "PROPFIND /.well-known/carddav 301",
        "PROPFIND /dav/ 401",
        "PROPFIND /dav/ 207",
    ];
    assert_eq!(client.log, log);
    let principal = found.rows[0].text("D:current-user-principal");
    let options = client.send("OPTIONS", principal, &[], "").await;
    assert!(
        options
            .header("dav")
            .split(", ")
            .any(|class| class == "addressbook")
    );
    let asked = [
        "D:displayname",
        "D:group-membership",
        "D:resourcetype",
        "C:addressbook-home-set",
    ];
    let found = client.propfind(principal, "0", &asked).await.multistatus();
    assert_eq!(found.rows[0].text("D:displayname"), "me");
    let home_set = found.rows[0].text("C:addressbook-home-set");
    let asked = [
        "D:current-user-privilege-set",
        "D:displayname",
        "D:owner",
        "D:resourcetype",
        "X:transports",
        "X:topic",
        "C:addressbook-description",
    ];
    let found = client.propfind(home_set, "1", &asked).await.multistatus();
    let book = found
        .rows
        .iter()
        .find(|row| row.inside("D:resourcetype").contains(&"C:addressbook"));
    let book = book.unwrap().href.clone();
    // First sync: an upload, a list, batches of ten.
    let asked = [
        "D:supported-report-set",
        "D:sync-token",
        "CS:getctag",
        "C:max-resource-size",
        "C:supported-address-data",
    ];
    let state = client.propfind(&book, "0", &asked).await.multistatus();
    let state = state.row(&book);
    assert!(
        state
            .inside("D:supported-report-set")
            .contains(&"D:sync-collection")
    );
    assert!(
        !state
            .inside("C:supported-address-data")
            .iter()
            .any(|it| it.contains("4.0"))
    );
    let path = format!("{book}5b0d7e0e.vcf");
    let headers = [
        ("if-none-match", "*"),
        ("content-type", "text/vcard;charset=utf-8"),
    ];
    let put = client
        .send("PUT", &path, &headers, &card("5b0d7e0e", "Ann"))
        .await;
    assert_eq!(put.status, 201);
    let body = sync_collection(&["D:getetag", "D:resourcetype"], "", "");
    let list = client
        .send("REPORT", &book, &[("depth", "0")], &body)
        .await
        .multistatus();
    assert_eq!(list.hrefs(), [path.as_str()]);
    assert_eq!(list.row(&path).text("D:getetag"), put.header("etag"));
    let data = "C:address-data content-type='text/vcard'";
    let body = multiget(&["D:getcontenttype", "D:getetag", data], &[&path]);
    let cards = client
        .send("REPORT", &book, &[("depth", "0")], &body)
        .await
        .multistatus();
    assert_eq!(
        cards.row(&path).text("C:address-data"),
        card("5b0d7e0e", "Ann")
    );
    // An edit and a deletion.
    let etag = cards.row(&path).text("D:getetag").to_owned();
    let headers = [
        ("if-match", etag.as_str()),
        ("content-type", "text/vcard;charset=utf-8"),
    ];
    let put = client
        .send("PUT", &path, &headers, &card("5b0d7e0e", "Anna"))
        .await;
    assert_eq!(put.status, 204);
    let gone = client
        .send("DELETE", &path, &[("if-match", put.header("etag"))], "")
        .await;
    assert_eq!(gone.status, 204);
    let body = sync_collection(
        &["D:getetag", "D:resourcetype"],
        list.sync_token.as_deref().unwrap(),
        "",
    );
    let changes = client
        .send("REPORT", &book, &[("depth", "0")], &body)
        .await
        .multistatus();
    let status = changes.row(&path).status.as_deref();
    assert_eq!(status, Some("HTTP/1.1 404 Not Found"));
}
