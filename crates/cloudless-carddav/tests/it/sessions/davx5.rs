//! DAVx5 on Android.

use super::{Client, Headers, Known, Transport};
use super::{apply, assert_prepared, assert_strong, card, fetched, hrefs_xml};
use crate::multistatus::Multistatus;

const HEADERS: Headers = &[
    (
        "user-agent",
        "DAVx5/4.5.16-ose (dav4jvm; okhttp/5.3.2) Android/16",
    ),
    ("accept-language", "en-US, en;q=0.7, *;q=0.5"),
    ("accept-encoding", "gzip"),
    ("content-type", "application/xml; charset=utf-8"),
];
const UPLOAD: (&str, &str) = ("content-type", "text/vcard;charset=utf-8");
const DEPTH_0: &[(&str, &str)] = &[("depth", "0")];
const BATCH: usize = 10;

pub(super) async fn session<T: Transport>(mut client: Client<T>) {
    client.headers = HEADERS;
    // It logs in unasked, at the address that was typed and then at the well-known one.
    client.is_logged_in = true;
    let detect = "<resourcetype /><displayname /><current-user-principal />\
                  <CARD:addressbook-home-set /><CARD:addressbook-description />";
    let wrong = client.send("PROPFIND", "/contacts", DEPTH_0, propfind(detect));
    assert_eq!(wrong.await.status, 404);
    let root = client.propfind("/", "0", propfind(detect)).await;
    let body = propfind("<current-user-principal />");
    let found = client.propfind("/.well-known/carddav", "0", body).await;
    let principal = found.rows[0].text("D:current-user-principal").to_owned();
    assert_eq!(root.rows[0].text("D:current-user-principal"), principal);
    let options = client.send("OPTIONS", &principal, &[], "").await;
    let mut classes = options.header("dav").split(',').map(str::trim);
    assert!(classes.any(|class| class == "addressbook"), "{options:?}");

    // The books.
    let body = propfind(
        "<displayname /><group-membership /><resourcetype /><CARD:addressbook-home-set />",
    );
    let found = client.propfind(&principal, "0", body).await;
    assert_eq!(found.rows[0].text("D:displayname"), client.account.user);
    let home_set = found.rows[0].text("C:addressbook-home-set").to_owned();
    let body = propfind(
        "<current-user-privilege-set /><displayname /><owner /><resourcetype />\
         <PUSH:transports /><PUSH:topic /><CARD:addressbook-description />",
    );
    let found = client.propfind(&home_set, "1", body).await;
    let book = Client::<T>::first_book(&found);
    let row = found.row(&book);
    assert!(
        row.inside("D:current-user-privilege-set")
            .contains(&"D:write-content")
    );
    assert_eq!(row.text("D:owner"), principal);

    // First sync, in batches of ten.
    let capabilities = query_capabilities(&mut client, &book).await;
    let row = capabilities.row(&book);
    assert!(
        row.inside("D:supported-report-set")
            .contains(&"D:sync-collection")
    );
    let types = row.inside("C:supported-address-data");
    assert!(
        types.iter().any(|it| it.contains("version=3.0"))
            && !types.iter().any(|it| it.contains("4.0")),
        "it writes 4.0 where that is offered: {types:?}"
    );
    let mut known = Known::new();
    let (fetch, token) = list_changes(&mut client, &book, "", &mut known).await;
    assert_eq!(capabilities.row(&book).text("D:sync-token"), token);
    let mut cards = std::collections::BTreeMap::new();
    for batch in fetch.chunks(BATCH) {
        let answer = client.report(&book, DEPTH_0, multiget(batch)).await;
        cards.extend(fetched(&answer, batch, &known));
    }
    assert_prepared(&cards);

    // With nothing new, one request is all: the token is compared as text.
    let poll = query_capabilities(&mut client, &book).await;
    assert_eq!(poll.row(&book).text("D:sync-token"), token);

    // A card is made, changed and deleted on the phone.
    let path = format!("{book}5b0d7e0e-1f5c-4a8e-9f0b.vcf");
    let new = card("5b0d7e0e-1f5c-4a8e-9f0b", "Ann");
    let created = client
        .send("PUT", &path, &[UPLOAD, ("if-none-match", "*")], new)
        .await;
    assert_eq!(created.status, 201);
    let etag = created.header("etag").to_owned();
    assert_strong(&etag);
    known.insert(path.clone(), etag.clone());
    let (fetch, token) = list_changes(&mut client, &book, &token, &mut known).await;
    assert!(fetch.is_empty(), "its own card has the ETag of the upload");
    let edit = card("5b0d7e0e-1f5c-4a8e-9f0b", "Anna");
    let headers = [UPLOAD, ("if-match", etag.as_str())];
    let changed = client.send("PUT", &path, &headers, edit).await;
    assert_eq!(changed.status, 204);
    let etag = changed.header("etag").to_owned();

    // Another device is faster: the edit is refused, and what is there is fetched.
    let theirs = card("5b0d7e0e-1f5c-4a8e-9f0b", "Anne");
    let their_etag = client.elsewhere("PUT", &path, theirs.clone()).await;
    let headers = [UPLOAD, ("if-match", etag.as_str())];
    let mine = card("5b0d7e0e-1f5c-4a8e-9f0b", "Annie");
    assert_eq!(client.send("PUT", &path, &headers, mine).await.status, 412);
    let (fetch, token) = list_changes(&mut client, &book, &token, &mut known).await;
    assert_eq!(fetch, [path.as_str()]);
    assert_eq!(known[&path], their_etag);
    let answer = client.report(&book, DEPTH_0, multiget(&fetch)).await;
    assert_eq!(fetched(&answer, &fetch, &known)[&path], theirs);
    let headers = [("if-match", their_etag.as_str())];
    assert_eq!(client.send("DELETE", &path, &headers, "").await.status, 204);
    let (fetch, token) = list_changes(&mut client, &book, &token, &mut known).await;
    assert!(fetch.is_empty() && !known.contains_key(&path));

    // Another device deletes and creates. A multiget for what went meanwhile says so.
    let gone = known.keys().next().unwrap().clone();
    client.elsewhere("DELETE", &gone, String::new()).await;
    let other = format!("{book}caf%C3%A9%20%26%20co.vcf");
    client
        .elsewhere("PUT", &other, card("other", "Other"))
        .await;
    let asked = [gone.clone(), other.clone()];
    let answer = client.report(&book, DEPTH_0, multiget(&asked)).await;
    let status = answer.row(&gone).status.as_deref();
    assert_eq!(status, Some("HTTP/1.1 404 Not Found"));
    let (fetch, token) = list_changes(&mut client, &book, &token, &mut known).await;
    assert_eq!(fetch, [other.as_str()]);
    assert!(!known.contains_key(&gone));

    // A token that is not known is told by its condition; then it starts over.
    for unknown in [
        "http://example.org/sync/7",
        "https://cloudless.invalid/sync/0/1",
    ] {
        let answer = client.send("REPORT", &book, DEPTH_0, sync_collection(unknown));
        answer
            .await
            .assert_condition(400, "DAV:", "valid-sync-token");
    }
    let mut anew = Known::new();
    let (_, again) = list_changes(&mut client, &book, "", &mut anew).await;
    assert_eq!((anew, again.as_str()), (known.clone(), token.as_str()));
    let (fetch, same) = list_changes(&mut client, &book, &token, &mut known).await;
    assert!(fetch.is_empty() && same == token);
    let body = sync_collection(&token);
    assert!(client.report(&book, DEPTH_0, body).await.rows.is_empty());
}

async fn query_capabilities<T: Transport>(client: &mut Client<T>, book: &str) -> Multistatus {
    let body = propfind(
        "<supported-report-set /><sync-token /><CS:getctag /><CAL:max-resource-size />\
         <CARD:max-resource-size /><CARD:supported-address-data />",
    );
    client.propfind(book, "0", body).await
}

async fn list_changes<T: Transport>(
    client: &mut Client<T>,
    book: &str,
    token: &str,
    known: &mut Known,
) -> (Vec<String>, String) {
    let changes = client.report(book, DEPTH_0, sync_collection(token)).await;
    for row in changes.rows.iter().filter(|row| row.status.is_none()) {
        assert!(row.inside("D:resourcetype").is_empty(), "no collection");
    }
    apply(&changes, known)
}

fn propfind(properties: &str) -> String {
    document("propfind", &format!("<prop>{properties}</prop>"))
}

fn sync_collection(token: &str) -> String {
    let inside = format!(
        "<sync-token>{token}</sync-token><sync-level>1</sync-level>\
         <prop><getetag /><resourcetype /></prop>"
    );
    document("sync-collection", &inside)
}

fn multiget(hrefs: &[String]) -> String {
    let inside = format!(
        "<prop><getcontenttype /><getetag />\
         <CARD:address-data content-type=\"text/vcard\" /></prop>{}",
        hrefs_xml("", hrefs)
    );
    document("CARD:addressbook-multiget", &inside)
}

fn document(root: &str, inside: &str) -> String {
    format!(
        "<?xml version='1.0' encoding='UTF-8' ?><{root} xmlns=\"DAV:\" \
         xmlns:CAL=\"urn:ietf:params:xml:ns:caldav\" \
         xmlns:CARD=\"urn:ietf:params:xml:ns:carddav\" \
         xmlns:CS=\"http://calendarserver.org/ns/\" \
         xmlns:PUSH=\"https://bitfire.at/webdav-push\">{inside}</{root}>"
    )
}
