//! Contacts on iOS, and what macOS shares with it.

use super::{Client, Headers, Known, Transport};
use super::{apply, assert_prepared, card, fetched, hrefs_xml};
use crate::multistatus::Multistatus;

const HEADERS: Headers = &[
    ("user-agent", "iOS/18.5 (22F76) dataaccessd/1.0"),
    ("accept", "*/*"),
    ("accept-language", "en-US,en;q=0.9"),
    ("accept-encoding", "gzip, deflate, br"),
    ("brief", "t"),
    ("prefer", "return=minimal"),
    ("content-type", "text/xml"),
];
const UPLOAD: (&str, &str) = ("content-type", "text/vcard; charset=utf-8");
const DEPTH_1: &[(&str, &str)] = &[("depth", "1")];

pub(super) async fn session<T: Transport>(mut client: Client<T>) {
    client.headers = HEADERS;
    let book = discover(&mut client).await;

    // First sync: ETags by an empty token, then all cards.
    let mut known = Known::new();
    let all = client.report(&book, DEPTH_1, sync_collection("")).await;
    let (fetch, token) = apply(&all, &mut known);
    let answer = client.report(&book, DEPTH_1, multiget(&fetch)).await;
    assert_prepared(&fetched(&answer, &fetch, &known));

    // A poll asks for the ctag and the token, compares both as text, and is done.
    let state = read_state(&mut client, &book).await;
    assert_eq!(state.1, token);
    assert_eq!(read_state(&mut client, &book).await, state);

    // A card in its own style comes back as it was, by GET and by multiget in version 3.0.
    let path = format!("{book}C3D4-E5F6.vcf");
    let new = card("C3D4-E5F6", "Cleo").replace(
        "END:",
        "item1.EMAIL;type=INTERNET;type=pref:c@example.org\r\nitem1.X-ABLabel:_$!<Other>!$_\r\n\
         BDAY;X-APPLE-OMIT-YEAR=1604:1604-02-29\r\nEND:",
    );
    let headers = [UPLOAD, ("if-none-match", "*")];
    let created = client.send("PUT", &path, &headers, new.clone()).await;
    assert_eq!(created.status, 201);
    let etag = created.header("etag").to_owned();
    assert_ne!(read_state(&mut client, &book).await, state);
    let changes = client.report(&book, DEPTH_1, sync_collection(&token)).await;
    assert_eq!(changes.row(&path).text("D:getetag"), etag);
    let (fetch, token) = apply(&changes, &mut known);
    let answer = client.report(&book, DEPTH_1, multiget(&fetch)).await;
    assert_eq!(fetched(&answer, &fetch, &known)[&path], new);
    assert_eq!(client.send("GET", &path, &[], "").await.text(), new);

    // A group, as the only one of its kinds that it shows.
    let group = format!("{book}G1.vcf");
    let members = card("G1", "Friends").replace(
        "END:",
        "X-ADDRESSBOOKSERVER-KIND:group\r\n\
         X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:C3D4-E5F6\r\nEND:",
    );
    let put = client.send("PUT", &group, &headers, members.clone()).await;
    assert_eq!(put.status, 201);
    assert_eq!(client.send("GET", &group, &[], "").await.text(), members);

    // An edit, and one that comes too late.
    let headers = [UPLOAD, ("if-match", etag.as_str())];
    let edit = new.replace("Cleo", "Cleopatra");
    let changed = client.send("PUT", &path, &headers, edit).await;
    assert_eq!(changed.status, 204);
    let theirs = client
        .elsewhere("PUT", &path, card("C3D4-E5F6", "Theirs"))
        .await;
    let late = changed.header("etag").to_owned();
    let headers = [UPLOAD, ("if-match", late.as_str())];
    assert_eq!(client.send("PUT", &path, &headers, new).await.status, 412);
    let gone = known.keys().next_back().unwrap().clone();
    client.elsewhere("DELETE", &gone, String::new()).await;
    let changes = client.report(&book, DEPTH_1, sync_collection(&token)).await;
    let (fetch, token) = apply(&changes, &mut known);
    assert_eq!(fetch, [group.clone(), path.clone()], "as they changed");
    assert_eq!(known[&path], theirs);
    assert!(!known.contains_key(&gone));

    // It asks again for ever for an href that the answer leaves out.
    let asked = [path.clone(), gone.clone()];
    let answer = client.report(&book, DEPTH_1, multiget(&asked)).await;
    assert_eq!(answer.hrefs(), asked);
    let status = answer.row(&gone).status.as_deref();
    assert_eq!(status, Some("HTTP/1.1 404 Not Found"));

    // Deletions of its own; then nothing is new.
    for (href, etag) in [(&path, theirs), (&group, known[&group].clone())] {
        let headers = [("if-match", etag.as_str())];
        assert_eq!(client.send("DELETE", href, &headers, "").await.status, 204);
    }
    let changes = client.report(&book, DEPTH_1, sync_collection(&token)).await;
    let (fetch, token) = apply(&changes, &mut known);
    assert!(fetch.is_empty() && !known.contains_key(&path) && !known.contains_key(&group));
    let idle = client.report(&book, DEPTH_1, sync_collection(&token)).await;
    assert!(idle.rows.is_empty() && idle.sync_token.as_deref() == Some(&*token));
    assert_eq!(read_state(&mut client, &book).await.1, token);

    // A token that it made up, or that is of another server.
    assert_starts_over(&mut client, &book, &known).await;
}

/// From the bare name of the host to the book.
pub(super) async fn discover<T: Transport>(client: &mut Client<T>) -> String {
    let body = propfind("<A:current-user-principal/><A:principal-URL/><A:resourcetype/>");
    let found = client
        .propfind("/.well-known/carddav", "0", body.clone())
        .await;
    let log = [
        "PROPFIND /.well-known/carddav 301",
        "PROPFIND /dav/ 401",
        "PROPFIND /dav/ 207",
    ];
    assert_eq!(
        client.log, log,
        "the first request of each process is without a login"
    );
    // Its guesses where well-known leads nowhere.
    let root = client.propfind("/", "0", body.clone()).await;
    let guess = [("depth", "0")];
    assert_eq!(
        client
            .send("PROPFIND", "/principals/", &guess, body)
            .await
            .status,
        404
    );
    let principal = found.rows[0].text("D:current-user-principal").to_owned();
    assert_eq!(root.rows[0].text("D:current-user-principal"), principal);
    let options = client.send("OPTIONS", &principal, &[], "").await;
    assert_eq!(options.status, 200);
    assert!(options.header("dav").contains("addressbook"), "{options:?}");
    let body = propfind(
        "<B:addressbook-home-set/><B:directory-gateway/><A:displayname/>\
         <C:email-address-set/><A:principal-collection-set/><A:principal-URL/>\
         <A:resource-id/><A:supported-report-set/>",
    );
    let found = client.propfind(&principal, "0", body).await;
    let home_set = found.rows[0].text("C:addressbook-home-set").to_owned();
    // It needs a slash at the end of each collection.
    assert!(principal.ends_with('/') && home_set.ends_with('/'));
    let body = propfind(
        "<A:add-member/><D:bulk-requests/><A:current-user-privilege-set/><A:displayname/>\
         <B:max-image-size/><B:max-resource-size/><C:me-card/><A:owner/><C:push-transports/>\
         <C:pushkey/><A:quota-available-bytes/><A:quota-used-bytes/><A:resource-id/>\
         <A:resourcetype/><A:supported-report-set/><A:sync-token/><C:getctag/>",
    );
    let found = client.propfind(&home_set, "1", body).await;
    let book = Client::<T>::first_book(&found);
    let row = found.row(&book);
    // These would make it send requests that are not served.
    assert!(row.found("D:add-member").is_none() && row.found("ME:bulk-requests").is_none());
    assert!(
        row.inside("D:supported-report-set")
            .contains(&"D:sync-collection")
    );
    assert!(
        !row.text("CS:getctag").is_empty(),
        "or macOS fetches nothing"
    );
    assert!(
        row.inside("D:current-user-privilege-set")
            .contains(&"D:write")
    );
    book
}

/// The ctag and the sync token.
pub(super) async fn read_state<T: Transport>(
    client: &mut Client<T>,
    book: &str,
) -> (String, String) {
    let body = propfind("<C:getctag/><A:sync-token/>");
    let found: Multistatus = client.propfind(book, "0", body).await;
    let row = found.row(book);
    (
        row.text("CS:getctag").to_owned(),
        row.text("D:sync-token").to_owned(),
    )
}

/// Whatever token it begins with, it gets to all cards.
async fn assert_starts_over<T: Transport>(client: &mut Client<T>, book: &str, known: &Known) {
    let made_up = sync_collection("6BA7B810-9DAD-11D1-80B4-00C04FD430C8");
    let mut anew = Known::new();
    let (_, token) = apply(&client.report(book, DEPTH_1, made_up).await, &mut anew);
    assert_eq!(anew, *known);
    let foreign = sync_collection("http://example.org/sync/7");
    let answer = client.send("REPORT", book, DEPTH_1, foreign).await;
    answer.assert_condition(400, "DAV:", "valid-sync-token");
    let mut anew = Known::new();
    let all = client.report(book, DEPTH_1, sync_collection("")).await;
    assert_eq!(apply(&all, &mut anew).1, token);
    assert_eq!(anew, *known);
}

pub(super) fn propfind(properties: &str) -> String {
    document("A:propfind", &format!("<A:prop>{properties}</A:prop>"))
}

pub(super) fn sync_collection(token: &str) -> String {
    let inside = format!(
        "<A:sync-token>{token}</A:sync-token><A:sync-level>1</A:sync-level>\
         <A:prop><A:getetag/></A:prop>"
    );
    document("A:sync-collection", &inside)
}

pub(super) fn multiget(hrefs: &[String]) -> String {
    let inside = format!(
        "<A:prop><A:getetag/><B:address-data content-type=\"text/vcard\" version=\"3.0\"/>\
         </A:prop>{}",
        hrefs_xml("A:", hrefs)
    );
    document("B:addressbook-multiget", &inside)
}

fn document(root: &str, inside: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns:A=\"DAV:\" \
         xmlns:B=\"urn:ietf:params:xml:ns:carddav\" \
         xmlns:C=\"http://calendarserver.org/ns/\" \
         xmlns:D=\"http://me.com/_namespaces/\">{inside}</{root}>"
    )
}
