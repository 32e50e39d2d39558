use std::path::Path;

use anyhow::bail;
use clap::Args;
use cloudless_home::admin::{
    CardChoice, CardRestore, Command, Difference, Reply, RestoreTo, RestoredCard,
};
use serde::Serialize;

use super::difference;
use crate::clock;
use crate::command::choice::{BookChoice, by_name, quoted};
use crate::command::home;
use crate::exit::Usage;
use crate::moment::Moment;
use crate::state::HomeState;
use crate::terminal;

/// Bring cards, or a whole address book, back to what they were
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless contacts restore ann.vcf                          a deleted card, as it last was
  cloudless contacts restore ann.vcf --version 2 --dry-run
  cloudless contacts restore ann.vcf bob.vcf --at \"2026-11-20 18:00\"
  cloudless contacts restore --at \"2026-11-20 18:00\" --dry-run
  cloudless contacts restore --at \"2026-11-20 18:00\"          the whole address book

A restore is an ordinary change: devices sync it, and what was there before stays in the history, so
that a restore can be undone by another one. TIME is local; --dry-run shows what would change.")]
pub(super) struct Restore {
    #[command(flatten)]
    state: HomeState,
    #[command(flatten)]
    book: BookChoice,
    /// Restore the cards of these names; without any, the whole address book
    #[arg(value_name = "CARD")]
    cards: Vec<String>,
    /// Restore the card with this UID
    #[arg(long, value_name = "UID", conflicts_with = "cards")]
    uid: Option<String>,
    /// Restore the card to its version of this number; see `contacts history`
    #[arg(long, value_name = "N", conflicts_with = "at")]
    version: Option<u64>,
    /// Restore to what was there at TIME: local time, or how long ago, such as 2h
    #[arg(long, value_name = "TIME")]
    at: Option<Moment>,
    /// Change nothing and only show what the restore would change
    #[arg(long)]
    dry_run: bool,
    /// Print one line of JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Restored<'a> {
    #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
    at: i64,
    dry_run: bool,
    cards: &'a [RestoredCard],
    difference: &'a Difference,
}

#[derive(Serialize)]
struct RestoredBook<'a> {
    #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
    at: i64,
    dry_run: bool,
    #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
    restored_to: i64,
    difference: &'a Difference,
}

impl Restore {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        if let Some(at) = self.at.filter(|at| at.0 > clock::unix_ms()) {
            return Err(Usage(format!("--at {} has not come yet", at.local())).into());
        }
        let cards: Vec<CardChoice> = match &self.uid {
            Some(uid) => vec![CardChoice::Uid(uid.clone())],
            None => self.cards.iter().map(|name| by_name(name)).collect(),
        };
        let to = match (self.version, self.at) {
            (Some(_), _) if cards.len() != 1 => {
                return Err(Usage("--version needs the name of one card".to_owned()).into());
            }
            (Some(version), _) => RestoreTo::Version(version),
            (None, Some(at)) if cards.is_empty() => return self.restore_book(&state, at),
            (None, Some(at)) => RestoreTo::Moment(at.0),
            (None, None) if cards.is_empty() => {
                return Err(Usage(
                    "name the cards that were deleted, or say with --at to which moment the \
                     address book goes back"
                        .to_owned(),
                )
                .into());
            }
            (None, None) => RestoreTo::BeforeDeletion,
        };
        self.restore_cards(&state, cards, to)
    }

    fn restore_cards(
        &self,
        state: &Path,
        cards: Vec<CardChoice>,
        to: RestoreTo,
    ) -> anyhow::Result<()> {
        let command = Command::CardsRestore {
            user: self.book.user.clone(),
            book: self.book.book.clone(),
            cards,
            to,
            dry_run: self.dry_run,
        };
        let Reply::CardsRestored {
            at,
            cards,
            difference,
        } = home::execute(state, &command)?
        else {
            bail!("home answered something else than what it restored");
        };
        if self.json {
            terminal::json(&Restored {
                at,
                dry_run: self.dry_run,
                cards: &cards,
                difference: &difference,
            })?;
        } else if self.dry_run {
            difference::tell(&difference, true)?;
            terminal::note("nothing was changed; do it without --dry-run");
        }
        let mut refused = 0;
        for RestoredCard { name, outcome } in &cards {
            let word = match outcome {
                CardRestore::Restored => "restored",
                CardRestore::Unchanged => "unchanged",
                CardRestore::Refused { reason } => {
                    refused += 1;
                    terminal::warning(format_args!("{}: {reason}", terminal::clean(name)));
                    continue;
                }
            };
            if !self.json && !self.dry_run {
                terminal::data(format_args!("{} {word}", terminal::clean(name)))?;
            }
        }
        match refused {
            0 => Ok(()),
            1 if self.dry_run => bail!("1 card would not be restored"),
            1 => bail!("1 card was not restored"),
            count if self.dry_run => bail!("{count} cards would not be restored"),
            count => bail!("{count} cards were not restored"),
        }
    }

    fn restore_book(&self, state: &Path, to: Moment) -> anyhow::Result<()> {
        let BookChoice { user, book } = &self.book;
        let command = Command::BookRestore {
            user: user.clone(),
            book: book.clone(),
            at: to.0,
            dry_run: self.dry_run,
        };
        let Reply::BookRestored { at, difference } = home::execute(state, &command)? else {
            bail!("home answered something else than what it restored");
        };
        if self.json {
            return terminal::json(&RestoredBook {
                at,
                dry_run: self.dry_run,
                restored_to: to.0,
                difference: &difference,
            });
        }
        difference::tell(&difference, self.dry_run)?;
        let then = to.local();
        if difference.is_empty() {
            terminal::note(format_args!("{book} is what it was at {then}"));
        } else if self.dry_run {
            terminal::note(format_args!(
                "nothing was changed; do it without --dry-run, to {then} local time"
            ));
        } else {
            terminal::note(format_args!(
                "{book} is what it was at {then} local time; devices sync it. Undo with:\n  \
                 cloudless contacts restore{}{} --at {}",
                self.book.flags(),
                self.state.flag(),
                quoted(&Moment(at - 1).exact()),
            ));
        }
        Ok(())
    }
}
