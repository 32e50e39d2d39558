//! What a phone does, in its order: find the address book from the bare host, fetch everything,
//! and later only what has changed (RFC 6764, RFC 6352, RFC 6578).

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use http::StatusCode;
use http::header::{LOCATION, WWW_AUTHENTICATE};
use quick_xml::escape::escape;

use super::client::{Answer, Client};
use super::multistatus::{self, Multistatus, Response};
use super::next::Login;
use super::setup::Running;
use super::story::Story;
use super::{HOSTNAME, at_home};

/// Cards in one multiget, as DAVx5 asks for them.
const BATCH: usize = 10;

/// Cards by href.
pub(super) type Cards = BTreeMap<String, Vec<u8>>;

/// Goes through all of it and fails at the first thing that is not as it should be. Returns the path
/// of the card that was changed on the way.
pub(super) async fn sync(
    running: &Running,
    login: &Login,
    story: &Story,
) -> anyhow::Result<String> {
    let ca_file = running.ca_file();
    let connect = Client::tls(running.relay_address, HOSTNAME, &ca_file);
    let client = story
        .step(connect, |client| {
            format!(
                "connects to {}: TLS ends at home, {}",
                running.public_url(),
                client.protocol
            )
        })
        .await?;
    let mut phone = Phone { client };

    let root = story
        .step(phone.well_known(), |root| {
            format!("asks for /.well-known/carddav, is sent to {root}")
        })
        .await?;
    story
        .step(
            phone.unauthorized(&root),
            |()| "is told nothing before it logs in (401)",
        )
        .await?;
    phone.client.log_in(login)?;
    let principal = story
        .step(phone.principal(&root), |principal| {
            format!("logs in, is told who it is: {principal}")
        })
        .await?;
    let home_set = story
        .step(phone.home_set(&principal), |home_set| {
            format!("the server speaks CardDAV; its address books are in {home_set}")
        })
        .await?;
    let book = story
        .step(phone.address_book(&home_set), |book| {
            format!("finds the address book {}", book.href)
        })
        .await?;

    let (mut cards, token) = story
        .step(phone.first_sync(&book.href), |(cards, _)| {
            format!("first sync: {} cards, in batches of {BATCH}", cards.len())
        })
        .await?;
    let kept = at_home::kept(running, login, &book.href).await?;
    story
        .step(phone.compare(&mut cards, &kept), |()| {
            format!("all {} are byte for byte what home keeps", kept.len())
        })
        .await?;

    let change = at_home::change(running, login, &book.href, &cards);
    let (href, bytes) = story
        .step(
            change,
            |_| "somebody changes a card at home, through the local port",
        )
        .await?;
    story
        .step(
            phone.next_sync(&book.href, &token, &href, &bytes),
            |()| "incremental sync: exactly this card comes, and nothing else",
        )
        .await?;
    Ok(href)
}

/// A CardDAV client.
struct Phone {
    client: Client,
}

impl Phone {
    /// RFC 6764 §5: the well-known path leads to the context path, without a login.
    async fn well_known(&mut self) -> anyhow::Result<String> {
        let body = propfind("<D:current-user-principal/>");
        let answer = self
            .ask("PROPFIND", "/.well-known/carddav", "0", body)
            .await?;
        ensure!(
            answer.status.is_redirection(),
            "it answered {}",
            answer.status
        );
        let location = answer
            .headers
            .get(LOCATION)
            .context("the redirect has no target")?;
        Ok(path_of(
            location
                .to_str()
                .context("the redirect's target is no text")?,
        )
        .to_owned())
    }

    /// Without a login there is a 401 that asks for one.
    async fn unauthorized(&mut self, path: &str) -> anyhow::Result<()> {
        let body = propfind("<D:current-user-principal/>");
        let answer = self.ask("PROPFIND", path, "0", body).await?;
        ensure!(
            answer.status == StatusCode::UNAUTHORIZED,
            "it answered {}",
            answer.status
        );
        let challenge = answer.headers.get(WWW_AUTHENTICATE);
        ensure!(
            challenge.is_some_and(|value| value.as_bytes().starts_with(b"Basic ")),
            "it did not ask for a password"
        );
        Ok(())
    }

    /// RFC 5397: who am I?
    async fn principal(&mut self, path: &str) -> anyhow::Result<String> {
        let found = self
            .propfind(path, "0", "<D:current-user-principal/>")
            .await?;
        href_in(&found, "current-user-principal")
    }

    /// The `DAV:` header must promise address books; then the home set (RFC 6352 §7.1.1).
    async fn home_set(&mut self, principal: &str) -> anyhow::Result<String> {
        let answer = self.client.send("OPTIONS", principal, &[], "").await?;
        ensure!(
            answer.status.is_success(),
            "OPTIONS answered {}",
            answer.status
        );
        let classes = answer
            .headers
            .get_all("dav")
            .iter()
            .filter_map(|value| value.to_str().ok());
        ensure!(
            classes
                .flat_map(|value| value.split(','))
                .any(|class| class.trim() == "addressbook"),
            "the DAV header does not promise address books"
        );
        let found = self
            .propfind(principal, "0", "<C:addressbook-home-set/>")
            .await?;
        href_in(&found, "addressbook-home-set")
    }

    /// The first address book in the home set.
    async fn address_book(&mut self, home_set: &str) -> anyhow::Result<Response> {
        let names =
            "<D:resourcetype/><D:displayname/><D:current-user-privilege-set/><D:sync-token/>";
        let found = self.propfind(home_set, "1", names).await?;
        let is_book = |response: &Response| response.has("resourcetype", "addressbook");
        found
            .responses
            .into_iter()
            .find(is_book)
            .context("there is no address book")
    }

    /// All cards and the sync token, by an empty token and multigets (RFC 6578, RFC 6352 §8.7).
    async fn first_sync(&mut self, book: &str) -> anyhow::Result<(Cards, String)> {
        let mut hrefs = Vec::new();
        let mut token = String::new();
        loop {
            let changes = self.changes(book, &token).await?;
            token = changes.sync_token.context("the answer has no sync token")?;
            let truncated = changes.responses.iter().any(is_truncation(book));
            hrefs.extend(
                changes
                    .responses
                    .into_iter()
                    .filter(|it| it.href != book)
                    .map(|it| it.href),
            );
            if !truncated {
                break;
            }
        }
        let mut cards = Cards::new();
        for batch in hrefs.chunks(BATCH) {
            cards.extend(self.multiget(book, batch).await?);
        }
        Ok((cards, token))
    }

    /// Checks that the phone has what home keeps, to the byte. XML cannot carry every byte that a
    /// card may hold; such a card is fetched as it is.
    async fn compare(&mut self, cards: &mut Cards, kept: &Cards) -> anyhow::Result<()> {
        let (here, there) = (cards.len(), kept.len());
        ensure!(
            here == there,
            "the phone has {here} cards, home keeps {there}"
        );
        for (href, bytes) in kept {
            let card = cards
                .get_mut(href)
                .with_context(|| format!("{href} is missing"))?;
            if card != bytes {
                let answer = self.client.send("GET", href, &[], "").await?;
                ensure!(
                    answer.status == StatusCode::OK,
                    "GET {href} answered {}",
                    answer.status
                );
                *card = answer.body.to_vec();
                ensure!(card == bytes, "{href} is not what home keeps");
            }
        }
        Ok(())
    }

    /// Asks what has changed since `token`: it must be the card at `href`, and it must be `bytes`.
    async fn next_sync(
        &mut self,
        book: &str,
        token: &str,
        href: &str,
        bytes: &[u8],
    ) -> anyhow::Result<()> {
        let changes = self.changes(book, token).await?;
        let changed: Vec<&str> = changes
            .responses
            .iter()
            .map(|it| it.href.as_str())
            .collect();
        ensure!(
            changed == [href],
            "the changes are {changed:?} and not {href}"
        );
        ensure!(
            changes.responses[0].status.is_none(),
            "the card is said to be gone"
        );
        let cards = self.multiget(book, &[href.to_owned()]).await?;
        ensure!(
            cards.get(href).is_some_and(|card| card == bytes),
            "the change came with other bytes"
        );
        Ok(())
    }

    async fn changes(&mut self, book: &str, token: &str) -> anyhow::Result<Multistatus> {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><D:sync-collection xmlns:D=\"DAV:\">\
             <D:sync-token>{}</D:sync-token><D:sync-level>1</D:sync-level>\
             <D:prop><D:getetag/></D:prop></D:sync-collection>",
            escape(token)
        );
        multistatus(self.ask("REPORT", book, "0", body).await?)
    }

    async fn multiget(&mut self, book: &str, hrefs: &[String]) -> anyhow::Result<Cards> {
        let mut body = String::from(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><C:addressbook-multiget xmlns:D=\"DAV:\" \
             xmlns:C=\"urn:ietf:params:xml:ns:carddav\"><D:prop><D:getetag/>\
             <C:address-data content-type=\"text/vcard\"/></D:prop>",
        );
        for href in hrefs {
            body.push_str(&format!("<D:href>{}</D:href>", escape(href)));
        }
        body.push_str("</C:addressbook-multiget>");
        let answer = multistatus(self.ask("REPORT", book, "0", body).await?)?;
        ensure!(
            answer.responses.len() == hrefs.len(),
            "not every card of a multiget was answered"
        );
        let card = |response: Response| {
            let data = response
                .text("address-data")
                .context("a card came without its data")?;
            ensure!(
                response.text("getetag").is_some(),
                "a card came without an ETag"
            );
            Ok((response.href.clone(), data.as_bytes().to_owned()))
        };
        answer.responses.into_iter().map(card).collect()
    }

    async fn propfind(
        &mut self,
        path: &str,
        depth: &str,
        names: &str,
    ) -> anyhow::Result<Multistatus> {
        multistatus(self.ask("PROPFIND", path, depth, propfind(names)).await?)
    }

    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        depth: &str,
        body: String,
    ) -> anyhow::Result<Answer> {
        let headers = [
            ("depth", depth),
            ("content-type", "application/xml; charset=utf-8"),
        ];
        self.client.send(method, path, &headers, body).await
    }
}

fn propfind(names: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><D:propfind xmlns:D=\"DAV:\" \
         xmlns:C=\"urn:ietf:params:xml:ns:carddav\"><D:prop>{names}</D:prop></D:propfind>"
    )
}

fn multistatus(answer: Answer) -> anyhow::Result<Multistatus> {
    ensure!(
        answer.status == StatusCode::MULTI_STATUS,
        "it answered {}",
        answer.status
    );
    multistatus::parse(&answer.body)
}

/// The row of RFC 6578 §3.6 that says that there is more.
fn is_truncation(book: &str) -> impl Fn(&Response) -> bool {
    move |response| {
        let status = response.status.as_deref();
        response.href == book && status.is_some_and(|status| status.contains(" 507"))
    }
}

/// The href in a property of the only response.
fn href_in(found: &Multistatus, property: &str) -> anyhow::Result<String> {
    let response = found.responses.first().context("the answer is empty")?;
    let href = response
        .text(property)
        .with_context(|| format!("there is no {property}"))?;
    Ok(path_of(href.trim()).to_owned())
}

/// The path of a URL, or the path itself.
fn path_of(url: &str) -> &str {
    let after_scheme = url.split_once("://").map(|(_, rest)| rest);
    after_scheme.map_or(url, |rest| {
        rest.find('/').map_or("/", |slash| &rest[slash..])
    })
}
