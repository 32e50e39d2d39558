use anyhow::bail;
use clap::Args;
use cloudless_home::admin::{Access, Book, Command, RemovedBook, Reply};
use serde::Serialize;

use crate::command::choice::{quoted, user_flag};
use crate::command::home;
use crate::moment::Moment;
use crate::state::HomeState;
use crate::terminal;

/// List a user's address books, those that others share with the user last
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless book list
  cloudless book list --user me --json
  cloudless book list --removed

Removed address books are in the JSON, too.")]
pub(super) struct List {
    #[command(flatten)]
    state: HomeState,
    /// List the address books of USER; may be left out when home has one user only
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// List those that were removed, with how to bring each back
    #[arg(long)]
    removed: bool,
    /// Print one line of JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Books<'a> {
    books: &'a [Book],
    removed: &'a [RemovedBook],
}

impl List {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let flags = format!("{}{}", user_flag(self.user.as_deref()), self.state.flag());
        let command = Command::Books { user: self.user };
        let Reply::Books { books, removed } = home::execute(&state, &command)? else {
            bail!("home answered something else than address books");
        };
        if self.json {
            return terminal::json(&Books {
                books: &books,
                removed: &removed,
            });
        }
        if !self.removed {
            let rows: Vec<_> = books.iter().map(row).collect();
            terminal::table(["BOOK", "NAME", "CARDS", "ACCESS", "SHARED"], &rows)?;
            return Ok(());
        }
        if removed.is_empty() {
            terminal::note("no address book was removed");
            return Ok(());
        }
        let rows: Vec<_> = removed.iter().map(|it| removed_row(it, &flags)).collect();
        Ok(terminal::table(
            ["REMOVED", "BOOK", "BRING IT BACK WITH"],
            &rows,
        )?)
    }
}

fn removed_row(book: &RemovedBook, flags: &str) -> [String; 3] {
    [
        Moment(book.removed_at).local(),
        book.slug.clone(),
        format!("cloudless book restore {}{flags}", quoted(&book.slug)),
    ]
}

fn row(book: &Book) -> [String; 5] {
    let shared = match book.access {
        Access::Owner => {
            let shares = book.shares.iter();
            let shares =
                shares.map(|share| format!("with {} ({})", share.user, word(share.access)));
            shares.collect::<Vec<_>>().join(", ")
        }
        Access::ReadWrite | Access::ReadOnly => format!("by {}", book.owner),
    };
    [
        book.slug.clone(),
        book.display_name.clone(),
        book.cards.to_string(),
        word(book.access).to_owned(),
        shared,
    ]
}

pub(super) fn word(access: Access) -> &'static str {
    match access {
        Access::Owner => "owner",
        Access::ReadWrite => "read and write",
        Access::ReadOnly => "read only",
    }
}
