//! `[carddav]` in `home.toml`: what clients are offered.

use cloudless_home::CardDavSettings;
use serde::Deserialize;

/// The table; all of it may be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CardDavTable {
    /// Whether clients are told that they may write vCard 4.0.
    pub(crate) offer_vcard_4: bool,
}

impl CardDavTable {
    pub(crate) fn settings(&self) -> CardDavSettings {
        CardDavSettings {
            offer_vcard_4: self.offer_vcard_4,
        }
    }
}
