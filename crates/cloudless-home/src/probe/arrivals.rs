//! Which of home's own probes have come in through a tunnel.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::visitor::Stream;

/// The random of a ClientHello (RFC 8446 section 4.1.2), which no two share.
pub(crate) type ClientRandom = [u8; 32];

/// Behind the heads of the record and of the message, and the version.
const RANDOM_AT: usize = 5 + 4 + 2;

/// The random of the ClientHello that a connection begins with, if so much of it is there.
pub(super) fn client_random(opening: &[u8]) -> Option<ClientRandom> {
    let random = opening.get(RANDOM_AT..RANDOM_AT + 32)?;
    random.try_into().ok()
}

/// The probes under way. A relay passes a ClientHello on as it came, so that home knows its own
/// again, whoever ends the TLS of that name.
#[derive(Debug, Default)]
pub(crate) struct Arrivals(Mutex<HashMap<ClientRandom, bool>>);

impl Arrivals {
    /// Looks out for a ClientHello until the returned value is dropped.
    pub(super) fn expect(self: &Arc<Self>, random: ClientRandom) -> Expected {
        self.lock().insert(random, false);
        Expected {
            arrivals: self.clone(),
            random,
        }
    }

    /// Looks at a visitor's first bytes, while a probe is under way. They stay to be read.
    pub(crate) async fn look_at(&self, stream: &Stream) {
        if self.lock().is_empty() {
            return;
        }
        let opening = stream.opening().await;
        if let Some(random) = client_random(&opening)
            && let Some(has_arrived) = self.lock().get_mut(&random)
        {
            *has_arrived = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClientRandom, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A ClientHello that was sent.
#[derive(Debug)]
pub(super) struct Expected {
    arrivals: Arc<Arrivals>,
    random: ClientRandom,
}

impl Expected {
    pub(super) fn has_arrived(&self) -> bool {
        self.arrivals.lock().get(&self.random) == Some(&true)
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.arrivals.lock().remove(&self.random);
    }
}
