//! Requests and answers of CardDAV, as far as the scenarios share them.

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use memchr::{memchr, memmem};

use super::client::Connection;

pub(crate) const CTAG: &str = r#"<?xml version="1.0"?>
<propfind xmlns="DAV:" xmlns:CS="http://calendarserver.org/ns/"><prop><CS:getctag/></prop></propfind>"#;
pub(crate) const TOKEN: &str = r#"<?xml version="1.0"?>
<propfind xmlns="DAV:"><prop><sync-token/></prop></propfind>"#;
/// What Thunderbird and vdirsyncer list before they fetch.
pub(crate) const LIST: &str = r#"<?xml version="1.0"?>
<propfind xmlns="DAV:"><prop><resourcetype/><getcontenttype/><getetag/></prop></propfind>"#;

const END_OF_CARD: &[u8] = b"END:VCARD";

pub(crate) async fn propfind(
    connection: &mut Connection,
    depth: &str,
    body: &str,
) -> Result<Vec<u8>> {
    let expected = [StatusCode::MULTI_STATUS];
    let depth = [("depth", depth)];
    connection
        .send("PROPFIND", "", &depth, body, &expected)
        .await
}

pub(crate) async fn report(
    connection: &mut Connection,
    depth: &str,
    body: &str,
) -> Result<Vec<u8>> {
    let expected = [StatusCode::MULTI_STATUS];
    let depth = [("depth", depth)];
    connection.send("REPORT", "", &depth, body, &expected).await
}

/// What an answer held that was too large to keep.
pub(crate) struct Counted {
    pub(crate) n_cards: usize,
    pub(crate) n_bytes: usize,
}

/// Like [`report`], but only counts what comes.
pub(crate) async fn count(connection: &mut Connection, depth: &str, body: &str) -> Result<Counted> {
    let mut counter = CardCounter::default();
    let mut n_bytes = 0;
    let status = connection
        .stream("REPORT", "", &[("depth", depth)], body, |bytes| {
            n_bytes += bytes.len();
            counter.push(bytes);
        })
        .await?;
    ensure!(status == StatusCode::MULTI_STATUS, "REPORT: {status}");
    Ok(Counted {
        n_cards: counter.n_cards,
        n_bytes,
    })
}

/// Changes since `token`, everything if it is empty; `properties` beside the ETag.
pub(crate) fn sync_collection(token: &str, properties: &str) -> String {
    format!(
        r#"<?xml version="1.0"?>
<sync-collection xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><sync-token>{token}</sync-token>
<sync-level>1</sync-level><prop><getetag/>{properties}</prop></sync-collection>"#
    )
}

pub(crate) fn multiget(hrefs: &[String]) -> String {
    let mut body = String::from(
        r#"<?xml version="1.0"?>
<addressbook-multiget xmlns="urn:ietf:params:xml:ns:carddav" xmlns:D="DAV:"><D:prop>
<D:getetag/><D:getcontenttype/><address-data content-type="text/vcard"/></D:prop>"#,
    );
    for href in hrefs {
        body.push_str("<D:href>");
        body.push_str(href);
        body.push_str("</D:href>");
    }
    body.push_str("</addressbook-multiget>");
    body
}

/// Cards with a property that matches, and their bytes.
pub(crate) fn addressbook_query(property: &str, match_type: &str, text: &str) -> String {
    format!(
        r#"<?xml version="1.0"?>
<addressbook-query xmlns="urn:ietf:params:xml:ns:carddav" xmlns:D="DAV:"><D:prop>
<D:getetag/><address-data/></D:prop><filter><prop-filter name="{property}">
<text-match collation="i;unicode-casemap" match-type="{match_type}">{text}</text-match>
</prop-filter></filter></addressbook-query>"#
    )
}

/// The cards' hrefs, whatever prefix the server writes. Parsing in earnest would cost the client
/// more than the answer costs the server.
pub(crate) fn hrefs(multistatus: &[u8]) -> Vec<String> {
    let tag = b"href>";
    // Every second one is an end tag.
    let starts = memmem::find_iter(multistatus, tag).step_by(2);
    starts
        .filter_map(|it| text_at(multistatus, it + tag.len()))
        .filter(|it| it.ends_with(".vcf"))
        .map(str::to_owned)
        .collect()
}

/// The sync token of an answer.
pub(crate) fn sync_token(multistatus: &[u8]) -> Result<String> {
    let tag = b"sync-token>";
    let start = memmem::find(multistatus, tag).context("an answer without a sync token")?;
    let token = text_at(multistatus, start + tag.len()).context("a sync token without an end")?;
    Ok(token.to_owned())
}

/// The text from here to the next tag.
fn text_at(multistatus: &[u8], start: usize) -> Option<&str> {
    let text = multistatus.get(start..)?;
    str::from_utf8(&text[..memchr(b'<', text)?]).ok()
}

/// Whether the server holds back a part of the answer, for which the client asks next.
pub(crate) fn is_truncated(multistatus: &[u8]) -> bool {
    memmem::find(multistatus, b"HTTP/1.1 507").is_some()
}

pub(crate) fn count_cards(multistatus: &[u8]) -> usize {
    memmem::find_iter(multistatus, END_OF_CARD).count()
}

/// Counts cards in parts of an answer.
#[derive(Default)]
struct CardCounter {
    n_cards: usize,
    /// The last bytes, too few to hold an end of a card.
    tail: Vec<u8>,
}

impl CardCounter {
    fn push(&mut self, bytes: &[u8]) {
        let most = END_OF_CARD.len() - 1;
        self.n_cards += count_cards(bytes);
        // Only an end that lies across the border is in here.
        self.tail.extend_from_slice(&bytes[..most.min(bytes.len())]);
        self.n_cards += count_cards(&self.tail);
        if bytes.len() > most {
            self.tail.clear();
            self.tail.extend_from_slice(&bytes[bytes.len() - most..]);
        } else {
            let surplus = self.tail.len().saturating_sub(most);
            self.tail.drain(..surplus);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hrefs_of_cards_are_found_under_any_prefix() {
        let answer = b"<a:multistatus><a:response><a:href>/b/</a:href></a:response>\
            <a:response><a:href>/b/1.vcf</a:href></a:response>\
            <response><href>/b/2.vcf</href></response></a:multistatus>";
        assert_eq!(hrefs(answer), ["/b/1.vcf", "/b/2.vcf"]);
    }

    #[test]
    fn cards_are_counted_however_the_answer_is_cut() {
        let answer = b"END:VCARD</d><d>BEGIN:VCARD\r\nEND:VCARDEND:VCARD\r\n";
        for size in 1..=answer.len() {
            let mut counter = CardCounter::default();
            for part in answer.chunks(size) {
                counter.push(part);
            }
            assert_eq!(counter.n_cards, 3, "in parts of {size}");
        }
    }

    #[test]
    fn the_token_is_found_under_any_prefix() {
        let answer = b"<a:href>/b/</a:href><a:sync-token>urn:7</a:sync-token></a:multistatus>";
        assert_eq!(sync_token(answer).expect("there is a token"), "urn:7");
        assert!(sync_token(b"<multistatus/>").is_err());
    }
}
