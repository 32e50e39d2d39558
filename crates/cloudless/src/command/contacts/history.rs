use anyhow::bail;
use clap::Args;
use cloudless_home::admin::{CardChoice, Change, ChangeKind, Command, Reply};

use crate::command::choice::{by_name, some};
use crate::command::home;
use crate::moment::Moment;
use crate::state::HomeState;
use crate::terminal;

/// Rows in one request to a running home.
const PAGE_ROWS: usize = 1000;

/// List what happened to contacts: who did what, and when
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless contacts history
  cloudless contacts history --since \"2026-11-20 18:00\"
  cloudless contacts history ann.vcf --json
  cloudless contacts history --uid 8a2f-...

The newest comes first, deleted and refused cards too. Times are local.")]
pub(super) struct History {
    #[command(flatten)]
    state: HomeState,
    /// List only the card of this name; its .vcf may be left out
    #[arg(value_name = "CARD", conflicts_with = "uid")]
    card: Option<String>,
    /// List only the card with this UID
    #[arg(long, value_name = "UID")]
    uid: Option<String>,
    /// List the contacts of USER; may be left out when home has one user only
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// List only this address book of the user
    #[arg(long, value_name = "BOOK")]
    book: Option<String>,
    /// List only what happened at TIME or later: local time, or how long ago, such as 7d
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// List at most N rows
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = some)]
    limit: usize,
    /// Print one line of JSON for each row instead of a table
    #[arg(long)]
    json: bool,
}

impl History {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let card = match (&self.card, &self.uid) {
            (Some(name), _) => Some(by_name(name)),
            (None, uid) => uid.clone().map(CardChoice::Uid),
        };
        let mut changes: Vec<Change> = Vec::new();
        loop {
            let command = Command::History {
                user: self.user.clone(),
                book: self.book.clone(),
                card: card.clone(),
                since: self.since.map(|since| since.0),
                before: changes.last().map(|change| change.id),
                limit: PAGE_ROWS.min(self.limit - changes.len()),
            };
            if self.limit == changes.len() {
                break;
            }
            let Reply::History {
                changes: page,
                more,
            } = home::execute(&state, &command)?
            else {
                bail!("home answered something else than its history");
            };
            let is_last = !more || page.is_empty();
            changes.extend(page);
            if is_last {
                break;
            }
        }
        if self.json {
            return changes.iter().try_for_each(terminal::json);
        }
        if changes.is_empty() {
            terminal::note("nothing happened yet");
            return Ok(());
        }
        let rows: Vec<_> = changes.iter().map(row).collect();
        Ok(terminal::table(
            [
                "WHEN", "WHO", "WHAT", "BOOK", "CARD", "VERSION", "BYTES", "NAME", "REASON",
            ],
            &rows,
        )?)
    }
}

fn row(change: &Change) -> [String; 9] {
    let device = change.device.as_deref().unwrap_or("(this machine)");
    [
        Moment(change.at).local(),
        device.to_owned(),
        word(change.change).to_owned(),
        change.book.clone(),
        change.name.clone(),
        change.version.to_string(),
        change
            .size
            .map_or_else(String::new, |size| size.to_string()),
        change.full_name.clone().unwrap_or_default(),
        change.reason.clone().unwrap_or_default(),
    ]
}

fn word(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Created => "created",
        ChangeKind::Changed => "changed",
        ChangeKind::Deleted => "deleted",
        ChangeKind::Refused => "refused",
        ChangeKind::Restored => "restored",
    }
}
