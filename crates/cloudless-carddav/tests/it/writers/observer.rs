//! A client that only syncs, while others write.

use std::collections::BTreeMap;

use cloudless_store::ETag;
use tokio::sync::watch;

use super::quoted;
use crate::multistatus::Multistatus;
use crate::sessions::{Account, Lost, Transport};

/// Syncs step by step and remembers each state that it was told of.
pub(crate) struct Observer<T> {
    pub(crate) account: Account,
    pub(crate) transport: T,
    /// Whether the server can be reached.
    pub(crate) is_up: watch::Receiver<bool>,
    /// Each token with the cards at that state, the latest last.
    states: Vec<(String, Cards)>,
}

/// ETags by name.
type Cards = BTreeMap<String, String>;

impl<T: Transport> Observer<T> {
    pub(crate) fn new(account: Account, transport: T, is_up: watch::Receiver<bool>) -> Self {
        Self {
            account,
            transport,
            is_up,
            states: Vec::new(),
        }
    }

    /// Syncs again and again until the writers are done.
    pub(crate) async fn watch(mut self, mut is_done: watch::Receiver<bool>) -> Self {
        while !*is_done.borrow_and_update() {
            let (token, cards) = self.states.last().cloned().unwrap_or_default();
            match self.sync(&token, cards).await {
                Ok(state) if self.states.last() == Some(&state) => {}
                Ok(state) => self.states.push(state),
                Err(Lost) => drop(self.is_up.wait_for(|is_up| *is_up).await),
            }
        }
        self
    }

    /// Checks that a sync from each of the states, and one from nothing, ends with these cards, and
    /// that each is there.
    pub(crate) async fn check(&mut self, expected: &Cards) -> Result<(), String> {
        for (name, etag) in expected {
            let path = format!("{}{name}", self.account.book());
            let request = self.account.request("GET", &path, &[], "");
            // The kept connection may have ended with its server.
            let answer = match self.transport.exchange(request.clone()).await {
                Ok(answer) => answer,
                Err(Lost) => self.transport.exchange(request).await.expect("an answer"),
            };
            let of_body = quoted(&ETag::of(&answer.body));
            if answer.status != 200 || answer.header("etag") != etag || of_body != *etag {
                return Err(format!("{name} is not as its history says: {answer:?}"));
            }
        }
        let mut states = self.states.clone();
        states.push(Default::default());
        for (token, cards) in states {
            let synced = match self.sync(&token, cards.clone()).await {
                Ok(synced) => synced,
                Err(Lost) => self.sync(&token, cards).await.expect("an answer"),
            };
            if synced.1 != *expected {
                return Err(format!(
                    "a sync from {token:?} ends with {:?} and not {expected:?}",
                    synced.1
                ));
            }
        }
        Ok(())
    }

    async fn sync(&mut self, token: &str, mut cards: Cards) -> Result<(String, Cards), Lost> {
        let book = self.account.book();
        let body = format!(
            "<sync-collection xmlns=\"DAV:\"><sync-token>{token}</sync-token>\
             <sync-level>1</sync-level><prop><getetag/></prop></sync-collection>"
        );
        let headers = [("depth", "1"), ("content-type", "text/xml")];
        let request = self.account.request("REPORT", &book, &headers, &body);
        let answer = self.transport.exchange(request).await?;
        if answer.status >= 500 {
            return Err(Lost);
        }
        let changes: Multistatus = answer.multistatus();
        for row in &changes.rows {
            let name = row.href.strip_prefix(&book).expect("a card of the book");
            match &row.status {
                Some(status) => {
                    assert_eq!(status, "HTTP/1.1 404 Not Found");
                    cards.remove(name);
                }
                None => drop(cards.insert(name.to_owned(), row.text("D:getetag").to_owned())),
            }
        }
        Ok((changes.sync_token.expect("a token"), cards))
    }
}
