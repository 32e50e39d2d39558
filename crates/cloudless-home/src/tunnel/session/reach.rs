//! Lets the relay know whether phones reach home, as home has tried.

use std::future::pending;

use cloudless_proto::Hostname;
use cloudless_proto::control::{FromHome, Reach};
use tokio::sync::watch;

use super::Session;
use crate::status::{Board, Reaches};

/// The most characters of a message, which has to fit a line with all else.
const MESSAGE_MAX: usize = 500;

/// What was told in this session.
pub(super) struct Told {
    reaches: watch::Receiver<Reaches>,
    told: Reaches,
    /// What was found out in the sessions before is not known of this one.
    is_first: bool,
}

impl Told {
    pub(super) fn new(board: &Board) -> Self {
        Self {
            reaches: board.reaches(),
            told: Reaches::new(),
            is_first: true,
        }
    }

    /// Returns when there is something to tell.
    pub(super) async fn has_news(&mut self) {
        // The board outlives its sessions.
        if self.reaches.changed().await.is_err() {
            pending().await
        }
    }

    /// What is to be told now.
    fn news(&mut self) -> Vec<(Hostname, (Reach, Option<String>))> {
        let now = if std::mem::take(&mut self.is_first) {
            // What came since the session is known stays news.
            let names = self.reaches.borrow().clone();
            let checking = |(name, _)| (name, (Reach::Checking, None));
            names.into_iter().map(checking).collect()
        } else {
            self.reaches.borrow_and_update().clone()
        };
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
