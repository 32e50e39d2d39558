//! How a unit file that this program wrote is known from one that somebody has edited.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;

const MARK: &str = "# Written by `cloudless service install";
const SUM: &str = "# sha256 of what follows: ";

/// What a file turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// As this program wrote it.
    Sealed,
    /// Written or changed by somebody else.
    Edited,
}

/// A unit's text with its seal. `command` is what it is written by, without the program's name.
pub(crate) fn seal(command: &str, name: &str, text: &str) -> String {
    let edit = if command.ends_with("--user") {
        "systemctl --user edit"
    } else {
        "systemctl edit"
    };
    format!(
        "# Written by `cloudless {command}`, which writes it anew after an upgrade.\n\
         # What you want otherwise is kept when it is said with `{edit} {name}`.\n\
         {SUM}{}\n\n{text}",
        sum(text)
    )
}

/// Whether a file is as it was written.
pub(crate) fn look(file: &str) -> Found {
    let is_sealed = || {
        let (_, rest) = file.strip_prefix(MARK)?.split_once(SUM)?;
        let (given, text) = rest.split_once("\n\n")?;
        Some(given == sum(text))
    };
    match is_sealed() {
        Some(true) => Found::Sealed,
        _ => Found::Edited,
    }
}

fn sum(text: &str) -> String {
    HEXLOWER.encode(digest(&SHA256, text.as_bytes()).as_ref())
}
