//! Whole sessions of clients, request by request as they were seen on the wire: from the bare name
//! of the host to steady polls, with changes on both sides. A session knows nothing of how its
//! requests travel, so that each runs against the service in memory and over TLS through a relay.

mod davx5;
mod evolution;
mod ios;
mod kde;
mod macos;
mod thunderbird;
mod vdirsyncer;

use std::collections::BTreeMap;

use bytes::Bytes;
use data_encoding::BASE64;
use http::{HeaderName, Request};

use crate::answer::Answer;
use crate::multistatus::{Multistatus, Row};

/// The way of a request to the server and of the answer back.
pub(crate) trait Transport {
    /// Sends a request with all its headers but Host.
    async fn exchange(&mut self, request: Request<Bytes>) -> Result<Answer, Lost>;
}

/// The request or its answer was lost on the way: whether it was carried out is not known.
#[derive(Debug)]
pub(crate) struct Lost;

/// The clients that have a session.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Program {
    Davx5,
    Evolution,
    Ios,
    Kde,
    Macos,
    Thunderbird,
    Vdirsyncer,
}

/// A login to a book that holds the [`prepared`] cards and nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Account {
    /// The path of the book that every user has.
    pub(crate) fn book(&self) -> String {
        format!("/dav/addressbooks/{}/contacts/", self.user)
    }

    /// A request with this login.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Request<Bytes> {
        let credentials = format!("{}:{}", self.user, self.password);
        let authorization = format!("Basic {}", BASE64.encode(credentials.as_bytes()));
        let headers = [headers, &[("authorization", &authorization)]].concat();
        request(method, path, &headers, body)
    }
}

fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl AsRef<[u8]>,
) -> Request<Bytes> {
    let body = Bytes::copy_from_slice(body.as_ref());
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .body(body)
        .unwrap();
    // The last of two headers of one name is the one that is sent.
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request
}

impl Program {
    /// Carries out the session; fails the test at the first answer that the program could not use.
    pub(crate) async fn session<T: Transport>(self, account: Account, transport: T) {
        let client = Client::new(account, transport);
        match self {
            Self::Davx5 => davx5::session(client).await,
            Self::Evolution => evolution::session(client).await,
            Self::Ios => ios::session(client).await,
            Self::Kde => kde::session(client).await,
            Self::Macos => macos::session(client).await,
            Self::Thunderbird => thunderbird::session(client).await,
            Self::Vdirsyncer => vdirsyncer::session(client).await,
        }
    }
}

/// How many cards are in the book from the start: more than the largest batch of any client.
const PREPARED: usize = 523;

/// The cards that are in the book from the start, as UID and text.
pub(crate) fn prepared() -> impl Iterator<Item = (String, String)> {
    (0..PREPARED).map(|number| {
        let uid = format!("prepared-{number}");
        let text = card(&uid, &format!("Prepared & <{number}>"));
        (uid, text)
    })
}

/// A small card.
fn card(uid: &str, full_name: &str) -> String {
    format!(
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:{full_name}\r\nN:{full_name};;;;\r\n\
         END:VCARD\r\n"
    )
}

type Headers = &'static [(&'static str, &'static str)];

/// What a client holds of a book: ETags by href, both as the server spelled them.
type Known = BTreeMap<String, String>;

/// A client that follows redirects and logs in when it is asked to.
struct Client<T> {
    transport: T,
    account: Account,
    /// Sent with every request that does not name others.
    headers: Headers,
    is_logged_in: bool,
    /// The requests with their statuses.
    log: Vec<String>,
}

impl<T: Transport> Client<T> {
    fn new(account: Account, transport: T) -> Self {
        Self {
            transport,
            account,
            headers: &[],
            is_logged_in: false,
            log: Vec::new(),
        }
    }

    /// Sends a request with more headers.
    async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let (mut path, body) = (path.to_owned(), body.into());
        loop {
            let headers = [self.headers, headers].concat();
            let login = self.is_logged_in;
            let answer = self
                .exchange(method, &path, &headers, body.clone(), login)
                .await;
            self.log.push(format!("{method} {path} {}", answer.status));
            match answer.status {
                301 => path = answer.header("location").to_owned(),
                401 if !self.is_logged_in => {
                    let challenge = answer.header("www-authenticate");
                    assert!(
                        challenge.starts_with("Basic realm=\"cloudless\""),
                        "{challenge}"
                    );
                    self.is_logged_in = true;
                }
                _ => return answer,
            }
        }
    }

    /// Asks for properties, in the client's own words.
    async fn propfind(&mut self, path: &str, depth: &str, body: String) -> Multistatus {
        let headers = [("depth", depth)];
        self.send("PROPFIND", path, &headers, body)
            .await
            .multistatus()
    }

    /// Sends a report, in the client's own words.
    async fn report(&mut self, path: &str, headers: &[(&str, &str)], body: String) -> Multistatus {
        self.send("REPORT", path, headers, body).await.multistatus()
    }

    /// What another device of the same person does meanwhile; gives the ETag that it gets.
    async fn elsewhere(&mut self, method: &str, path: &str, body: String) -> String {
        let headers = [
            ("content-type", "text/vcard"),
            ("user-agent", "another device"),
        ];
        let answer = self
            .exchange(method, path, &headers, body.into(), true)
            .await;
        assert!(matches!(answer.status, 201 | 204), "{answer:?}");
        answer.header("etag").to_owned()
    }

    async fn exchange(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
        login: bool,
    ) -> Answer {
        let request = match login {
            true => self.account.request(method, path, headers, body),
            false => request(method, path, headers, body),
        };
        self.transport.exchange(request).await.expect("an answer")
    }

    /// The book as it is found by a client that takes the first one, as macOS does.
    fn first_book(found: &Multistatus) -> String {
        let is_book = |row: &&Row| row.inside("D:resourcetype").contains(&"C:addressbook");
        let book = found.rows.iter().find(is_book).expect("a book");
        assert_eq!(book.propstats[0].status, "HTTP/1.1 200 OK");
        // Clients make URLs of new cards by appending to it.
        assert!(book.href.ends_with('/') && book.href.starts_with('/'));
        book.href.clone()
    }
}

/// Reads a list of cards with their ETags, without the row of the book itself.
#[track_caller]
fn list(found: &Multistatus, book: &str) -> Known {
    let cards = found.rows.iter().filter(|row| row.href != book);
    let known: Known = cards.map(listed).collect();
    let names: Vec<_> = known.keys().collect();
    assert!(names.iter().all(|href| href.starts_with(book)), "{names:?}");
    known
}

/// Brings what a client knows up to date by a sync-collection that needs no further page. Gives the
/// hrefs of cards that the client has to fetch, and the next token.
#[track_caller]
fn apply(changes: &Multistatus, known: &mut Known) -> (Vec<String>, String) {
    let mut fetch = Vec::new();
    for row in &changes.rows {
        if let Some(status) = &row.status {
            // Thunderbird compares the beginning, DAVx5 reads the whole status line.
            assert_eq!(status, "HTTP/1.1 404 Not Found");
            known.remove(&row.href);
        } else {
            let (href, etag) = listed(row);
            if known.insert(href.clone(), etag.clone()).as_ref() != Some(&etag) {
                fetch.push(href);
            }
        }
    }
    let token = changes.sync_token.clone().expect("a token");
    // Evolution takes a token without either for one of another protocol.
    assert!(token.contains(['/', ':']));
    (fetch, token)
}

/// Checks the answer to a multiget: a row for each href, spelled as it was asked for, with the ETag
/// that is known and a card. Gives the cards by href.
#[track_caller]
fn fetched(cards: &Multistatus, hrefs: &[String], known: &Known) -> BTreeMap<String, String> {
    assert_eq!(cards.hrefs(), hrefs);
    let each = cards.rows.iter().map(|row| {
        let (href, etag) = listed(row);
        assert_eq!(known.get(&href), Some(&etag), "one ETag everywhere: {href}");
        (href, row.text("C:address-data").to_owned())
    });
    each.collect()
}

/// Checks that a book holds the prepared cards, and nothing else.
#[track_caller]
fn assert_prepared(cards: &BTreeMap<String, String>) {
    let mut texts: Vec<_> = cards.values().map(String::as_str).collect();
    texts.sort_unstable();
    let mut expected: Vec<_> = prepared().map(|(_, text)| text).collect();
    expected.sort_unstable();
    assert_eq!(texts, expected);
}

#[track_caller]
fn listed(row: &Row) -> (String, String) {
    let etag = row.text("D:getetag");
    assert_strong(etag);
    (row.href.clone(), etag.to_owned())
}

/// Checks that a tag can stand in If-Match as it is.
#[track_caller]
fn assert_strong(etag: &str) {
    assert!(
        etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"'),
        "{etag}"
    );
}

/// The elements DAV:href of a multiget, written with this prefix.
fn hrefs_xml(prefix: &str, hrefs: &[String]) -> String {
    let element = |href: &String| format!("<{prefix}href>{href}</{prefix}href>");
    hrefs.iter().map(element).collect()
}
