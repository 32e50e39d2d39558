//! The cards of an address book: which there are, and what is in them.

use std::collections::HashMap;
use std::fmt::Write as _;

use anyhow::Context as _;
use cloudless_dav_proto::answer::{CARD_LEN_MAX, parse_multistatus};
use http::{Method, StatusCode};

use super::address::Address;
use super::client::BODY_MAX;
use super::discovery::{Book, Server};

const ETAGS: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<propfind xmlns="DAV:"><prop><getetag/><resourcetype/></prop></propfind>"#;

/// A card as the list of a book has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) address: Address,
    /// Without, it is fetched each time.
    pub(crate) etag: Option<String>,
}

/// A card as it was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Card {
    pub(crate) etag: Option<String>,
    pub(crate) bytes: Vec<u8>,
}

/// Why a card was not fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CardError {
    #[error("it is larger than {} MiB", CARD_LEN_MAX / 1024 / 1024)]
    TooLarge,
    #[error("the server answered with status {0}")]
    Status(StatusCode),
}

impl Server {
    /// All cards of a book, in the order of their addresses.
    pub(crate) fn entries(&mut self, book: &Book) -> anyhow::Result<Vec<Listed>> {
        let rows = self.list(&book.address, ETAGS)?;
        let is_card = |(address, _): &(Address, _)| {
            let folder = book.address.path.trim_end_matches('/');
            let rest = address.path.strip_prefix(folder);
            rest.is_some_and(|rest| !rest.trim_matches('/').is_empty())
        };
        let rows = rows
            .into_iter()
            .filter(is_card)
            .filter(|(_, row)| !row.is_collection);
        let entry = |(address, row): (Address, cloudless_dav_proto::answer::Row)| Listed {
            address,
            etag: row.etag,
        };
        let mut entries: Vec<_> = rows.map(entry).collect();
        entries.sort_by(|one, other| one.address.cmp(&other.address));
        entries.dedup_by(|one, other| one.address == other.address);
        Ok(entries)
    }

    /// Some cards of a book at once, each with its entry's place. What is missing in the answer, and
    /// all of them where the server knows no multiget, is asked for one by one.
    pub(crate) fn cards(
        &mut self,
        book: &Book,
        entries: &[Listed],
    ) -> anyhow::Result<Vec<Result<Card, CardError>>> {
        let mut found = self.multiget(book, entries);
        let mut cards = Vec::with_capacity(entries.len());
        for entry in entries {
            cards.push(match found.remove(&entry.address.path) {
                Some(card) => Ok(card),
                None => self.card(entry)?,
            });
        }
        Ok(cards)
    }

    /// RFC 6352 section 8.7. A server that cannot is no failure.
    fn multiget(&mut self, book: &Book, entries: &[Listed]) -> HashMap<String, Card> {
        let mut body = r#"<?xml version="1.0" encoding="utf-8"?>
<C:addressbook-multiget xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><prop><getetag/>
<C:address-data/></prop>"#
            .to_owned();
        for entry in entries {
            let path = quick_xml::escape::escape(&entry.address.path);
            // Writing to a string cannot fail.
            let _ = write!(body, "<href>{path}</href>");
        }
        body.push_str("</C:addressbook-multiget>");
        let report = Method::from_bytes(b"REPORT").unwrap_or_default();
        let asked = self
            .client
            .ask(&report, &book.address, Some("1"), &body, BODY_MAX);
        let answer = match asked {
            Ok(answer) if answer.status == StatusCode::MULTI_STATUS => answer,
            Ok(answer) => {
                tracing::debug!(status = %answer.status, "No multiget");
                return HashMap::new();
            }
            // Such as for more bytes than are taken at once.
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "No multiget");
                return HashMap::new();
            }
        };
        let Ok(rows) = parse_multistatus(&answer.body) else {
            return HashMap::new();
        };
        let card = |row: cloudless_dav_proto::answer::Row| {
            let at = answer.address.join(&row.href).ok()?;
            let bytes = row.address_data?.into_bytes();
            let etag = row.etag;
            Some((at.path, Card { etag, bytes }))
        };
        rows.into_iter().filter_map(card).collect()
    }

    fn card(&mut self, entry: &Listed) -> anyhow::Result<Result<Card, CardError>> {
        let max = CARD_LEN_MAX + 1;
        let answer = match self.client.ask(&Method::GET, &entry.address, None, "", max) {
            Ok(answer) => answer,
            Err(super::client::ClientError::Body { .. }) => return Ok(Err(CardError::TooLarge)),
            Err(error) => return Err(error).context("cannot fetch a card"),
        };
        if answer.status != StatusCode::OK {
            return Ok(Err(CardError::Status(answer.status)));
        }
        if answer.body.len() > CARD_LEN_MAX {
            return Ok(Err(CardError::TooLarge));
        }
        let etag = answer.headers.get(http::header::ETAG);
        Ok(Ok(Card {
            etag: etag.and_then(|it| it.to_str().ok()).map(str::to_owned),
            bytes: answer.body.to_vec(),
        }))
    }
}
