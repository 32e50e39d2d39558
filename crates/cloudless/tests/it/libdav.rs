//! libdav, the library of pimsync, with the tests' connections below it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use libdav::carddav::{FindAddressBookHomeSet, FindAddressBooks, GetAddressBookResources};
use libdav::dav::{Delete, ListResources, PutResource, SyncCollection, WebDavClient};
use libdav::{CardDavClient, HttpClient};

use crate::binary::on;
use crate::cards;
use crate::client::{BOOK, Client};
use crate::documented;
use crate::pair::Pair;

const COUNT: usize = 1000;
const VCARD: &str = "text/vcard; charset=utf-8";

/// One connection for each request, to wherever the client leads.
struct Connections(Client);

impl HttpClient for Connections {
    type Error = io::Error;
    type Body = Full<Bytes>;
    type Future = Pin<Box<dyn Future<Output = io::Result<Response<Full<Bytes>>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let client = self.0.clone();
        Box::pin(async move {
            let mut request = request.map(Bytes::from);
            let path = request.uri().path_and_query().cloned();
            *request.uri_mut() = path.map_or_else(Default::default, Into::into);
            let answer = client.send(request).await.map_err(io::Error::other)?;
            let mut response = Response::new(Full::new(answer.body));
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers;
            Ok(response)
        })
    }
}

type Libdav = CardDavClient<Connections>;

fn url(pair: &Pair) -> String {
    format!("https://localhost:{}", pair.relay_port())
}

/// Finds the server from its bare name.
async fn discover(pair: &Pair, client: Client) -> Result<Libdav, impl Debug + use<>> {
    let client = WebDavClient::new(url(pair).parse().unwrap(), Connections(client));
    CardDavClient::bootstrap_via_service_discovery(client).await
}

/// The only address book.
async fn find_book(libdav: &Libdav) -> Result<String, String> {
    let principal = libdav.find_current_user_principal().await;
    let principal = principal.map_err(|error| format!("{error:?}"))?;
    let principal = principal.ok_or("no principal")?;
    let home_set = FindAddressBookHomeSet::new(principal.path());
    let home_sets = libdav.request(home_set).await.unwrap().home_sets;
    let books = FindAddressBooks::new(home_sets[0].path());
    let books = libdav.request(books).await.unwrap().addressbooks;
    assert_eq!(books.len(), 1);
    assert!(books[0].supports_sync);
    Ok(books[0].href.clone())
}

/// A card's bytes by its href, with the line ends that libdav gives.
async fn fetch(libdav: &Libdav, book: &str, hrefs: &[String]) -> BTreeMap<String, String> {
    let request = GetAddressBookResources::new(book).with_hrefs(hrefs);
    let fetched = libdav.request(request).await.unwrap().resources;
    let cards = fetched.into_iter();
    cards
        .map(|it| (it.href, it.content.unwrap().data))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_cards_edits_both_ways_and_deletions() {
    let pair = Pair::start();
    let file = pair.folder("import").join("all.vcf");
    let varied = cards::varied(COUNT);
    let all = varied.iter().map(|(_, card)| card.as_slice());
    std::fs::write(&file, all.collect::<Vec<_>>().join(&b"\r\n"[..])).unwrap();
    let import = ["contacts", "import", file.to_str().unwrap()];
    on(&pair.folder("home"), &import).expect(0);

    let libdav = discover(&pair, pair.phone()).await.unwrap();
    let book = find_book(&libdav).await.unwrap();
    assert_eq!(book, BOOK);
    let first = libdav.request(SyncCollection::new(&book)).await.unwrap();
    let listed = libdav.request(ListResources::new(&book)).await.unwrap();
    let listed = listed.resources.into_iter();
    let listed = listed.filter(|it| !it.resource_type.is_collection);
    let listed: BTreeSet<_> = listed.map(|it| it.href).collect();
    let changed: BTreeSet<_> = first.changed.into_iter().map(|it| it.href).collect();
    assert_eq!(listed.len(), COUNT);
    assert_eq!(listed, changed);
    let hrefs: Vec<_> = listed.into_iter().collect();
    let mut fetched = BTreeSet::new();
    for hrefs in hrefs.chunks(100) {
        let cards = fetch(&libdav, &book, hrefs).await;
        assert_eq!(cards.len(), hrefs.len());
        fetched.extend(cards.into_values().map(|it| lines(it.as_bytes())));
    }
    let sent: BTreeSet<_> = varied.iter().map(|(_, card)| lines(card)).collect();
    assert!(fetched == sent, "every card is as it was imported");

    // Here.
    let photo = String::from_utf8(cards::with_photo("with-photo")).unwrap();
    let club = String::from_utf8(cards::group("club", &["with-photo"])).unwrap();
    for (name, card) in [("with-photo", &photo), ("club", &club)] {
        let href = format!("{book}{name}.vcf");
        let put = PutResource::new(&href).create(card.clone(), VCARD);
        let etag = libdav.request(put).await.unwrap().etag;
        assert!(etag.is_some(), "{name}");
        let again = PutResource::new(&href).create(card.clone(), VCARD);
        libdav.request(again).await.expect_err("it is there");
        let cards = fetch(&libdav, &book, std::slice::from_ref(&href)).await;
        assert_eq!(lines(cards[&href].as_bytes()), lines(card.as_bytes()));
    }
    let token = first.new_sync_token;
    let since = async |token: &str| {
        let request = SyncCollection::new(&book).with_sync_token(token);
        libdav.request(request).await.unwrap()
    };
    let own = since(&token).await;
    assert_eq!(own.changed.len(), 2);

    // Elsewhere, and then here with the ETag of before.
    let href = format!("{book}with-photo.vcf");
    let etag_of = |changes: &[libdav::dav::ListedResource]| {
        let change = changes.iter().find(|it| it.href == href).unwrap();
        change.etag.clone().unwrap()
    };
    let stale = etag_of(&own.changed);
    let mut phone = pair.phone().connect().await.unwrap();
    let elsewhere = photo.replace("X-CUSTOM:kept", "X-CUSTOM:changed");
    let put = phone.put("with-photo.vcf", elsewhere.as_bytes()).await;
    assert!(put.unwrap().status.is_success());
    let deleted = hrefs[0].strip_prefix(&book).unwrap();
    assert!(phone.delete(deleted).await.unwrap().status.is_success());
    let theirs = since(&own.new_sync_token).await;
    assert_eq!(theirs.changed.len(), 1);
    assert_eq!(theirs.deleted, [hrefs[0].clone()]);
    let update = PutResource::new(&href).update(photo.clone(), VCARD, stale);
    let refused = libdav.request(update).await.expect_err("an old ETag");
    assert!(format!("{refused:?}").contains("412"), "{refused:?}");
    let update = PutResource::new(&href).update(photo, VCARD, etag_of(&theirs.changed));
    let etag = libdav.request(update).await.unwrap().etag.unwrap();
    let delete = Delete::new(&href).with_etag(etag);
    libdav.request(delete).await.unwrap();
    let last = since(&theirs.new_sync_token).await;
    assert_eq!((last.changed.len(), last.deleted), (0, vec![href]));
}

/// The lines of a card, whatever ends them.
fn lines(card: &[u8]) -> Vec<String> {
    let card = std::str::from_utf8(card).unwrap();
    card.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_a_revoked_device_and_a_home_that_is_away_are_told() {
    let mut pair = Pair::start();
    let wrong = || Client::through_relay(pair.relay_address(), &pair.ca_file(), "wrong");
    // Its discovery says only that there is no server.
    assert!(discover(&pair, wrong()).await.is_err());
    let stranger = WebDavClient::new(url(&pair).parse().unwrap(), Connections(wrong()));
    let stranger = find_book(&CardDavClient::new(stranger)).await;
    let refused = stranger.expect_err("a wrong password");
    assert!(refused.contains("401"), "{refused}");

    let libdav = discover(&pair, pair.phone()).await.unwrap();
    let book = find_book(&libdav).await.unwrap();
    let first = libdav.request(SyncCollection::new(&book)).await.unwrap();
    let since = async |token: &str| {
        let request = SyncCollection::new(&book).with_sync_token(token);
        libdav.request(request).await
    };
    let relay = pair.folder("relay");
    documented::set(&relay.join("relay.toml"), "hold = \"100ms\"\n");
    on(&relay, &["relay", "reload"]).expect(0);
    pair.kill_home();
    since(&first.new_sync_token)
        .await
        .expect_err("home is away");
    let href = format!("{book}here.vcf");
    let card = String::from_utf8(cards::small("here")).unwrap();
    let create = || PutResource::new(&href).create(card.clone(), VCARD);
    libdav.request(create()).await.expect_err("home is away");
    // Whoever sits at home goes on meanwhile.
    let file = pair.folder("import").join("elsewhere.vcf");
    std::fs::write(&file, cards::small("elsewhere")).unwrap();
    let import = ["contacts", "import", file.to_str().unwrap()];
    on(&pair.folder("home"), &import).expect(0);
    pair.start_home();
    pair.await_tunnel();
    let theirs = since(&first.new_sync_token).await.unwrap();
    assert_eq!((theirs.changed.len(), theirs.deleted.len()), (1, 0));
    let hrefs = [theirs.changed[0].href.clone()];
    let fetched = fetch(&libdav, &book, &hrefs).await;
    assert_eq!(
        lines(fetched[&hrefs[0]].as_bytes()),
        lines(&cards::small("elsewhere"))
    );
    libdav.request(create()).await.unwrap();
    let own = since(&theirs.new_sync_token).await.unwrap();
    let own: Vec<_> = own.changed.into_iter().map(|it| it.href).collect();
    assert_eq!(own, [href]);

    on(&pair.folder("home"), &["device", "revoke", "me", "phone"]).expect(0);
    let list = ListResources::new(&book);
    let refused = libdav.request(list).await.expect_err("a revoked device");
    assert!(format!("{refused:?}").contains("401"), "{refused:?}");
}
