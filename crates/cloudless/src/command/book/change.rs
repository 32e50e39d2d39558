//! The commands that change which address books there are and who uses them.

use anyhow::bail;
use clap::Args;
use cloudless_home::admin::{self, Access, BookChange, Command, Reply};

use super::list::word;
use crate::command::choice::{quoted, user_flag};
use crate::command::home;
use crate::state::HomeState;
use crate::terminal;

/// Whose address book, and which.
#[derive(Debug, Args)]
struct Place {
    #[command(flatten)]
    state: HomeState,
    /// Change the address book of this name in URLs
    #[arg(value_name = "BOOK")]
    book: String,
    /// Change the address books of USER; may be left out when home has one user only
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Print one line of JSON with the address book instead of text
    #[arg(long)]
    json: bool,
}

impl Place {
    /// Makes the change and says in a few words what is so then.
    fn change(
        &self,
        change: BookChange,
        done: impl FnOnce(&str, Option<&admin::Book>) -> String,
    ) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let command = Command::Book {
            user: self.user.clone(),
            book: self.book.clone(),
            change,
        };
        let Reply::BookChanged { book } = home::execute(&state, &command)? else {
            bail!("home answered something else than an address book");
        };
        if self.json {
            return terminal::json(&book);
        }
        let done = done(&terminal::clean(&self.book), book.as_ref());
        Ok(terminal::data(done)?)
    }

    /// What follows a command that is about the same address book.
    fn flags(&self) -> String {
        format!("{}{}", user_flag(self.user.as_deref()), self.state.flag())
    }
}

/// Add an address book to a user
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless book add club
  cloudless book add club --name \"Sailing club\" --user me

macOS shows only a user's first address book, which every user has.")]
pub(super) struct Add {
    #[command(flatten)]
    place: Place,
    /// Let phones and programs show NAME instead of BOOK
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

impl Add {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let display_name = self.name.unwrap_or_else(|| self.place.book.clone());
        let change = BookChange::Add { display_name };
        self.place.change(change, |book, _| format!("added {book}"))
    }
}

/// Let phones and programs show another name for an address book
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless book rename club \"Sailing club\"

Its URL stays, so that no device has to be set up again.")]
pub(super) struct Rename {
    #[command(flatten)]
    place: Place,
    /// Show this NAME
    #[arg(value_name = "NAME")]
    name: String,
}

impl Rename {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let name = terminal::clean(&self.name);
        let change = BookChange::Rename {
            display_name: self.name,
        };
        self.place
            .change(change, |book, _| format!("{book} is shown as {name}"))
    }
}

/// Remove an address book with its cards; it can be brought back
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless book remove club
  cloudless book restore club

Its shares end. The first address book of a user cannot be removed.")]
pub(super) struct Remove {
    #[command(flatten)]
    place: Place,
}

impl Remove {
    pub(super) fn run(self) -> anyhow::Result<()> {
        self.place
            .change(BookChange::Remove, |book, _| format!("removed {book}"))?;
        terminal::note(format_args!(
            "bring it back with:\n  cloudless book restore {}{}",
            quoted(&self.place.book),
            self.place.flags()
        ));
        Ok(())
    }
}

/// Bring a removed address book back with its cards
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless book list
  cloudless book restore club

It is shared with nobody then. Of several that had this name, the last removed one comes back.")]
pub(super) struct Restore {
    #[command(flatten)]
    place: Place,
}

impl Restore {
    pub(super) fn run(self) -> anyhow::Result<()> {
        self.place.change(BookChange::Restore, |slug, book| {
            let cards = book.map_or(0, |book| book.cards);
            format!("{slug} is back with {cards} cards")
        })
    }
}

/// Share an address book with another user of this home
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless book share club bob --read-only
  cloudless book share club bob --read-write --user me

The other user's devices find it beside their own address books. Doing it again changes what the
other user may do.")]
pub(super) struct Share {
    #[command(flatten)]
    place: Place,
    /// Share it with this user
    #[arg(value_name = "WITH")]
    with: String,
    #[command(flatten)]
    access: AccessFlag,
}

/// One of them has to be said.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct AccessFlag {
    /// Let the other user read it
    #[arg(long)]
    read_only: bool,
    /// Let the other user read it, and add, change and delete cards
    #[arg(long)]
    read_write: bool,
}

impl Share {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let access = match self.access.read_only {
            true => Access::ReadOnly,
            false => Access::ReadWrite,
        };
        let with = self.with;
        let change = BookChange::Share {
            with: with.clone(),
            access,
        };
        self.place.change(change, |book, _| {
            format!("{book} is shared with {with}: {}", word(access))
        })
    }
}

/// End the sharing of an address book with another user
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless book unshare club bob

Its cards stay with their owner; the other user's devices remove their copy.")]
pub(super) struct Unshare {
    #[command(flatten)]
    place: Place,
    /// End the sharing with this user
    #[arg(value_name = "WITH")]
    with: String,
}

impl Unshare {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let with = self.with;
        let change = BookChange::Unshare { with: with.clone() };
        self.place.change(change, |book, _| {
            format!("{book} is not shared with {with} any more")
        })
    }
}
