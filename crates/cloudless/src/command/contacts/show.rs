use anyhow::{Context as _, bail};
use clap::Args;
use cloudless_home::admin::{Command, Reply};
use data_encoding::BASE64;

use crate::command::choice::{BookChoice, by_name};
use crate::command::home;
use crate::state::HomeState;
use crate::terminal;

/// Print a card, or one of its earlier versions, byte for byte
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless contacts show ann.vcf
  cloudless contacts show ann.vcf --version 2 > ann-before.vcf

Of a deleted card it prints what it last was. `contacts history` lists the versions. A terminal is
shown no control characters; a file or another program gets every byte.")]
pub(super) struct Show {
    #[command(flatten)]
    state: HomeState,
    #[command(flatten)]
    book: BookChoice,
    /// Print the card of this name; its .vcf may be left out
    #[arg(value_name = "CARD")]
    card: String,
    /// Print the version of this number, also a refused one, instead of the last one
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    /// Print one line of JSON with the version and its bytes in base64
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let command = Command::Version {
            user: self.book.user,
            book: self.book.book,
            card: by_name(&self.card),
            version: self.version,
        };
        let Reply::Version(version) = home::execute(&state, &command)? else {
            bail!("home answered something else than a card");
        };
        if self.json {
            return terminal::json(&version);
        }
        let bytes = BASE64
            .decode(version.bytes_base64.as_bytes())
            .with_context(|| format!("home sent the card {} garbled", version.name))?;
        Ok(terminal::raw(&bytes)?)
    }
}
