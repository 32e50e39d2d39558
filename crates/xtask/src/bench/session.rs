//! A client that has synced, over one connection.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use http::StatusCode;

use super::cards;
use super::client::Connection;
use super::dav;
use super::requests::{Ask, Query};
use super::way::Way;

/// The card that changes; one that no query finds.
const CHANGING: usize = 1;
/// The card that is read.
const READ: usize = 2;

pub(crate) struct Session {
    connection: Connection,
    token: String,
    /// Keeps the changes of clients that share a card apart.
    number: usize,
    n_changes: usize,
}

impl Session {
    pub(crate) async fn start(way: &Way<'_>, number: usize) -> Result<Self> {
        let mut connection = way.target.connect().await?;
        let token = if way.is_floor {
            String::new()
        } else {
            dav::sync_token(&dav::propfind(&mut connection, "0", dav::TOKEN).await?)?
        };
        Ok(Self {
            connection,
            token,
            number,
            n_changes: 0,
        })
    }

    /// Tells how long the answer took; what is in it is checked after that. Before
    /// [`Ask::Incremental`] there has to be a change.
    pub(crate) async fn ask(&mut self, ask: Ask) -> Result<Duration> {
        match ask {
            Ask::Get => self.get().await,
            Ask::Poll(body) => {
                let started = Instant::now();
                dav::propfind(&mut self.connection, "0", body).await?;
                Ok(started.elapsed())
            }
            Ask::Incremental => self.incremental().await,
            Ask::Query(query) => self.query(query).await,
        }
    }

    /// Changes a card.
    pub(crate) async fn change(&mut self) -> Result<Duration> {
        self.n_changes += 1;
        let title = format!("TITLE:Countess {}.{}", self.number, self.n_changes);
        let card = cards::card(CHANGING).replace("TITLE:Countess", &title);
        let name = cards::name(CHANGING);
        let put = [StatusCode::NO_CONTENT, StatusCode::CREATED, StatusCode::OK];
        let started = Instant::now();
        self.connection.send("PUT", &name, &[], &card, &put).await?;
        Ok(started.elapsed())
    }

    async fn get(&mut self) -> Result<Duration> {
        let (name, found) = (cards::name(READ), [StatusCode::OK]);
        let started = Instant::now();
        self.connection.send("GET", &name, &[], "", &found).await?;
        Ok(started.elapsed())
    }

    async fn incremental(&mut self) -> Result<Duration> {
        let started = Instant::now();
        let body = dav::sync_collection(&self.token, "<resourcetype/>");
        let changes = dav::report(&mut self.connection, "0", &body).await?;
        let body = dav::multiget(&dav::hrefs(&changes));
        let cards = dav::report(&mut self.connection, "0", &body).await?;
        let time = started.elapsed();
        self.token = dav::sync_token(&changes)?;
        let n_cards = dav::count_cards(&cards);
        ensure!(n_cards == 1, "{n_cards} changed cards instead of one");
        Ok(time)
    }

    async fn query(&mut self, query: Query) -> Result<Duration> {
        let body = dav::addressbook_query(query.property, query.match_type, query.text);
        let started = Instant::now();
        let answer = dav::report(&mut self.connection, "1", &body).await?;
        let time = started.elapsed();
        let (n_cards, n_found) = (dav::count_cards(&answer), query.n_found);
        ensure!(
            n_cards == n_found,
            "{n_cards} cards found instead of {n_found}"
        );
        Ok(time)
    }
}
