//! From a bare host to its address books (RFC 6764 section 6, RFC 6352 section 7.1).

use anyhow::{Context as _, bail};
use cloudless_dav_proto::answer::{Row, parse_multistatus};
use http::{Method, StatusCode};

use super::address::Address;
use super::client::{BODY_MAX, Client};

const WELL_KNOWN: &str = "/.well-known/carddav";
const WHO_AND_WHERE: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<propfind xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><prop><resourcetype/><displayname/>
<current-user-principal/><C:addressbook-home-set/></prop></propfind>"#;

/// An address book of that server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Book {
    pub(crate) address: Address,
    /// What people call it.
    pub(crate) name: String,
}

impl Book {
    /// The last part of its path.
    pub(crate) fn slug(&self) -> &str {
        let path = self.address.path.trim_end_matches('/');
        path.rsplit('/').next().unwrap_or_default()
    }

    /// Whether somebody means it: by its name, the last part of its path, or its URL.
    pub(crate) fn is_called(&self, text: &str) -> bool {
        let url = self.address.to_string();
        self.name == text
            || self.slug() == text
            || url.trim_end_matches('/') == text.trim_end_matches('/')
    }
}

/// A server that is asked.
pub(crate) struct Server {
    pub(crate) client: Client,
}

impl Server {
    /// Its address books, beginning at a URL: the server's, a principal's, or a book's.
    pub(crate) fn books(&mut self, start: &Address) -> anyhow::Result<Vec<Book>> {
        let (mut at, mut row) = self.begin(start)?;
        if row.is_address_book {
            return Ok(vec![book(at, row)]);
        }
        if row.address_book_homes.is_empty() {
            let Some(principal) = row.current_user_principal.take() else {
                bail!("{at} does not say who you are; is a --from-user needed?");
            };
            let principal = self.follow(&at, &principal)?;
            let Some(found) = self.look(&principal)? else {
                bail!("{principal} says nothing about you");
            };
            (at, row) = found;
        }
        if row.address_book_homes.is_empty() {
            bail!("{at} says of no address books");
        }
        let mut books = Vec::new();
        for home in &row.address_book_homes {
            let home = self.follow(&at, home)?;
            for (address, row) in self.list(&home, WHO_AND_WHERE)? {
                if row.is_address_book && !books.iter().any(|it: &Book| it.address == address) {
                    books.push(book(address, row));
                }
            }
        }
        books.sort_by(|one, other| (&one.name, &one.address).cmp(&(&other.name, &other.address)));
        Ok(books)
    }

    /// What says where to go on: the URL itself, or where its server says that contacts are.
    fn begin(&mut self, start: &Address) -> anyhow::Result<(Address, Row)> {
        let first = match self.look(start) {
            Ok(Some(found)) if is_of_use(&found.1) => return Ok(found),
            Ok(_) => None,
            Err(error) => Some(error),
        };
        let well_known = start.with_path(WELL_KNOWN);
        match (first, self.look(&well_known)) {
            (_, Ok(Some(found))) if is_of_use(&found.1) => Ok(found),
            (Some(error), _) | (None, Err(error)) => Err(error),
            (None, Ok(_)) => bail!(
                "{start} is no CardDAV server, nor does {well_known} lead to one; give the URL that \
                 other programs use"
            ),
        }
    }

    /// What a resource and its members say, each with its address.
    pub(super) fn list(
        &mut self,
        address: &Address,
        body: &str,
    ) -> anyhow::Result<Vec<(Address, Row)>> {
        let answer = self
            .client
            .ask(&propfind(), address, Some("1"), body, BODY_MAX)?;
        if answer.status != StatusCode::MULTI_STATUS {
            bail!("{address} answered with status {}", answer.status);
        }
        let rows = parse_multistatus(&answer.body);
        let rows = rows.with_context(|| format!("cannot list {address}"))?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            // What it cannot say properly is left out, and what is on another server.
            let Ok(at) = answer.address.join(&row.href) else {
                continue;
            };
            if at.has_origin_of(&answer.address) {
                found.push((at, row));
            }
        }
        Ok(found)
    }

    /// What one resource says of itself; `None` where nothing is.
    fn look(&mut self, address: &Address) -> anyhow::Result<Option<(Address, Row)>> {
        let asked = self
            .client
            .ask(&propfind(), address, Some("0"), WHO_AND_WHERE, BODY_MAX);
        let answer = asked?;
        match answer.status {
            StatusCode::MULTI_STATUS => {}
            StatusCode::UNAUTHORIZED => {
                let scheme = answer.headers.get(http::header::WWW_AUTHENTICATE);
                let scheme = scheme.and_then(|it| it.to_str().ok()).unwrap_or_default();
                let is_basic = scheme.is_empty() || scheme.to_ascii_lowercase().contains("basic");
                let advice = if is_basic {
                    "correct --from-user and the password; some servers want an app password"
                } else {
                    "it wants another kind of login than Basic, which is not supported"
                };
                bail!(
                    "{} refuses the login ({}): {advice}",
                    answer.address,
                    answer.status
                );
            }
            _ => return Ok(None),
        }
        let rows = parse_multistatus(&answer.body);
        let rows = rows.with_context(|| format!("cannot read what {address} says"))?;
        Ok(rows.into_iter().next().map(|row| (answer.address, row)))
    }

    fn follow(&self, from: &Address, href: &str) -> anyhow::Result<Address> {
        let to = from.join(href)?;
        self.client.require_allowed(from, &to)?;
        Ok(to)
    }
}

fn is_of_use(row: &Row) -> bool {
    let leads = row.current_user_principal.is_some() || !row.address_book_homes.is_empty();
    leads || row.is_address_book
}

fn book(address: Address, row: Row) -> Book {
    let mut book = Book {
        address,
        name: String::new(),
    };
    book.name = row.display_name.unwrap_or_else(|| book.slug().to_owned());
    book
}

pub(super) fn propfind() -> Method {
    // The name is one that HTTP allows.
    Method::from_bytes(b"PROPFIND").unwrap_or_default()
}
