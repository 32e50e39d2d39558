//! Lets the relay know whether phones reach home, as home has tried.

use std::collections::BTreeSet;
use std::future::pending;
use std::time::Duration;

use cloudless_proto::Hostname;
use cloudless_proto::control::{FromHome, Reach};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Session;
use crate::status::{Board, Reaches};

/// The most characters of a message, which has to fit a line with all else.
const MESSAGE_MAX: usize = 500;
const RETRY: Duration = Duration::from_millis(100);

/// What was told in this session.
pub(super) struct Told {
    reaches: watch::Receiver<Reaches>,
    /// The names that this relay knows: of others it is told nothing.
    names: BTreeSet<Hostname>,
    told: Reaches,
    /// When to look again whether the relay takes what it is told.
    retry: Option<Instant>,
}

impl Told {
    /// Of a new session: what was found out in those before is not known of it, and no news.
    pub(super) fn new(board: &Board, names: &[Hostname]) -> Self {
        Self {
            reaches: board.reaches(),
            names: names.iter().cloned().collect(),
            told: Reaches::new(),
            retry: None,
        }
    }

    /// The relay knows these names from now on.
    pub(super) fn named(&mut self, names: &[Hostname]) {
        self.names = names.iter().cloned().collect();
    }

    /// Returns when there is something to tell.
    pub(super) async fn has_news(&mut self) {
        if let Some(at) = self.retry {
            sleep_until(at).await;
            self.retry = None;
            return;
        }
        // The board outlives its sessions.
        if self.reaches.changed().await.is_err() {
            pending().await
        }
    }

    /// What is to be told now.
    fn news(&mut self) -> Vec<(Hostname, (Reach, Option<String>))> {
        let reaches = self.reaches.borrow_and_update().clone();
        let of_relay = |(name, _): &(Hostname, _)| self.names.contains(name);
        let now: Reaches = reaches.into_iter().filter(of_relay).collect();
        let is_news =
            |row: &(&Hostname, &(Reach, Option<String>))| self.told.get(row.0) != Some(row.1);
        let news = now.iter().filter(is_news);
        let news = news.map(|(name, reach)| (name.clone(), reach.clone()));
        let news = news.collect();
        self.told = now;
        news
    }
}

impl Session {
    /// Tells the relay what has changed.
    pub(super) fn tell_reach(&mut self) {
        // Nothing waits for a relay that takes nothing: it is told what is so then.
        if self.connection.control.has_unsent() {
            self.told.retry = Some(Instant::now() + RETRY);
            return;
        }
        for (hostname, (reach, message)) in self.told.news() {
            let message = message.map(|it| it.chars().take(MESSAGE_MAX).collect());
            let said = self.connection.control.say(&FromHome::Reach {
                hostname,
                reach,
                message,
            });
            if let Err(error) = said {
                // The session ends by it where it is read.
                tracing::debug!(%error, "The relay does not hear whether phones get here");
            }
        }
    }
}
