//! Thunderbird.

use super::{Client, Headers, Known, Transport};
use super::{apply, assert_prepared, card, fetched, hrefs_xml, list};

const HEADERS: Headers = &[
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Thunderbird/153.7.0",
    ),
    ("accept", "*/*"),
    ("accept-language", "en-US,en;q=0.9"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("content-type", "text/xml"),
    ("origin", "https://localhost:443"),
    ("sec-fetch-dest", "empty"),
    ("sec-fetch-mode", "no-cors"),
    ("sec-fetch-site", "same-origin"),
    ("priority", "u=4"),
];
const DEPTH_1: &[(&str, &str)] = &[("depth", "1")];
const BATCH: usize = 500;

pub(super) async fn session<T: Transport>(mut client: Client<T>) {
    client.headers = HEADERS;
    let body = propfind("<d:current-user-principal/>");
    let found = client.propfind("/.well-known/carddav", "0", body).await;
    let log = [
        "PROPFIND /.well-known/carddav 301",
        "PROPFIND /dav/ 401",
        "PROPFIND /dav/ 207",
    ];
    assert_eq!(client.log, log, "without a 401 it never logs in");
    let principal = found.rows[0].text("D:current-user-principal").to_owned();
    let body = propfind("<card:addressbook-home-set/>");
    let found = client.propfind(&principal, "0", body).await;
    let home_set = found.rows[0].text("C:addressbook-home-set").to_owned();
    let body = propfind("<d:resourcetype/><d:displayname/><d:current-user-privilege-set/>");
    let found = client.propfind(&home_set, "1", body).await;
    let book = Client::<T>::first_book(&found);
    let privileges = found.row(&book).inside("D:current-user-privilege-set");
    let can_write = ["D:write", "D:write-content", "D:write-properties", "D:all"];
    assert!(privileges.iter().any(|it| can_write.contains(it)));

    // First sync: all ETags, all cards in batches of five hundred, then the token.
    let mut known = list_all(&mut client, &book).await;
    let hrefs: Vec<_> = known.keys().cloned().collect();
    let mut cards = std::collections::BTreeMap::new();
    for batch in hrefs.chunks(BATCH) {
        let answer = client.report(&book, DEPTH_1, multiget(batch)).await;
        cards.extend(fetched(&answer, batch, &known));
    }
    assert_prepared(&cards);
    let token = read_token(&mut client, &book).await;

    // A card is made. It is named by its UID, and fetched at once, which tells its href and ETag.
    let path = format!("{book}a@b.vcf");
    let upload = [("content-type", "text/vcard")];
    let new = card("a@b", "New").replace("VERSION:3.0", "VERSION:4.0");
    let put = client.send("PUT", &path, &upload, new.clone()).await;
    assert_eq!(put.status, 201);
    let one = std::slice::from_ref(&path);
    let answer = client.report(&book, DEPTH_1, multiget(one)).await;
    assert_eq!(answer.rows[0].text("C:address-data"), new);
    let href = answer.rows[0].href.clone();
    known.insert(href.clone(), answer.rows[0].text("D:getetag").to_owned());
    let changes = client.report(&book, DEPTH_1, sync_collection(&token)).await;
    assert_eq!(changes.hrefs(), [href.as_str()], "compared as text");
    let (fetch, token) = apply(&changes, &mut known);
    assert!(fetch.is_empty(), "its own change is known by its ETag");

    // Another device writes and deletes; the answer to the poll holds the cards themselves.
    let theirs = card("a@b", "Theirs");
    let their_etag = client.elsewhere("PUT", &href, theirs.clone()).await;
    let gone = hrefs[0].clone();
    client.elsewhere("DELETE", &gone, String::new()).await;
    let changes = client.report(&book, DEPTH_1, sync_collection(&token)).await;
    assert_eq!(changes.row(&href).text("C:address-data"), theirs);
    let status = changes.row(&gone).status.as_deref().unwrap();
    assert!(status.starts_with("HTTP/1.1 404"), "{status}");
    let (fetch, token) = apply(&changes, &mut known);
    assert_eq!(fetch, [href.as_str()]);
    assert_eq!(known[&href], their_etag);

    // An edit without conditions, and a deletion that says it is XML.
    let edit = card("a@b", "Edited");
    let put = client.send("PUT", &href, &upload, edit.clone()).await;
    assert_eq!(put.status, 204);
    let answer = client.report(&book, DEPTH_1, multiget(one)).await;
    assert_eq!(answer.rows[0].text("C:address-data"), edit);
    assert_eq!(client.send("DELETE", &href, &[], "").await.status, 204);

    // After a restart it begins with a sync, which is sent without a login.
    client.is_logged_in = false;
    client.log.clear();
    let changes = client.report(&book, DEPTH_1, sync_collection(&token)).await;
    let log = [format!("REPORT {book} 401"), format!("REPORT {book} 207")];
    assert_eq!(client.log, log);
    assert_eq!(changes.hrefs(), [href.as_str()]);
    let (_, token) = apply(&changes, &mut known);
    assert!(!known.contains_key(&href));
    let idle = client.report(&book, DEPTH_1, sync_collection(&token)).await;
    assert!(idle.rows.is_empty() && idle.sync_token.as_deref() == Some(&*token));

    // It knows no other refusal of a token than 400, and lists everything after it.
    let unknown = sync_collection("http://example.org/sync/7");
    let answer = client.send("REPORT", &book, DEPTH_1, unknown).await;
    assert_eq!(answer.status, 400);
    assert_eq!(list_all(&mut client, &book).await, known);
    assert_eq!(read_token(&mut client, &book).await, token);
}

async fn list_all<T: Transport>(client: &mut Client<T>, book: &str) -> Known {
    let body = propfind("<d:resourcetype/><d:getetag/><cs:getctag/>");
    let found = client.propfind(book, "1", body).await;
    // It takes the first status of a response for that of all.
    let statuses = found.rows.iter().map(|row| &row.propstats[0].status);
    assert!(
        statuses
            .into_iter()
            .all(|status| status == "HTTP/1.1 200 OK")
    );
    list(&found, book)
}

async fn read_token<T: Transport>(client: &mut Client<T>, book: &str) -> String {
    let body = propfind("<d:displayname/><cs:getctag/><d:sync-token/>");
    let state = client.propfind(book, "0", body).await;
    assert!(!state.row(book).text("CS:getctag").is_empty());
    state.row(book).text("D:sync-token").to_owned()
}

fn propfind(properties: &str) -> String {
    format!("<d:propfind {NAMESPACES}><d:prop>{properties}</d:prop></d:propfind>")
}

fn multiget(hrefs: &[String]) -> String {
    format!(
        "<card:addressbook-multiget {NAMESPACES}><d:prop><d:getetag/><card:address-data/></d:prop>\
         {}</card:addressbook-multiget>",
        hrefs_xml("d:", hrefs)
    )
}

fn sync_collection(token: &str) -> String {
    format!(
        "<d:sync-collection {NAMESPACES}><d:sync-token>{token}</d:sync-token>\
         <d:sync-level>1</d:sync-level><d:prop><d:getetag/><card:address-data/></d:prop>\
         </d:sync-collection>"
    )
}

const NAMESPACES: &str = r#"xmlns:d="DAV:" xmlns:card="urn:ietf:params:xml:ns:carddav" xmlns:cs="http://calendarserver.org/ns/""#;
