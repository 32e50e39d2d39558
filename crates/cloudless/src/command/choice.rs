//! Flags that several commands share: whose contacts, and which card.

use clap::Args;
use cloudless_home::admin::CardChoice;

/// One address book.
#[derive(Debug, Args)]
pub(super) struct BookChoice {
    /// In the address books of USER; may be left out when home has one user only
    #[arg(long, value_name = "USER")]
    pub(super) user: Option<String>,
    /// In this address book of the user
    #[arg(long, value_name = "BOOK", default_value = "contacts")]
    pub(super) book: String,
}

impl BookChoice {
    /// The flags as they have to be repeated in the next command, with a space before them.
    pub(super) fn flags(&self) -> String {
        let mut flags = user_flag(self.user.as_deref());
        if self.book != "contacts" {
            flags.push_str(&format!(" --book {}", quoted(&self.book)));
        }
        flags
    }
}

/// The flag as it has to be repeated in the next command, with a space before it.
pub(super) fn user_flag(user: Option<&str>) -> String {
    user.map_or_else(String::new, |user| format!(" --user {user}"))
}

/// A word as a shell takes it.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./@+:".contains(c);
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

pub(super) fn by_name(name: &str) -> CardChoice {
    CardChoice::Name(name.to_owned())
}

/// How many to show: none would look as if there were none.
pub(super) fn some(text: &str) -> Result<usize, &'static str> {
    let count = text.parse().ok();
    count
        .filter(|it| *it > 0)
        .ok_or("expected a number, 1 or more")
}
