use anyhow::{Context as _, bail};
use clap::Args;
use cloudless_home::admin::{Command, MergeChoice, Reply};
use data_encoding::BASE64;

use crate::command::choice::{BookChoice, by_name, quoted};
use crate::command::home;
use crate::moment::Moment;
use crate::state::HomeState;
use crate::terminal;

/// Join cards that are the same person, without losing a property
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless contacts merge 3f9a1c20             a group that `contacts duplicates` listed
  cloudless contacts merge ann.vcf ann-2.vcf    the second into the first
  cloudless contacts merge 3f9a1c20 --dry-run

The first card keeps its name and UID and gets what the others have besides; the others are deleted.
All of them stay in the history, and the command that undoes the merge is printed.")]
pub(super) struct Merge {
    #[command(flatten)]
    state: HomeState,
    #[command(flatten)]
    book: BookChoice,
    /// Join this group, or two cards or more by their names
    #[arg(value_name = "GROUP|CARD", required = true)]
    cards: Vec<String>,
    /// Give the same region as to `contacts duplicates`
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Change nothing and only print the joined card
    #[arg(long)]
    dry_run: bool,
    /// Print one line of JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Merge {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let cards = match &self.cards[..] {
            [group] => MergeChoice::Group(group.clone()),
            names => MergeChoice::Cards(names.iter().map(|name| by_name(name)).collect()),
        };
        let command = Command::Merge {
            user: self.book.user.clone(),
            book: self.book.book.clone(),
            cards,
            region: self.region.clone(),
            dry_run: self.dry_run,
        };
        let Reply::Merged(merged) = home::execute(&state, &command)? else {
            bail!("home answered something else than a joined card");
        };
        if self.json {
            return terminal::json(&merged);
        }
        if self.dry_run {
            let bytes = BASE64
                .decode(merged.bytes_base64.as_bytes())
                .with_context(|| format!("home sent the card {} garbled", merged.name))?;
            return Ok(terminal::raw(&bytes)?);
        }
        let names = |names: &[String]| {
            let quoted: Vec<_> = names.iter().map(|name| quoted(name)).collect();
            terminal::clean(&quoted.join(" "))
        };
        let kept = names(std::slice::from_ref(&merged.name));
        terminal::data(format_args!("{kept} has all of {}", names(&merged.deleted)))?;
        for name in &merged.kept {
            terminal::warning(format_args!(
                "{} was changed meanwhile and stays",
                terminal::clean(name)
            ));
        }
        terminal::note(format_args!(
            "devices sync it. Undo with:\n  cloudless contacts restore {kept} {}{}{} --at {}",
            names(&merged.deleted),
            self.book.flags(),
            self.state.flag(),
            quoted(&Moment(merged.at - 1).exact()),
        ));
        Ok(())
    }
}
