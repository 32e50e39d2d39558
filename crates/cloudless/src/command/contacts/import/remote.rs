//! `--from`: an address book of another server.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use cloudless_home::admin::{CardOutcome, Command, ImportCard, ImportOutcome, Reply};
use data_encoding::BASE64;
use serde::Serialize;

use super::journal::{Copied, Journal, sha256};
use super::{BATCH_BYTES, BATCH_CARDS};
use crate::command::choice::{BookChoice, quoted};
use crate::command::home;
use crate::progress::Progress;
use crate::remote::{self, Address, Book, Card, Client, Listed, Login, Server};
use crate::terminal;

/// Cards in one request to the other server.
const MULTIGET_CARDS: usize = 50;
/// Cards in one page from home.
const PAGE_CARDS: usize = 500;
const SAME_UID: &str = "another card there has the same UID, and this one took its place here; the \
    history keeps the other one";

/// Where cards are copied from.
#[derive(Debug, Args)]
pub(super) struct Remote {
    /// Copy an address book of the CardDAV server at URL
    #[arg(long, value_name = "URL", conflicts_with = "files")]
    pub(super) from: Option<Address>,
    /// Log in there as USER
    #[arg(long, value_name = "USER", requires = "from")]
    from_user: Option<String>,
    /// Read the password from the first line of FILE
    #[arg(long, value_name = "FILE", requires = "from_user")]
    from_password_file: Option<PathBuf>,
    /// Copy this address book, by its name or the last part of its URL; needed where there are several
    #[arg(long, value_name = "BOOK", requires = "from")]
    from_book: Option<String>,
    /// Trust the authorities whose certificates are in FILE, and no others
    #[arg(long, value_name = "FILE", requires = "from")]
    from_ca: Option<PathBuf>,
    /// Give the password also to HOST, where the server leads to
    #[arg(long, value_name = "HOST", requires = "from")]
    from_host: Vec<String>,
    /// List the address books there, and copy nothing
    #[arg(long, requires = "from", conflicts_with = "dry_run")]
    list: bool,
    /// Say what would be copied, and copy nothing
    #[arg(long, requires = "from")]
    dry_run: bool,
}

/// What became of all cards.
#[derive(Debug, Default, Serialize)]
struct Summary {
    from: String,
    /// How many cards there are over there.
    found: usize,
    /// Those that were copied before and have not changed there since.
    known: usize,
    /// Those that were fetched, or would be.
    fetched: usize,
    created: usize,
    updated: usize,
    unchanged: usize,
    /// Those that home has as they were fetched in this run.
    verified: usize,
    refused: Vec<Refused>,
}

#[derive(Debug, Serialize)]
struct Refused {
    card: String,
    reason: String,
}

/// A card on its way.
struct Fetched {
    from: String,
    card: Card,
}

impl Remote {
    pub(super) fn import(
        &self,
        from: &Address,
        state: &Path,
        to: &BookChoice,
        json: bool,
    ) -> anyhow::Result<()> {
        let login = self.login(from)?;
        let ca_file = self.from_ca.as_deref();
        let client = Client::new(from, &self.from_host, login.as_ref(), ca_file)?;
        let mut server = Server { client };
        let books = server.books(from)?;
        if self.list {
            return list(&books, json);
        }
        let book = self.choose(&books)?;
        let mut summary = Summary {
            from: book.address.to_string(),
            ..Summary::default()
        };
        let entries = server.entries(book)?;
        summary.found = entries.len();
        let target = format!("{}/{}", to.user.as_deref().unwrap_or_default(), to.book);
        let mut journal = Journal::open(state, &summary.from, &target)?;
        let here = stored(state, to)?;
        let wanted: Vec<_> = entries
            .into_iter()
            .filter(|entry| is_wanted(entry, &journal, &here))
            .collect();
        summary.known = summary.found - wanted.len();
        if self.dry_run {
            summary.fetched = wanted.len();
            return self.tell(&summary, json);
        }
        let mut progress = Progress::start("copying", Some(wanted.len()));
        let mut copied = HashMap::new();
        for part in wanted.chunks(MULTIGET_CARDS) {
            let fetched = fetch(&mut server, book, part, &mut summary)?;
            let mut rest = fetched.as_slice();
            while !rest.is_empty() {
                let (batch, after) = rest.split_at(batch_len(rest));
                rest = after;
                let stored = put(state, to, batch, &mut summary)?;
                for card in &stored {
                    let before = copied.insert(card.name.clone(), card.sha256.clone());
                    if before.is_some_and(|before| before != card.sha256) {
                        summary.refused.push(Refused {
                            card: card.from.clone(),
                            reason: SAME_UID.to_owned(),
                        });
                    }
                }
                journal.add(stored)?;
            }
            progress.advance(part.len());
        }
        progress.finish();
        self.verify(state, to, &copied, &mut summary)?;
        self.tell(&summary, json)
    }

    fn login(&self, from: &Address) -> anyhow::Result<Option<Login>> {
        let Some(user) = &self.from_user else {
            return Ok(None);
        };
        let file = self.from_password_file.as_deref();
        Ok(Some(Login {
            user: user.clone(),
            password: remote::password(user, &from.authority(), file)?,
        }))
    }

    fn choose<'a>(&self, books: &'a [Book]) -> anyhow::Result<&'a Book> {
        let named = |book: &&Book| {
            let name = self.from_book.as_deref();
            name.is_none_or(|name| book.is_called(name))
        };
        let mut found = books.iter().filter(named);
        match (found.next(), found.next()) {
            (Some(book), None) => Ok(book),
            (None, _) if books.is_empty() => bail!("there is no address book on that server"),
            (found, _) => {
                let many = if found.is_some() {
                    "several"
                } else {
                    "no such"
                };
                let names = books.iter().map(|book| {
                    let flag = format!("--from-book {}", quoted(&terminal::clean(&book.name)));
                    format!(
                        "\n  {flag:<40} {}",
                        terminal::clean(&book.address.to_string())
                    )
                });
                let names: String = names.collect();
                bail!("there are {many} address books; choose one of these:{names}")
            }
        }
    }

    /// Reads from home what it has stored in this run, and compares.
    fn verify(
        &self,
        state: &Path,
        to: &BookChoice,
        copied: &HashMap<String, String>,
        summary: &mut Summary,
    ) -> anyhow::Result<()> {
        if copied.is_empty() {
            return Ok(());
        }
        let here = stored(state, to)?;
        for (name, hash) in copied {
            if here.get(name) == Some(hash) {
                summary.verified += 1;
            } else {
                summary.refused.push(Refused {
                    card: name.clone(),
                    reason: "home has it otherwise than it was fetched; did somebody change it in \
                             this moment?"
                        .to_owned(),
                });
            }
        }
        Ok(())
    }

    fn tell(&self, summary: &Summary, json: bool) -> anyhow::Result<()> {
        let Summary {
            found,
            known,
            fetched,
            created,
            updated,
            unchanged,
            verified,
            refused,
            ..
        } = summary;
        if json {
            terminal::json(summary)?;
        } else if self.dry_run {
            terminal::data(format_args!(
                "{found} cards there, {known} copied before, {fetched} would be fetched"
            ))?;
        } else {
            terminal::data(format_args!(
                "{found} cards there, {known} copied before, {fetched} fetched: {created} created, \
                 {updated} updated, {unchanged} unchanged, {verified} verified, {} left out",
                refused.len()
            ))?;
        }
        for Refused { card, reason } in refused {
            let (card, reason) = (terminal::clean(card), terminal::clean(reason));
            terminal::warning(format_args!("{card}: {reason}"));
        }
        match refused.len() {
            0 => Ok(()),
            1 => bail!("1 card was not copied as it is; correct it there and run this again"),
            count => {
                bail!("{count} cards were not copied as they are; correct them and run this again")
            }
        }
    }
}

fn list(books: &[Book], json: bool) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Row<'a> {
        name: &'a str,
        url: String,
    }
    let rows = books.iter().map(|book| Row {
        name: &book.name,
        url: book.address.to_string(),
    });
    if json {
        return terminal::json(&rows.collect::<Vec<_>>());
    }
    for row in rows {
        let (name, url) = (terminal::clean(row.name), terminal::clean(&row.url));
        terminal::data(format_args!("{name:<30} {url}"))?;
    }
    Ok(())
}

/// Whether a card was not copied, or changed there since, or is missing here.
fn is_wanted(entry: &Listed, journal: &Journal, here: &HashMap<String, String>) -> bool {
    let Some(copied) = journal.get(&entry.address.path) else {
        return true;
    };
    entry.etag.is_none() || copied.etag != entry.etag || !here.contains_key(&copied.name)
}

fn fetch(
    server: &mut Server,
    book: &Book,
    entries: &[Listed],
    summary: &mut Summary,
) -> anyhow::Result<Vec<Fetched>> {
    let cards = server.cards(book, entries)?;
    let mut fetched = Vec::with_capacity(cards.len());
    for (entry, card) in entries.iter().zip(cards) {
        let from = entry.address.path.clone();
        match card {
            Ok(mut card) => {
                summary.fetched += 1;
                // One that came between the list and the card is fetched again the next time.
                card.etag = card.etag.or_else(|| entry.etag.clone());
                fetched.push(Fetched { from, card });
            }
            Err(error) => summary.refused.push(Refused {
                card: from,
                reason: error.to_string(),
            }),
        }
    }
    Ok(fetched)
}

/// Has home store cards, and says which it has.
fn put(
    state: &Path,
    to: &BookChoice,
    batch: &[Fetched],
    summary: &mut Summary,
) -> anyhow::Result<Vec<Copied>> {
    let import = |fetched: &Fetched| ImportCard {
        name: None,
        bytes_base64: BASE64.encode(&fetched.card.bytes),
    };
    let command = Command::CardsPut {
        user: to.user.clone(),
        book: to.book.clone(),
        cards: batch.iter().map(import).collect(),
    };
    let Reply::CardsPut { outcomes } = home::execute_part(state, &command)? else {
        bail!("home answered something else than the outcome of an import");
    };
    ensure!(
        outcomes.len() == batch.len(),
        "home did not say what became of each card"
    );
    let mut copied = Vec::with_capacity(batch.len());
    for (fetched, CardOutcome { name, outcome }) in batch.iter().zip(outcomes) {
        match outcome {
            ImportOutcome::Created => summary.created += 1,
            ImportOutcome::Updated => summary.updated += 1,
            ImportOutcome::Unchanged => summary.unchanged += 1,
            ImportOutcome::Refused { reason } => {
                let card = fetched.from.clone();
                summary.refused.push(Refused { card, reason });
                continue;
            }
        }
        copied.push(Copied {
            from: fetched.from.clone(),
            etag: fetched.card.etag.clone(),
            name: name.context("home did not say how it calls a card")?,
            sha256: sha256(&fetched.card.bytes),
        });
    }
    Ok(copied)
}

/// The hashes of all cards that home has in the book, by their names.
fn stored(state: &Path, book: &BookChoice) -> anyhow::Result<HashMap<String, String>> {
    let mut hashes = HashMap::new();
    let mut after = None;
    loop {
        let command = Command::CardsGet {
            user: book.user.clone(),
            book: book.book.clone(),
            after: after.take(),
            limit: PAGE_CARDS,
        };
        let Reply::Cards { cards, more } = home::execute_part(state, &command)? else {
            bail!("home answered something else than cards");
        };
        for card in &cards {
            let bytes = BASE64.decode(card.bytes_base64.as_bytes());
            let bytes =
                bytes.with_context(|| format!("home sent the card {} garbled", card.name))?;
            hashes.insert(card.name.clone(), sha256(&bytes));
        }
        after = cards.last().map(|card| card.name.clone());
        if !more || after.is_none() {
            return Ok(hashes);
        }
    }
}

/// How many of the next cards go into one request to home: at least one.
fn batch_len(cards: &[Fetched]) -> usize {
    let mut bytes = 0;
    let fits = |fetched: &&Fetched| {
        bytes += fetched.card.bytes.len();
        bytes <= BATCH_BYTES
    };
    let cards = cards.iter().take(BATCH_CARDS);
    cards.take_while(fits).count().max(1)
}
