use anyhow::bail;
use clap::Args;
use cloudless_home::admin::{Command, DuplicateGroup, Reply, SameBecause};

use crate::command::choice::BookChoice;
use crate::command::home;
use crate::state::HomeState;
use crate::terminal::{self, BOLD, StdoutError};

/// List cards that are the same person
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless contacts duplicates
  cloudless contacts duplicates --region DE --json
  cloudless contacts merge 3f9a1c20

Cards are taken for one person when they have a UID, an e-mail address, a telephone number or a name
in common. Look before you merge: a family may share a number. Nothing is changed.")]
pub(super) struct Duplicates {
    #[command(flatten)]
    state: HomeState,
    #[command(flatten)]
    book: BookChoice,
    /// Take telephone numbers without a country for ones of REGION, two letters such as DE
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Print one line of JSON for each group instead of text
    #[arg(long)]
    json: bool,
}

impl Duplicates {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let command = Command::Duplicates {
            user: self.book.user.clone(),
            book: self.book.book.clone(),
            region: self.region.clone(),
        };
        let Reply::Duplicates { count, groups } = home::execute(&state, &command)? else {
            bail!("home answered something else than duplicates");
        };
        if self.json {
            return groups.iter().try_for_each(terminal::json);
        }
        groups.iter().try_for_each(tell)?;
        let more = count - groups.len();
        if more > 0 {
            terminal::note(format_args!("and {more} more groups"));
        }
        let Some(first) = groups.first() else {
            terminal::note("no two cards are the same person");
            return Ok(());
        };
        let region = self.region.map(|region| format!(" --region {region}"));
        terminal::note(format_args!(
            "join a group with, for example:\n  cloudless contacts merge {}{}{}{}",
            first.group,
            self.book.flags(),
            region.unwrap_or_default(),
            self.state.flag(),
        ));
        Ok(())
    }
}

fn tell(group: &DuplicateGroup) -> Result<(), StdoutError> {
    let because: Vec<_> = group.because.iter().map(reason).collect();
    terminal::data(format_args!(
        "{BOLD}{}{BOLD:#}  same {}",
        group.group,
        because.join(", ")
    ))?;
    group.cards.iter().try_for_each(|card| {
        let full_name = card.full_name.as_deref().unwrap_or_default();
        let line = format!("  {}  {full_name}", card.name);
        terminal::data(terminal::clean(line.trim_end()))
    })
}

fn reason(because: &SameBecause) -> String {
    let (what, value) = match because {
        SameBecause::Uid(value) => ("UID", value),
        SameBecause::Email(value) => ("e-mail address", value),
        SameBecause::Phone(value) => ("telephone number", value),
        SameBecause::Name(value) => ("name", value),
    };
    format!("{what} {}", terminal::clean(value))
}
