//! What a relay that listens for SSH decides by itself: which keys it knows, and what their owners may
//! have forwarded. The protocol is its SSH library's.

mod authorized_key;
mod fingerprint;
mod forward;

pub use authorized_key::{AuthorizedKey, InvalidAuthorizedKey};
pub use fingerprint::{Fingerprint, InvalidFingerprint};
pub use forward::{Forward, NotForwarded, Port};
