//! What was copied from an address book of another server, so that a second run need not do it again.
//!
//! A file of lines, one for each card that home has stored. It is written behind home's word, so
//! that after a crash a card may be fetched twice, and none is left out.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

const FOLDER: &str = "imports";

/// One card that was copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Copied {
    /// Where it is on the other server.
    pub(super) from: String,
    /// Its ETag there.
    pub(super) etag: Option<String>,
    /// The name that home gave it.
    pub(super) name: String,
    /// Of its bytes, in hexadecimal.
    pub(super) sha256: String,
}

/// The cards that were copied from one address book into another.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    cards: BTreeMap<String, Copied>,
}

impl Journal {
    /// The journal of a book over there and one here.
    pub(super) fn open(state: &Path, from: &str, to: &str) -> anyhow::Result<Self> {
        let folder = state.join(FOLDER);
        let path = folder.join(format!(
            "{}.jsonl",
            &sha256(format!("{from}\n{to}").as_bytes())[..32]
        ));
        let open = || {
            fs::create_dir_all(&folder)?;
            let text = match fs::read_to_string(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
                read => read?,
            };
            // A line that was not written to its end is none.
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            let lines = text[..whole].lines();
            let cards = lines.filter_map(|line| serde_json::from_str::<Copied>(line).ok());
            let cards = cards.map(|card| (card.from.clone(), card)).collect();
            let file = File::options().create(true).append(true).open(&path)?;
            file.set_len(whole as u64)?;
            Ok::<_, io::Error>((file, cards))
        };
        let opened = open();
        let (file, cards) = opened.with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { path, file, cards })
    }

    /// What was copied from there.
    pub(super) fn get(&self, from: &str) -> Option<&Copied> {
        self.cards.get(from)
    }

    /// Keeps what was copied.
    pub(super) fn add(&mut self, cards: Vec<Copied>) -> anyhow::Result<()> {
        let mut lines = String::new();
        for card in &cards {
            lines.push_str(&serde_json::to_string(card)?);
            lines.push('\n');
        }
        let written = self.file.write_all(lines.as_bytes());
        written.with_context(|| format!("cannot write {}", self.path.display()))?;
        self.cards
            .extend(cards.into_iter().map(|card| (card.from.clone(), card)));
        Ok(())
    }
}

/// In hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_copied_is_known_after_a_crash_in_the_middle_of_a_line() {
        let folder = tempfile::TempDir::new().unwrap();
        let card = |from: &str, etag: &str| Copied {
            from: from.to_owned(),
            etag: Some(etag.to_owned()),
            name: "a.vcf".to_owned(),
            sha256: sha256(b"a"),
        };
        let open = || Journal::open(folder.path(), "https://a/", "me/contacts").unwrap();
        let mut journal = open();
        journal.add(vec![card("/a", "1"), card("/b", "1")]).unwrap();
        journal.add(vec![card("/a", "2")]).unwrap();
        let mut torn = serde_json::to_vec(&card("/c", "1")).unwrap();
        torn.truncate(20);
        journal.file.write_all(&torn).unwrap();
        drop(journal);
        let mut journal = open();
        assert_eq!(journal.get("/a").unwrap().etag.as_deref(), Some("2"));
        assert!(journal.get("/b").is_some() && journal.get("/c").is_none());
        journal.add(vec![card("/d", "1")]).unwrap();
        drop(journal);
        assert!(open().get("/d").is_some());
        let other = Journal::open(folder.path(), "https://a/", "me/club").unwrap();
        assert!(other.get("/a").is_none());
    }
}
