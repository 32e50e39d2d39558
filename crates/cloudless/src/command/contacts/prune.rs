use anyhow::bail;
use clap::Args;
use cloudless_home::admin::{Command, Reply};
use serde::Serialize;

use crate::clock;
use crate::command::home;
use crate::config::home::HomeFile;
use crate::config::period::Period;
use crate::exit::Usage;
use crate::moment::Moment;
use crate::state::HomeState;
use crate::terminal;

/// Remove old history for good; contacts that are there stay
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless contacts prune --older-than 2y --dry-run
  cloudless contacts prune --older-than 2y

Versions that were replaced or deleted longer ago go, of all users. A home with `keep` under
`[history]` in home.toml does this by itself once a day; without it, all history is kept.")]
pub(super) struct Prune {
    #[command(flatten)]
    state: HomeState,
    /// Remove what was replaced or deleted longer ago than PERIOD, such as 90d or 2y [default: what
    /// home.toml says]
    #[arg(long, value_name = "PERIOD")]
    older_than: Option<Period>,
    /// Remove nothing and only show how much would go
    #[arg(long)]
    dry_run: bool,
    /// Print one line of JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Pruned {
    #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
    before: i64,
    dry_run: bool,
    versions: u64,
    bytes: u64,
}

impl Prune {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let keep = match self.older_than {
            Some(Period(duration)) => Some(duration),
            None => HomeFile::read_if_there(&state)?.and_then(|file| file.history.keep.duration()),
        };
        let Some(keep) = keep else {
            return Err(Usage(
                "all history is kept; say with --older-than what is to go, such as 2y".to_owned(),
            )
            .into());
        };
        let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let before = clock::unix_ms().saturating_sub(keep);
        let command = Command::Prune {
            before,
            dry_run: self.dry_run,
        };
        let Reply::Pruned { versions, bytes } = home::execute(&state, &command)? else {
            bail!("home answered something else than what it removed");
        };
        if self.json {
            return terminal::json(&Pruned {
                before,
                dry_run: self.dry_run,
                versions,
                bytes,
            });
        }
        let would = if self.dry_run { "would be " } else { "" };
        let before = Moment(before).local();
        Ok(terminal::data(format_args!(
            "{versions} versions from before {before}, {bytes} bytes, {would}removed"
        ))?)
    }
}
