use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use cloudless_home::admin::{Command, ExportCard, Reply};
use data_encoding::BASE64;
use tempfile::NamedTempFile;

use super::file_names::FileNames;
use crate::atomic_file;
use crate::command::choice::BookChoice;
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
  cloudless contacts export > contacts.vcf
  cloudless contacts export --user me --output contacts.vcf
  cloudless contacts export --user me --folder contacts

A folder gets a file for each card, which vdirsyncer and khard read.")]
pub(super) struct Export {
    #[command(flatten)]
    state: HomeState,
    #[command(flatten)]
    book: BookChoice,
    /// Write all cards to FILE instead of standard output; a file that is there is replaced
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write a file for each card to the directory DIR, which must be new or empty
    #[arg(long, value_name = "DIR", conflicts_with = "output")]
    folder: Option<PathBuf>,
    /// Print one line of JSON for each card, with its name and its bytes in base64
    #[arg(long, conflicts_with_all = ["output", "folder"])]
    json: bool,
}

impl Export {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let mut sink = match (&self.output, &self.folder) {
            (Some(file), _) => Sink::file(file)?,
            (None, Some(folder)) => Sink::folder(folder)?,
            (None, None) if self.json => Sink::Json,
            (None, None) => Sink::Stdout,
        };
        let mut progress = Progress::start("exporting", None);
        let mut after = None;
        loop {
            let command = Command::CardsGet {
                user: self.book.user.clone(),
                book: self.book.book.clone(),
                after,
                limit: PAGE_CARDS,
            };
            let Reply::Cards { cards, more } = home::execute_part(&state, &command)? else {
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
    Folder { path: PathBuf, names: FileNames },
}

impl Sink {
    fn file(path: &Path) -> anyhow::Result<Self> {
        let file = NamedTempFile::new_in(atomic_file::directory_of(path))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self::File {
            file,
            path: path.to_owned(),
        })
    }

    fn folder(path: &Path) -> anyhow::Result<Self> {
        match fs::create_dir(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let is_empty = fs::read_dir(path).map(|mut files| files.next().is_none());
                if !is_empty.with_context(|| format!("cannot list {}", path.display()))? {
                    return Err(Usage(format!(
                        "{} is not empty; name a new directory",
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
        Ok(Self::Folder {
            path: path.to_owned(),
            names: FileNames::default(),
        })
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
            Self::Folder { path, names } => {
                let path = path.join(names.choose(&card.name));
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
