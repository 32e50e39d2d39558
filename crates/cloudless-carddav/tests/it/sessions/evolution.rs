//! Evolution Data Server, which GNOME Contacts uses too.

use super::{Client, Headers, Known, Transport};
use super::{apply, assert_prepared, assert_strong, card, fetched, hrefs_xml, list};

const HEADERS: Headers = &[
    ("user-agent", "Evolution/3.46.4"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-language", "en-US, en;q=0.9"),
    ("connection", "close"),
    ("cache-control", "no-cache"),
    ("pragma", "no-cache"),
    ("content-type", "application/xml; charset=\"utf-8\""),
];
const UPLOAD: [(&str, &str); 2] = [
    ("content-type", "text/vcard; charset=\"utf-8\""),
    ("prefer", "return=minimal"),
];
const BATCH: usize = 100;

pub(super) async fn session<T: Transport>(mut client: Client<T>) {
    client.headers = HEADERS;
    // It logs in unasked and begins at the root; well-known is for when that fails.
    client.is_logged_in = true;
    let body = propfind(
        "<D:resourcetype/><D:current-user-principal/><D:principal-URL/><A:addressbook-home-set/>",
    );
    let found = client.propfind("/", "0", body).await;
    let principal = found.rows[0].text("D:principal-URL").to_owned();
    assert_eq!(found.rows[0].text("D:current-user-principal"), principal);
    let body = propfind("<A:addressbook-home-set/>");
    let found = client.propfind(&principal, "0", body).await;
    let home_set = found.rows[0].text("C:addressbook-home-set").to_owned();
    let body = propfind(
        "<D:resourcetype/><D:displayname/><D:getetag/><D:getcontenttype/><D:getcontentlength/>\
         <D:creationdate/><D:getlastmodified/><A:addressbook-description/>",
    );
    let found = client.propfind(&home_set, "1", body).await;
    let book = Client::<T>::first_book(&found);
    assert_eq!(found.row(&book).text("D:displayname"), "Contacts");

    // Opening the book.
    let options = client.send("OPTIONS", &book, &[], "").await;
    let mut classes = options.header("dav").split(',').map(str::trim);
    assert!(
        classes.any(|class| class == "addressbook"),
        "or it does not open"
    );
    let body = propfind("<D:current-user-privilege-set/>");
    let found = client.propfind(&book, "0", body).await;
    let privileges = found.row(&book).inside("D:current-user-privilege-set");
    assert!(
        privileges.contains(&"D:write-content"),
        "or it is read-only"
    );

    // First sync: the ctag, all ETags, all cards in batches of a hundred without any Depth.
    let before = ctag(&mut client, &book).await;
    assert_eq!(ctag(&mut client, &book).await, before);
    let mut known = list_all(&mut client, &book).await;
    let hrefs: Vec<_> = known.keys().cloned().collect();
    let mut cards = std::collections::BTreeMap::new();
    for batch in hrefs.chunks(BATCH) {
        let answer = client.report(&book, &[], multiget(batch)).await;
        cards.extend(fetched(&answer, batch, &known));
    }
    assert_prepared(&cards);
    assert_eq!(
        ctag(&mut client, &book).await,
        before,
        "a poll is this request"
    );

    // A new card and an edit in its own spelling of the path: the answer's ETag saves it a GET.
    let new = format!("{book}da39a3ee5e6b4b0d3255bfef95601890afd80709.vcf");
    let headers = [&UPLOAD[..], &[("if-none-match", "*")]].concat();
    let created = client
        .send("PUT", &new, &headers, card("da39", "New"))
        .await;
    assert_eq!(created.status, 201);
    assert_strong(created.header("etag"));
    known.insert(new.clone(), created.header("etag").to_owned());
    let after = ctag(&mut client, &book).await;
    assert_ne!(after, before);
    assert_eq!(list_all(&mut client, &book).await, known);
    let answer = client
        .report(&book, &[], multiget(std::slice::from_ref(&new)))
        .await;
    let text = answer.row(&new).text("C:address-data").to_owned();
    // It adds a parameter that mixes plain and quoted values.
    let edit = text.replace(
        "END:",
        "TEL;X-EVOLUTION-E164=5550000,\"+47\";TYPE=CELL:+47 555 00 00\r\nEND:",
    );
    let put = client.send("PUT", &new, &UPLOAD, edit.clone()).await;
    assert_eq!(put.status, 204);
    let etag = put.header("etag").to_owned();
    let answer = client
        .report(&book, &[], multiget(std::slice::from_ref(&new)))
        .await;
    assert_eq!(answer.row(&new).text("C:address-data"), edit);
    assert_eq!(answer.row(&new).text("D:getetag"), etag);

    // Set to fail on a conflict it says what it began with.
    let theirs = client.elsewhere("PUT", &new, card("da39", "Theirs")).await;
    let headers = [&UPLOAD[..], &[("if-match", etag.as_str())]].concat();
    assert_eq!(client.send("PUT", &new, &headers, edit).await.status, 412);
    known.insert(new.clone(), theirs);
    assert_eq!(client.send("DELETE", &new, &[], "").await.status, 204);
    known.remove(&new);
    assert_eq!(list_all(&mut client, &book).await, known);

    // Another device: a name that is spelled in many ways, and a deletion.
    let before = ctag(&mut client, &book).await;
    let raw = format!("{book}plus+sign at@sign.vcf").replace(' ', "%20");
    client.elsewhere("PUT", &raw, card("plus", "Plus")).await;
    let gone = hrefs[99].clone();
    client.elsewhere("DELETE", &gone, String::new()).await;
    assert_ne!(ctag(&mut client, &book).await, before);
    let listed = list_all(&mut client, &book).await;
    assert!(!listed.contains_key(&gone));
    let theirs = format!("{book}plus%2Bsign%20at%40sign.vcf");
    assert!(
        listed.contains_key(&theirs),
        "in the spelling that it uses itself"
    );
    let put = client
        .send("PUT", &theirs, &UPLOAD, card("plus", "Plus 2"))
        .await;
    assert_eq!(put.status, 204, "the same card");

    // The newest one asks for changes, and falls back to the ctag after a refusal of its token.
    let body = propfind("<C:getctag/><A:supported-address-data/><D:supported-report-set/>");
    let found = client.propfind(&book, "0", body).await;
    let reports = found.row(&book).inside("D:supported-report-set");
    assert!(reports.contains(&"D:sync-collection"));
    let mut synced = Known::new();
    let all = client
        .report(&book, &[("depth", "0")], sync_collection(""))
        .await;
    let (_, token) = apply(&all, &mut synced);
    assert_eq!(synced, list_all(&mut client, &book).await);
    client.elsewhere("DELETE", &theirs, String::new()).await;
    let changes = client
        .report(&book, &[("depth", "0")], sync_collection(&token))
        .await;
    assert_eq!(changes.hrefs(), [theirs.as_str()]);
    let (_, token) = apply(&changes, &mut synced);
    let idle = client
        .report(&book, &[("depth", "0")], sync_collection(&token))
        .await;
    assert!(idle.rows.is_empty());
    let unknown = sync_collection("http://example.org/sync/7");
    let answer = client
        .send("REPORT", &book, &[("depth", "0")], unknown)
        .await;
    assert!(answer.status >= 400 && answer.text().contains("valid-sync-token"));
    assert_eq!(list_all(&mut client, &book).await, synced);
}

async fn ctag<T: Transport>(client: &mut Client<T>, book: &str) -> String {
    let found = client.propfind(book, "0", propfind("<C:getctag/>")).await;
    found.row(book).text("CS:getctag").to_owned()
}

async fn list_all<T: Transport>(client: &mut Client<T>, book: &str) -> Known {
    let found = client.propfind(book, "1", propfind("<D:getetag/>")).await;
    // It asks for no type: the book has no ETag, or it would be taken for a card.
    assert!(found.row(book).found("D:getetag").is_none());
    list(&found, book)
}

fn propfind(properties: &str) -> String {
    document("D:propfind", &format!("<D:prop>{properties}</D:prop>"))
}

fn multiget(hrefs: &[String]) -> String {
    let inside = format!(
        "<D:prop><D:getetag/><A:address-data/></D:prop>{}",
        hrefs_xml("D:", hrefs)
    );
    document("A:addressbook-multiget", &inside)
}

fn sync_collection(token: &str) -> String {
    let inside = format!(
        "<D:sync-token>{token}</D:sync-token><D:sync-level>1</D:sync-level>\
         <D:prop><D:getetag/></D:prop>"
    );
    document("D:sync-collection", &inside)
}

fn document(root: &str, inside: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<{root} xmlns:D=\"DAV:\" \
         xmlns:A=\"urn:ietf:params:xml:ns:carddav\" \
         xmlns:C=\"http://calendarserver.org/ns/\">{inside}</{root}>\n"
    )
}
