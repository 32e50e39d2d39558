//! What a running home knows about itself: tunnels and certificates.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cloudless_proto::{Hostname, UpstreamAddress};
use serde::{Deserialize, Serialize};

use crate::config::{Clock, Relay, unix_ms};

/// How a home and one of its relays stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelayState {
    /// A session is welcomed: visitors come through.
    Connected,
    /// No session; dials are being made.
    Dialing,
    /// The relay answered and refused; the error says what to do.
    Refused,
}

/// One relay's row of the status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayStatus {
    /// The relay's own name.
    pub server_name: Hostname,
    /// Connected or not.
    pub state: RelayState,
    /// Since when, in Unix milliseconds.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
    pub since: i64,
    /// What last went wrong, and what to do about it. `None` once connected.
    pub error: Option<String>,
    /// The names that the relay says it routes to this home.
    pub hostnames: Vec<Hostname>,
    /// Visitors in this relay's sessions at this moment.
    pub visitors_now: usize,
    /// Visitors since the start.
    pub visitors_total: u64,
}

/// One certificate's row of the status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// The name it is for.
    pub hostname: Hostname,
    /// End of validity in Unix milliseconds; `None` while there is no valid one.
    #[serde(default, with = "cloudless_proto::rfc3339::milliseconds::option")]
    pub expires_at: Option<i64>,
    /// Why there is none, or why it could not be renewed.
    pub error: Option<String>,
}

/// The row of a hostname whose TLS another server ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassthroughStatus {
    /// The name.
    pub hostname: Hostname,
    /// Where its connections go.
    pub address: UpstreamAddress,
    /// Why the last one did not get there; `None` when it did, and before the first.
    pub error: Option<String>,
}

/// The rows as they are now, written by the tunnels and the certificate timer.
#[derive(Clone)]
pub(crate) struct Board {
    relays: Arc<Mutex<BTreeMap<usize, RelayStatus>>>,
    clock: Clock,
}

impl Board {
    pub(crate) fn new(relays: &[Relay], clock: Clock) -> Self {
        let since = unix_ms(clock());
        let rows = relays.iter().map(|relay| RelayStatus {
            server_name: relay.server_name.clone(),
            state: RelayState::Dialing,
            since,
            error: None,
            hostnames: Vec::new(),
            visitors_now: 0,
            visitors_total: 0,
        });
        Self {
            relays: Arc::new(Mutex::new(rows.enumerate().collect())),
            clock,
        }
    }

    /// The relay at `index` is in `state`, whose `since` is kept if it was before. Returns whether
    /// this is worth telling: another state, or the first error in it.
    pub(crate) fn set(&self, index: usize, state: RelayState, error: Option<String>) -> bool {
        let now = unix_ms((self.clock)());
        let mut is_news = false;
        self.change(index, |row| {
            is_news = row.state != state || (row.error.is_none() && error.is_some());
            if row.state != state {
                row.since = now;
                row.state = state;
            }
            row.error = error;
        });
        is_news
    }

    pub(crate) fn hostnames(&self, index: usize, hostnames: Vec<Hostname>) {
        self.change(index, |row| row.hostnames = hostnames);
    }

    /// Counts a visitor until the returned value is dropped.
    pub(crate) fn visitor(&self, index: usize) -> VisitorCount {
        self.change(index, |row| {
            row.visitors_now += 1;
            row.visitors_total += 1;
        });
        VisitorCount {
            board: self.clone(),
            index,
        }
    }

    pub(crate) fn relays(&self) -> Vec<RelayStatus> {
        self.lock().values().cloned().collect()
    }

    fn change(&self, index: usize, change: impl FnOnce(&mut RelayStatus)) {
        if let Some(row) = self.lock().get_mut(&index) {
            change(row);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, RelayStatus>> {
        self.relays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct VisitorCount {
    board: Board,
    index: usize,
}

impl Drop for VisitorCount {
    fn drop(&mut self) {
        self.board.change(self.index, |row| row.visitors_now -= 1);
    }
}

/// The error and what caused it, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
