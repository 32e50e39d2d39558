//! vdirsyncer.

use super::{Client, Headers, Known, Transport};
use super::{assert_prepared, assert_strong, card, fetched, hrefs_xml, list};

const HEADERS: Headers = &[
    ("user-agent", "vdirsyncer/0.20.0"),
    ("accept", "*/*"),
    ("accept-encoding", "gzip, deflate, br"),
    ("content-type", "application/xml; charset=UTF-8"),
];
const UPLOAD: (&str, &str) = ("content-type", "text/vcard");

pub(super) async fn session<T: Transport>(mut client: Client<T>) {
    client.headers = HEADERS;
    client.is_logged_in = true;
    // The address that was typed, or else the well-known one.
    let asked = "<d:current-user-principal />";
    let found = client.propfind("/", "0", propfind(asked)).await;
    let principal = found.rows[0].text("D:current-user-principal").to_owned();
    assert!(
        !found.rows[0]
            .inside("D:current-user-principal")
            .contains(&"D:unauthenticated")
    );
    let found = client
        .propfind("/.well-known/carddav", "0", propfind(asked))
        .await;
    assert_eq!(found.rows[0].text("D:current-user-principal"), principal);
    assert_eq!(
        client.log[1..],
        ["PROPFIND /.well-known/carddav 301", "PROPFIND /dav/ 207"]
    );
    let home_set = "<c:addressbook-home-set />";
    let found = client.propfind(&principal, "0", propfind(home_set)).await;
    let home_set = found.rows[0].text("C:addressbook-home-set").to_owned();
    let found = client
        .propfind(&home_set, "1", propfind("<d:resourcetype />"))
        .await;
    let book = Client::<T>::first_book(&found);
    let found = client
        .propfind(&book, "0", propfind("<d:displayname />"))
        .await;
    assert_eq!(found.row(&book).text("D:displayname"), "Contacts");

    // Download: a list, then all in one report.
    let mut known = list_all(&mut client, &book).await;
    let hrefs: Vec<_> = known.keys().cloned().collect();
    let cards = client.report(&book, &[], multiget(&hrefs)).await;
    assert_prepared(&fetched(&cards, &hrefs, &known));

    // Upload under a name with a character that is spelled in two ways.
    let path = format!("{book}uid%401.vcf");
    let headers = [UPLOAD, ("if-none-match", "*")];
    let put = client
        .send("PUT", &path, &headers, card("uid@1", "Ann"))
        .await;
    assert_eq!(put.status, 201);
    assert_strong(put.header("etag"));
    known.insert(path.clone(), put.header("etag").to_owned());
    assert_eq!(list_all(&mut client, &book).await, known);
    let etag = put.header("etag").to_owned();
    let headers = [UPLOAD, ("if-match", etag.as_str())];
    let put = client
        .send("PUT", &path, &headers, card("uid@1", "Anna"))
        .await;
    assert_eq!(put.status, 204);
    known.insert(path.clone(), put.header("etag").to_owned());

    // Meanwhile others write: what was listed is not what is there, and 412 says so.
    let ours = known[&path].clone();
    let theirs = client.elsewhere("PUT", &path, card("uid@1", "Anne")).await;
    let gone = hrefs[3].clone();
    client.elsewhere("DELETE", &gone, String::new()).await;
    let headers = [UPLOAD, ("if-match", ours.as_str())];
    let put = client
        .send("PUT", &path, &headers, card("uid@1", "Annie"))
        .await;
    assert_eq!(put.status, 412, "a conflict is seen");
    let stale = client.send("DELETE", &path, &headers[1..], "").await;
    assert_eq!(stale.status, 412);
    let of_gone = known.remove(&gone).unwrap();
    let headers = [UPLOAD, ("if-match", of_gone.as_str())];
    let put = client
        .send("PUT", &gone, &headers, card("gone", "Gone"))
        .await;
    assert_eq!(put.status, 412, "what was deleted does not come back");
    known.insert(path.clone(), theirs.clone());
    assert_eq!(list_all(&mut client, &book).await, known);
    let one = [path.clone()];
    let cards = client.report(&book, &[], multiget(&one)).await;
    assert_eq!(fetched(&cards, &one, &known)[&path], card("uid@1", "Anne"));
    let headers = [("if-match", theirs.as_str())];
    assert_eq!(client.send("DELETE", &path, &headers, "").await.status, 204);
    known.remove(&path);

    // With nothing new, the list is the same to the letter.
    assert_eq!(list_all(&mut client, &book).await, known);
    assert_eq!(list_all(&mut client, &book).await, known);
}

async fn list_all<T: Transport>(client: &mut Client<T>, book: &str) -> Known {
    let body = propfind("<d:resourcetype/><d:getcontenttype/><d:getetag/>");
    let found = client.propfind(book, "1", body).await;
    let is_card = |row: &&crate::multistatus::Row| row.href != book;
    for row in found.rows.iter().filter(is_card) {
        assert!(row.text("D:getcontenttype").contains("text/vcard"));
    }
    list(&found, book)
}

fn propfind(properties: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\" ?>\n<d:propfind xmlns:d=\"DAV:\" \
         xmlns:c=\"urn:ietf:params:xml:ns:carddav\"><d:prop>{properties}</d:prop></d:propfind>"
    )
}

fn multiget(hrefs: &[String]) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\" ?>\n<C:addressbook-multiget xmlns=\"DAV:\" \
         xmlns:C=\"urn:ietf:params:xml:ns:carddav\"><prop><getetag/><C:address-data/></prop>{}\
         </C:addressbook-multiget>",
        hrefs_xml("", hrefs)
    )
}
