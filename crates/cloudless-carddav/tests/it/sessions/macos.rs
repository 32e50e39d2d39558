//! Contacts on macOS, which lists by PROPFIND and shows the first address book only.

use super::ios::{discover, multiget, propfind, read_state, sync_collection};
use super::{Client, Headers, Known, Transport, apply, assert_prepared, card, fetched, list};

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
    let update = [
        ("content-type", "text/vcard"),
        ("if-match", created.header("etag")),
    ];
    let edited = card("8F0C2E5A:ABPerson", "Mac, edited");
    let updated = client.send("PUT", &path, &update, edited).await;
    assert_eq!(updated.status, 204);
    assert_ne!(updated.header("etag"), created.header("etag"));
    known.insert(path.clone(), updated.header("etag").to_owned());
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
    assert_any_token_is_taken(&mut client, &book, known, &[gone, changed]).await;
}

/// It keeps a token that is refused for ever. A token that it made up, and one of before a backup was
/// restored, lead to all cards; with the latter it forgets what is gone, too.
async fn assert_any_token_is_taken<T: Transport>(
    client: &mut Client<T>,
    book: &str,
    known: Known,
    gone: &[String],
) {
    let made_up = sync_collection("6BA7B810-9DAD-11D1-80B4-00C04FD430C8");
    let mut anew = Known::new();
    let (_, token) = apply(&client.report(book, DEPTH_1, made_up).await, &mut anew);
    assert_eq!(anew, known);
    let earlier = token.replace("/sync/", "/sync/0");
    let mut stale = known.clone();
    for href in gone {
        stale.insert(href.clone(), "\"stale\"".to_owned());
    }
    let answer = client
        .report(book, DEPTH_1, sync_collection(&earlier))
        .await;
    let (fetch, again) = apply(&answer, &mut stale);
    assert_eq!((stale, again), (known, token.clone()));
    assert_eq!(fetch, Vec::<String>::new());
    let idle = client.report(book, DEPTH_1, sync_collection(&token)).await;
    assert!(idle.rows.is_empty() && idle.sync_token.as_deref() == Some(&*token));
}

async fn list_all<T: Transport>(client: &mut Client<T>, book: &str) -> Known {
    let found = client
        .propfind(book, "1", propfind("<A:getetag/><A:resourcetype/>"))
        .await;
    list(&found, book)
}
