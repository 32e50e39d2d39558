//! REPORT (RFC 3253 §3.6): one file per report.

mod addressbook_multiget;
mod addressbook_query;
mod sync_collection;

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use cloudless_dav_proto::Name;
use cloudless_dav_proto::error::Condition;
use cloudless_dav_proto::header::Depth;
use cloudless_dav_proto::multistatus::{Property, Value};
use cloudless_dav_proto::request::{Propfind, Props, PropsKind, Report, parse_report};
use cloudless_store::{AddressBook, CardRow, StoreError};
use http::{Response, StatusCode};

use super::read_xml;
use crate::depth::depth;
use crate::multistatus::Row;
use crate::prefer::is_minimal;
use crate::properties;
use crate::refusal::Refusal;
use crate::representation::Representation;
use crate::request::Request;
use crate::resource::book_href;
use crate::target::Target;
use crate::{Body, blocking};
use addressbook_query::Scope;

/// Answers a REPORT on an address book, or on one of its cards (RFC 6352 §8).
pub(super) async fn respond<B>(
    request: Request,
    book: String,
    card: Option<String>,
    body: B,
) -> Result<Response<Body>, Refusal>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Display,
{
    // Only a query means something by its depth; for the others clients send any: 0, 1, infinity or
    // nothing.
    let depth = depth(&request.headers)?;
    let body = read_xml(&request, body).await?;
    blocking::run(move || {
        let report = parse_report(&body)?;
        let book = request
            .address_book(&book)?
            .ok_or_else(Refusal::not_found)?;
        if let Some(card) = &card
            && request.store.card_row(book.id, card)?.is_none()
        {
            return Err(Refusal::not_found());
        }
        answer(request, book, card, depth, report)
    })
    .await
}

fn answer(
    request: Request,
    book: AddressBook,
    card: Option<String>,
    depth: Option<Depth>,
    report: Report,
) -> Result<Response<Body>, Refusal> {
    match report {
        Report::AddressbookMultiget { props, hrefs } => {
            addressbook_multiget::respond(Cards::new(request, book, props)?, hrefs)
        }
        Report::AddressbookQuery {
            props,
            filter,
            limit,
        } => {
            // A client that says nothing of depth means the cards, though RFC 6352 §8.6 takes it
            // for 0.
            let scope = match (card, depth) {
                (Some(card), _) => Scope::Card(card),
                (None, Some(Depth::Zero)) => Scope::Nothing,
                (None, _) => Scope::Members,
            };
            addressbook_query::respond(Cards::new(request, book, props)?, scope, filter, limit)
        }
        // An address book has no collections below it, so that both levels mean the same.
        Report::SyncCollection {
            token,
            level: _,
            limit,
            props,
        } if card.is_none() => {
            sync_collection::respond(Cards::new(request, book, props)?, token, limit)
        }
        Report::SyncCollection { .. } => Err(unsupported(&Name::dav("sync-collection"))),
        Report::Unsupported(name) => Err(unsupported(&name)),
    }
}

/// The answer of a collection that has no report.
pub(super) fn none() -> Refusal {
    let reason = "Reports are for address books and cards.";
    Refusal::condition(StatusCode::FORBIDDEN, Condition::SupportedReport, reason)
}

fn unsupported(name: &Name) -> Refusal {
    let reason = format!("The report {name} is not supported here.");
    Refusal::condition(StatusCode::FORBIDDEN, Condition::SupportedReport, reason)
}

/// Tells of cards, for the reports. Blocks on the store.
struct Cards {
    request: Request,
    book: Arc<AddressBook>,
    /// What is told of each card, the card itself apart.
    propfind: Propfind,
    /// How the cards are given; None when they are not asked for.
    representation: Option<Representation>,
    /// Whether to leave out what was not found (RFC 8144 §2.1).
    minimal: bool,
}

impl Cards {
    fn new(request: Request, book: AddressBook, props: Props) -> Result<Self, Refusal> {
        let address_data = props.address_data.as_ref();
        Ok(Self {
            minimal: is_minimal(&request.headers),
            request,
            book: Arc::new(book),
            representation: address_data.map(Representation::asked).transpose()?,
            propfind: match props.kind {
                PropsKind::Prop => Propfind::Prop(props.names),
                PropsKind::PropName => Propfind::PropName,
                PropsKind::AllProp => Propfind::AllProp {
                    include: props.names,
                },
            },
        })
    }

    /// Whether rows have the card itself.
    fn gives_cards(&self) -> bool {
        self.representation.is_some()
    }

    /// The row of the card of this name; None when there is no such card.
    fn named(&self, name: &str) -> Result<Option<Row>, StoreError> {
        let Request { store, .. } = &self.request;
        if !self.gives_cards() {
            let row = store.card_row(self.book.id, name)?;
            return row.map(|row| self.row(row, None)).transpose();
        }
        // The tag and the bytes come from one snapshot, so that they always belong together.
        let card = store.card(self.book.id, name)?;
        card.map(|card| self.row(card.row, Some(card.bytes)))
            .transpose()
    }

    /// The row of a card that is known already, with its bytes when cards are given.
    fn row(&self, row: CardRow, bytes: Option<Vec<u8>>) -> Result<Row, StoreError> {
        let target = Target::Card(Arc::clone(&self.book), row);
        let (mut found, missing) = properties::answer(&target, &self.request, &self.propfind)?;
        if let (Some(representation), Some(bytes)) = (&self.representation, bytes) {
            let value = Value::AddressData(representation.give(bytes));
            found.push(Property::new(Name::carddav("address-data"), value));
        }
        Ok(Row::Properties {
            href: target.href(&self.request.login.user_name),
            found,
            missing: if self.minimal { Vec::new() } else { missing },
        })
    }

    fn book_href(&self) -> String {
        book_href(&self.request.login.user_name, &self.book.slug)
    }
}
