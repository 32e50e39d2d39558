use anyhow::bail;
use clap::Args;
use cloudless_home::admin::{Command, Reply};

use crate::command::choice::some;
use crate::command::home;
use crate::state::HomeState;
use crate::terminal;

/// Find contacts by any text in them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless contacts search ann
  cloudless contacts search 555 0123 --json

A card is found when every word is somewhere in it, in a name, an address, a number or a note. Case
and accents do not matter. What was stored last comes first.")]
pub(super) struct Search {
    #[command(flatten)]
    state: HomeState,
    /// Find cards with all of these words, or parts of words
    #[arg(value_name = "TEXT", required = true)]
    text: Vec<String>,
    /// Search the contacts of USER; may be left out when home has one user only
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Search only this address book of the user
    #[arg(long, value_name = "BOOK")]
    book: Option<String>,
    /// Find at most N cards
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = some)]
    limit: usize,
    /// Print one JSON array instead of a table
    #[arg(long)]
    json: bool,
}

impl Search {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let command = Command::Search {
            user: self.user,
            book: self.book,
            text: self.text.join(" "),
            limit: self.limit,
        };
        let Reply::Found { cards } = home::execute(&state, &command)? else {
            bail!("home answered something else than what it found");
        };
        if self.json {
            return terminal::json(&cards);
        }
        if cards.is_empty() {
            terminal::note("nothing was found");
            return Ok(());
        }
        let rows: Vec<_> = cards
            .into_iter()
            .map(|card| {
                [
                    card.full_name.unwrap_or_default(),
                    card.phones.join(", "),
                    card.emails.join(", "),
                    card.book,
                    card.name,
                ]
            })
            .collect();
        Ok(terminal::table(
            ["NAME", "TELEPHONE", "E-MAIL", "BOOK", "CARD"],
            &rows,
        )?)
    }
}
