//! How many bytes the visitors of one session may leave unread in home.

use tokio_util::sync::CancellationToken;

use super::stream::Unread;

/// The bytes of all visitors that home has received and not read.
///
/// Each visitor may fill a whole window, and one that asks for more and more without reading the
/// answers leaves it so, without a password. When all together leave more than `max`, the visitors
/// with most unread are evicted: who reads is never among them for long.
pub(crate) struct Budget {
    max: usize,
    accounts: Vec<Account>,
}

struct Account {
    unread: Unread,
    evicted: CancellationToken,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            accounts: Vec::new(),
        }
    }

    /// Counts a visitor until its stream is dropped. The token says when it has to go.
    pub(crate) fn open(&mut self, unread: Unread) -> CancellationToken {
        let evicted = CancellationToken::new();
        self.accounts.push(Account {
            unread,
            evicted: evicted.clone(),
        });
        evicted
    }

    /// Whether anybody is counted.
    pub(crate) fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Forgets the visitors that are gone and evicts those that are too much.
    pub(crate) fn enforce(&mut self) {
        let mut unread: Vec<(usize, Account)> = std::mem::take(&mut self.accounts)
            .into_iter()
            .filter_map(|account| Some((account.unread.length()?, account)))
            .collect();
        unread.sort_by_key(|(length, _)| *length);
        let mut total: usize = unread.iter().map(|(length, _)| length).sum();
        while total > self.max
            && let Some((length, account)) = unread.pop()
        {
            tracing::debug!(length, "A visitor that leaves too much unread is reset");
            account.evicted.cancel();
            total -= length;
        }
        self.accounts
            .extend(unread.into_iter().map(|(_, account)| account));
    }
}
