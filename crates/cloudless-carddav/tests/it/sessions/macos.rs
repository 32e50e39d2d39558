//! Contacts on macOS, which lists by PROPFIND and shows the first address book only.

use super::ios::{assert_starts_over, discover, multiget, propfind, read_state};
use super::{Client, Headers, Known, Transport, assert_prepared, card, fetched, list};

const HEADERS: Headers = &[
    (
        "user-agent",
        "macOS/15.5 (24F74) AddressBookCore/2673.600.21",
    ),
    ("accept", "*/*"),
    ("accept-language", "en-US,en;q=0.9"),
    ("accept-encoding", "gzip, deflate, br"),
    ("brief", "t"),
    ("content-type", "text/xml"),
];
const DEPTH_1: &[(&str, &str)] = &[("depth", "1")];

pub(super) async fn session<T: Transport>(mut client: Client<T>) {
    client.headers = HEADERS;
    let book = discover(&mut client).await;
    assert_eq!(client.send("OPTIONS", &book, &[], "").await.status, 200);
    let state = read_state(&mut client, &book).await;
    let mut known = list_all(&mut client, &book).await;
    let hrefs: Vec<_> = known.keys().cloned().collect();
    let answer = client.report(&book, DEPTH_1, multiget(&hrefs)).await;
    assert_prepared(&fetched(&answer, &hrefs, &known));
    assert_eq!(read_state(&mut client, &book).await, state);

    // Changes on both sides.
    let path = format!("{book}8F0C2E5A-ABPerson.vcf");
    let upload = [("content-type", "text/vcard"), ("if-none-match", "*")];
    let new = card("8F0C2E5A:ABPerson", "Mac");
    let created = client.send("PUT", &path, &upload, new).await;
    assert_eq!(created.status, 201);
    known.insert(path.clone(), created.header("etag").to_owned());
    let gone = hrefs[1].clone();
    client.elsewhere("DELETE", &gone, String::new()).await;
    known.remove(&gone);
    let changed = hrefs[2].clone();
    let uid = changed
        .strip_prefix(&book)
        .and_then(|name| name.strip_suffix(".vcf"));
    let theirs = card(uid.unwrap(), "Theirs");
    let etag = client.elsewhere("PUT", &changed, theirs.clone()).await;
    known.insert(changed.clone(), etag.clone());
    assert_ne!(read_state(&mut client, &book).await, state);
    assert_eq!(list_all(&mut client, &book).await, known);
    let one = [changed.clone()];
    let answer = client.report(&book, DEPTH_1, multiget(&one)).await;
    assert_eq!(fetched(&answer, &one, &known)[&changed], theirs);
    let headers = [("if-match", etag.as_str())];
    assert_eq!(
        client.send("DELETE", &changed, &headers, "").await.status,
        204
    );
    known.remove(&changed);
    assert_eq!(list_all(&mut client, &book).await, known);
    assert_starts_over(&mut client, &book, &known).await;
}

async fn list_all<T: Transport>(client: &mut Client<T>, book: &str) -> Known {
    let found = client
        .propfind(book, "1", propfind("<A:getetag/><A:resourcetype/>"))
        .await;
    list(&found, book)
}
