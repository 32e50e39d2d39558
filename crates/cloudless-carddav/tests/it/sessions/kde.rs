//! KDE: KAddressBook and Kontact, by the library kdav.

use super::{Client, Headers, Known, Transport};
use super::{apply, assert_prepared, card, fetched, list};
use crate::answer::Answer;
use crate::multistatus::Multistatus;

const HEADERS: Headers = &[
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) KHTML/5.103.0 (like Gecko) Konqueror/5 KIO/5.103",
    ),
    (
        "accept",
        "text/html, text/*;q=0.9, image/jpeg;q=0.9, image/png;q=0.9, image/*;q=0.9, */*;q=0.8",
    ),
    ("accept-encoding", "gzip, deflate, x-gzip, x-deflate"),
    ("accept-charset", "utf-8,*;q=0.5"),
    ("accept-language", "de, en-US;q=0.9, en;q=0.8"),
    ("cache-control", "no-cache"),
    ("pragma", "no-cache"),
    ("content-type", "text/xml"),
];
const DEPTH_1: &[(&str, &str)] = &[("depth", "1")];

pub(super) async fn session<T: Transport>(mut client: Client<T>) {
    client.headers = HEADERS;
    // At the address that was typed it asks for the home set, or who might know it.
    let asked = r#"<addressbook-home-set xmlns="urn:ietf:params:xml:ns:carddav"/>"#;
    let more = format!("{asked}<current-user-principal/><principal-URL/>");
    let found = client.propfind("/", "0", propfind(&more)).await;
    assert_eq!(client.log, ["PROPFIND / 401", "PROPFIND / 207"]);
    let row = &found.rows[0];
    let home_set = match row.found("C:addressbook-home-set") {
        Some(home_set) => home_set.text.clone(),
        None => {
            let principal = row.text("D:current-user-principal").to_owned();
            let found = client.propfind(&principal, "0", propfind(asked)).await;
            found.rows[0].text("C:addressbook-home-set").to_owned()
        }
    };
    let books = read_books(&mut client, &home_set).await;
    let book = Client::<T>::first_book(&books);
    assert_eq!(books.row(&book).text("D:displayname"), "Contacts");
    let ctag = |books: &Multistatus| books.row(&book).text("CS:getctag").to_owned();
    let before = ctag(&books);

    // First sync: a list of ETags, then all cards in one report, by their decoded paths.
    let mut known = list_all(&mut client, &book).await;
    let hrefs: Vec<_> = known.keys().cloned().collect();
    let cards = client
        .report(&book, &[("depth", "0")], multiget(&hrefs))
        .await;
    assert_prepared(&fetched(&cards, &hrefs, &known));
    assert_eq!(ctag(&read_books(&mut client, &home_set).await), before);

    // A new card, an edit and a deletion; each writing is followed by a GET for the ETag.
    let path = format!("{book}Qm9yZw%3D%3D.vcf");
    let upload = ("content-type", "text/vcard");
    let new = card("Borg", "Björn Borg");
    let headers = [upload, ("if-none-match", "*")];
    let created = client.send("PUT", &path, &headers, new.clone()).await;
    assert_eq!(created.status, 201);
    assert_eq!(
        created.header("location"),
        "",
        "the name that was given stays"
    );
    assert_eq!(
        client
            .send("PUT", &path, &headers, new.clone())
            .await
            .status,
        412
    );
    let etag = refresh(&mut client, &path, &new).await;
    let edit = card("Borg", "Björn B. Borg");
    let headers = [upload, ("if-match", etag.as_str())];
    assert_eq!(
        client
            .send("PUT", &path, &headers, edit.clone())
            .await
            .status,
        204
    );
    let etag = refresh(&mut client, &path, &edit).await;
    known.insert(path.clone(), etag.clone());
    assert_eq!(list_all(&mut client, &book).await, known);

    // Another device writes first: on 412 it fetches what is there, to show both.
    let theirs = card("Borg", "B. Borg");
    let their_etag = client.elsewhere("PUT", &path, theirs.clone()).await;
    let headers = [upload, ("if-match", etag.as_str())];
    assert_eq!(client.send("PUT", &path, &headers, edit).await.status, 412);
    assert_eq!(refresh(&mut client, &path, &theirs).await, their_etag);
    let stale = client.send("DELETE", &path, &headers[1..], "").await;
    assert_eq!(stale.status, 412);
    let headers = [("if-match", their_etag.as_str())];
    assert_eq!(client.send("DELETE", &path, &headers, "").await.status, 204);
    let twice = client.send("DELETE", &path, &[], "").await;
    assert_eq!(twice.status, 404, "which it takes for done");
    known.remove(&path);

    // The ctag tells of changes elsewhere; what is not listed is gone.
    let before = ctag(&read_books(&mut client, &home_set).await);
    let gone = hrefs[7].clone();
    client.elsewhere("DELETE", &gone, String::new()).await;
    let odd = format!("{book}caf%C3%A9%20%26%20100%25%20a%2Bb.vcf");
    let odd_etag = client.elsewhere("PUT", &odd, card("odd", "Odd")).await;
    assert_ne!(ctag(&read_books(&mut client, &home_set).await), before);
    let listed = list_all(&mut client, &book).await;
    known.remove(&gone);
    known.insert(odd.clone(), odd_etag);
    assert_eq!(listed, known);
    let odd = [odd];
    let cards = client
        .report(&book, &[("depth", "0")], multiget(&odd))
        .await;
    assert_eq!(fetched(&cards, &odd, &known)[&odd[0]], card("odd", "Odd"));

    // The newest one syncs by token too, with the same hrefs and ETags.
    let mut synced = Known::new();
    let all = client.report(&book, DEPTH_1, sync_collection("")).await;
    let (_, token) = apply(&all, &mut synced);
    assert_eq!(synced, known);
    client.elsewhere("DELETE", &odd[0], String::new()).await;
    let changes = client.report(&book, DEPTH_1, sync_collection(&token)).await;
    assert_eq!(changes.hrefs(), odd);
    let (fetch, token) = apply(&changes, &mut synced);
    assert!(fetch.is_empty() && !synced.contains_key(&odd[0]));
    let idle = client.report(&book, DEPTH_1, sync_collection(&token)).await;
    assert!(idle.rows.is_empty());
    // After any refusal it begins anew.
    let unknown = sync_collection("http://example.org/sync/7");
    let answer = client.send("REPORT", &book, DEPTH_1, unknown).await;
    answer.assert_condition(400, "DAV:", "valid-sync-token");
}

async fn read_books<T: Transport>(client: &mut Client<T>, home_set: &str) -> Multistatus {
    let asked = r#"<displayname/><resourcetype/><getctag xmlns="http://calendarserver.org/ns/"/>"#;
    client.propfind(home_set, "1", propfind(asked)).await
}

async fn list_all<T: Transport>(client: &mut Client<T>, book: &str) -> Known {
    let body = propfind("<displayname/><resourcetype/><getetag/>");
    let found = client.propfind(book, "1", body).await;
    assert!(
        found
            .row(book)
            .inside("D:resourcetype")
            .contains(&"D:collection")
    );
    list(&found, book)
}

/// Reads a card back and gives its ETag.
async fn refresh<T: Transport>(client: &mut Client<T>, path: &str, expected: &str) -> String {
    let headers = [("user-agent", "KDE DAV groupware client")];
    let answer: Answer = client.send("GET", path, &headers, "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.text(), expected);
    assert!(answer.header("content-type").starts_with("text/vcard"));
    answer.header("etag").to_owned()
}

fn propfind(properties: &str) -> String {
    format!("<propfind xmlns=\"DAV:\"><prop>{properties}</prop></propfind>\n")
}

fn multiget(hrefs: &[String]) -> String {
    let element = |href: &String| {
        let path = decoded(href).replace('&', "&amp;").replace('<', "&lt;");
        format!("<href xmlns=\"DAV:\">{path}</href>")
    };
    let hrefs: String = hrefs.iter().map(element).collect();
    format!(
        "<addressbook-multiget xmlns=\"urn:ietf:params:xml:ns:carddav\"><prop xmlns=\"DAV:\">\
         <getetag xmlns=\"DAV:\"/><address-data xmlns=\"urn:ietf:params:xml:ns:carddav\">\
         <allprop xmlns=\"DAV:\"/></address-data></prop>{hrefs}</addressbook-multiget>\n"
    )
}

fn sync_collection(token: &str) -> String {
    format!(
        "<D:sync-collection xmlns:D=\"DAV:\">\n    <D:sync-token>{token}</D:sync-token>\n    \
         <D:sync-level>1</D:sync-level>\n    <D:prop>\n        <D:getetag/>\n        \
         <D:resourcetype/>\n    </D:prop>\n</D:sync-collection>"
    )
}

/// A path without percent-encoding.
fn decoded(href: &str) -> String {
    let mut parts = href.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_owned();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend(part[2..].bytes());
    }
    String::from_utf8(bytes).unwrap()
}
