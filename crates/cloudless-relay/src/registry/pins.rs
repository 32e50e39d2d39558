//! Which homes know the relay's next key, so that a restart of the relay forgets none of them.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use cloudless_proto::PublicKey;

use super::Rotation;
use crate::identity::public_key;

/// One key a line: the relay's next key, then those of the homes that know it.
const FILE: &str = "rotation.homes";

/// The homes that know the relay's next key.
///
/// It only informs whoever finishes the rotation, and homes say it anew with each session: so lines
/// are appended and not synced, and a file that cannot be read or written costs nothing more.
#[derive(Debug, Default)]
pub(super) struct Pins {
    next: Option<PublicKey>,
    homes: HashSet<PublicKey>,
    file: Option<File>,
}

impl Pins {
    /// What is known about this rotation; without one the file goes.
    pub(super) fn open(directory: &Path, rotation: Option<&Rotation>) -> Self {
        let path = directory.join(FILE);
        let next = rotation.and_then(|rotation| public_key(&rotation.next).ok());
        let Some(next) = next else {
            // It would be of no use, and is no harm.
            let _ = fs::remove_file(&path);
            return Self::default();
        };
        let text = fs::read_to_string(&path).unwrap_or_default();
        let mut lines = text.lines().map(|line| line.parse().ok());
        let is_of_this = lines.next() == Some(Some(next));
        let homes = if is_of_this {
            // A line that a crash has cut off is none.
            lines.flatten().collect()
        } else {
            HashSet::new()
        };
        let open = || -> io::Result<File> {
            let mut file = File::options()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(&path)?;
            if !is_of_this {
                file.set_len(0)?;
                writeln!(file, "{next}")?;
            } else if !text.ends_with('\n') {
                writeln!(file)?;
            }
            Ok(file)
        };
        let file = open()
            .inspect_err(|error| tracing::debug!(%error, "Who knows the next key is not kept"))
            .ok();
        Self {
            next: Some(next),
            homes,
            file,
        }
    }

    pub(super) fn contains(&self, home: &PublicKey) -> bool {
        self.homes.contains(home)
    }

    /// The home knows this key of the relay.
    pub(super) fn insert(&mut self, home: PublicKey, relay_key: PublicKey) {
        if self.next != Some(relay_key) || !self.homes.insert(home) {
            return;
        }
        if let Some(file) = &mut self.file
            && let Err(error) = writeln!(file, "{home}")
        {
            tracing::debug!(%error, "That a home knows the next key is not kept");
        }
    }
}
