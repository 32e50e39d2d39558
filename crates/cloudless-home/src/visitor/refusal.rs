//! Why visitors are not served, and how many.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Makes the enum, the list of all, and their names: one line for each.
macro_rules! refusals {
    ($($refusal:ident = $name:literal: $meaning:literal,)*) => {
        /// Why a visitor that the relay brought, or a request of one, was not served. Each is counted
        /// under its own name, in the status and in the metrics, and told in the log at DEBUG.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum VisitorRefusal {
            $(#[doc = $meaning] $refusal,)*
        }

        impl VisitorRefusal {
            /// All there are, by name.
            pub const ALL: &'static [Self] = &[$(Self::$refusal,)*];

            /// The class that it is counted under.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$refusal => $name,)*
                }
            }

            /// What it means, for people to read.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$refusal => $meaning,)*
                }
            }
        }
    };
}

refusals! {
    DeviceRevoked = "device_revoked": "cut: its client certificate is of no device any more, or the devices cannot be read",
    HandshakeFailed = "handshake_failed": "its TLS handshake failed, or it left before the end of that",
    HandshakeTimeout = "handshake_timeout": "reset: no whole TLS handshake in time",
    HttpRefused = "http_refused": "plain HTTP refused: it is no validation that is under way",
    NameNotServed = "name_not_served": "closed: there is no certificate for its server name, or the name is not served",
    PassthroughUnreachable = "passthrough_unreachable": "reset: the `passthrough` server of its name cannot be reached",
    PortNotServed = "port_not_served": "reset: it came for a port that home does not serve",
    ProxyProtocolMissing = "proxy_protocol_missing": "reset: an SSH server's visitor came without the PROXY header that is set",
    RequestRefused = "request_refused": "a request that home refused before CardDAV or a server got it: not for the host of its connection, or not to be passed on; or that was broken off, or not done in time",
    UnreadLimit = "unread_limit": "reset: it sends more and reads no answer, and too much of all visitors waits",
    UpstreamBusy = "upstream_busy": "a request answered 503: its `[[upstream]]` server has as many as it gets at one time, or half of these are of its address",
    UpstreamFailed = "upstream_failed": "a request answered 502: its `[[upstream]]` server broke off, or its answer is refused",
    UpstreamSlow = "upstream_slow": "a request answered 504: its `[[upstream]]` server did nothing for too long",
    UpstreamUnreachable = "upstream_unreachable": "a request answered 502: its `[[upstream]]` server cannot be reached",
    VisitorLimit = "visitor_limit": "reset: as many are connected as may be",
}

/// Counts of visitors, and requests of theirs, that were not served, since the start. A clone is
/// another handle on the same ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals(Arc<Mutex<BTreeMap<VisitorRefusal, u64>>>);

impl Refusals {
    pub(crate) fn count(&self, refusal: VisitorRefusal) {
        tracing::debug!(class = refusal.name(), "Visitor refused");
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(refusal).or_default() += 1;
    }

    /// By class; those that never came are not there.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let row = |(refusal, count): (&VisitorRefusal, &u64)| (refusal.name().to_owned(), *count);
        counts.iter().map(row).collect()
    }
}
