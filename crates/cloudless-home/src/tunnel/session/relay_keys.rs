//! What home makes of the keys that the relay announces in a session.

use cloudless_proto::PublicKey;
use cloudless_proto::control::FromHome;

use super::Session;
use crate::status::chain;

/// A relay changes its keys a few times in its life; after so many times it is not listened to.
const ANNOUNCEMENTS_MAX: usize = 16;

/// What was announced in a session so far.
#[derive(Debug, Default)]
pub(super) struct Announced {
    times: usize,
    /// What home has last told the relay to trust it by.
    pinned: Option<PublicKey>,
}

impl Session {
    /// The relay announced its keys, the newest first: pins them if it may say so, and tells it when
    /// they are on the disk and one of them is to go.
    pub(super) async fn relay_keys(&mut self, keys: Vec<PublicKey>) {
        self.announced.times += 1;
        let Some(newest) = keys.first().copied() else {
            return;
        };
        if self.announced.times > ANNOUNCEMENTS_MAX {
            return;
        }
        let is_rotated = keys.len() > 1;
        let (own, proven) = (self.own.clone(), self.connection.relay_key);
        let taken = tokio::task::spawn_blocking(move || own.pinning.announced(&proven, &keys));
        let (relay, board) = (self.context.index, &self.context.board);
        match taken.await {
            Ok(Ok(is_news)) => {
                if is_news && is_rotated {
                    tracing::info!(
                        relay,
                        "The relay rotates its key; its next one is trusted too"
                    );
                } else if is_news {
                    tracing::info!(relay, "The relay's older key is trusted no more");
                }
                board.keys(relay, &self.own.pinning.keys());
                if is_news {
                    board.calm(relay);
                }
            }
            Ok(Err(error)) => {
                let error = chain(&error);
                if board.warn(relay, &error) {
                    tracing::warn!(relay, "The relay's next key cannot be kept");
                }
                tracing::debug!(relay, error);
            }
            Err(error) => tracing::error!(relay, %error, "The relay's next key cannot be kept"),
        }
        let is_pinned = self.own.pinning.keys().keys().first() == Some(&newest);
        if is_rotated && is_pinned && self.announced.pinned != Some(newest) {
            self.announced.pinned = Some(newest);
            let pinned = FromHome::Pinned { key: newest };
            if let Err(error) = self.connection.control.say(&pinned) {
                tracing::debug!(%error, "The relay was gone before it was told");
            }
        }
    }
}
