use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use cloudless_home::admin::{Command, ExportCard, Reply};
use data_encoding::BASE64;
use tempfile::NamedTempFile;

use crate::atomic_file;
use crate::command::home;
use crate::exit::Usage;
use crate::progress::Progress;
use crate::state::HomeState;
use crate::terminal;

/// Cards in one request to a running home.
const PAGE_CARDS: usize = 1000;

/// Export all cards of an address book, byte for byte
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless contacts export --user me > contacts.vcf
  cloudless contacts export --user me --output contacts.vcf
  cloudless contacts export --user me --output contacts/

A PATH that ends in .vcf is one file with all cards, any other is a directory with a file for each
card; it must be new or empty.")]
pub(super) struct Export {
    #[command(flatten)]
    state: HomeState,
    /// Export the address book of USER
    #[arg(long, value_name = "USER")]
    user: String,
    /// Export this address book of the user
    #[arg(long, value_name = "BOOK", default_value = "contacts")]
    book: String,
    /// Write to PATH instead of standard output
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Print one line of JSON for each card, with its name and its bytes in base64
    #[arg(long, conflicts_with = "output")]
    json: bool,
}

impl Export {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let mut sink = Sink::open(self.output.as_deref(), self.json)?;
        let mut progress = Progress::start("exporting", None);
        let mut after = None;
        loop {
            let command = Command::CardsGet {
                user: self.user.clone(),
                book: self.book.clone(),
                after,
                limit: PAGE_CARDS,
            };
            let Reply::Cards { cards, more } = home::execute(&state, &command)? else {
                bail!("home answered something else than cards");
            };
            for card in &cards {
                sink.write(card)?;
            }
            progress.advance(cards.len());
            after = cards.last().map(|card| card.name.clone());
            if !more || after.is_none() {
                break;
            }
        }
        sink.close()?;
        progress.finish();
        Ok(())
    }
}

/// Where exported cards go.
enum Sink {
    Stdout,
    Json,
    File { file: NamedTempFile, path: PathBuf },
    Directory(PathBuf),
}

impl Sink {
    fn open(output: Option<&Path>, json: bool) -> anyhow::Result<Self> {
        let Some(path) = output else {
            return Ok(if json { Self::Json } else { Self::Stdout });
        };
        if path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("vcf"))
        {
            let file = NamedTempFile::new_in(atomic_file::directory_of(path))
                .with_context(|| format!("cannot write {}", path.display()))?;
            return Ok(Self::File {
                file,
                path: path.to_owned(),
            });
        }
        match fs::create_dir(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let is_empty = fs::read_dir(path).map(|mut files| files.next().is_none());
                if !is_empty.with_context(|| format!("cannot list {}", path.display()))? {
                    return Err(Usage(format!(
                        "{} is not empty; name a new directory, or a file that ends in .vcf",
                        path.display()
                    ))
                    .into());
                }
            }
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot make the directory {}", path.display()));
            }
        }
        Ok(Self::Directory(path.to_owned()))
    }

    fn write(&mut self, card: &ExportCard) -> anyhow::Result<()> {
        let bytes = BASE64
            .decode(card.bytes_base64.as_bytes())
            .with_context(|| format!("home sent the card {} garbled", card.name))?;
        match self {
            Self::Stdout => {
                terminal::raw(&bytes)?;
                Ok(terminal::raw(gap(&bytes))?)
            }
            Self::Json => terminal::json(card),
            Self::File { file, path } => file
                .write_all(&bytes)
                .and_then(|()| file.write_all(gap(&bytes)))
                .with_context(|| format!("cannot write {}", path.display())),
            Self::Directory(directory) => {
                let mut name = card.name.clone();
                if !name.to_ascii_lowercase().ends_with(".vcf") {
                    name.push_str(".vcf");
                }
                let path = directory.join(&name);
                fs::write(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))
            }
        }
    }

    fn close(self) -> anyhow::Result<()> {
        let Self::File { file, path } = self else {
            return Ok(());
        };
        let persist = || {
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)
        };
        persist()
            .map(drop)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// What keeps a card that ends without a line end apart from the next one.
fn gap(card: &[u8]) -> &'static [u8] {
    if matches!(card.last(), Some(b'\n' | b'\r')) {
        b""
    } else {
        b"\r\n"
    }
}
