mod journal;
mod remote;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use cloudless_home::admin::{Command, ImportCard, ImportOutcome, Reply};
use cloudless_vcard::Invalid;
use data_encoding::BASE64;
use serde::Serialize;

use crate::command::choice::BookChoice;
use crate::command::home;
use crate::progress::Progress;
use crate::state::HomeState;
use crate::terminal;

/// Cards in one request to a running home.
const BATCH_CARDS: usize = 250;
/// Bytes in one request, which home has in memory several times.
const BATCH_BYTES: usize = 1024 * 1024;

/// Import the cards of vCard files, or of an address book on another server, byte for byte
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless contacts import contacts.vcf
  cloudless contacts import ~/.contacts/ --user me --book club
  cloudless contacts import --from https://cloud.example.org --from-user me --list
  cloudless contacts import --from https://cloud.example.org --from-user me --from-book Friends

A card that is there already, by its UID, is updated and its earlier version kept. A file may hold
many cards. A bad card is named with its file and line and left out; the others are imported, and
the exit status is 1.

--from copies an address book of any CardDAV server, found from its name alone. The password is
asked, or read from a file, or from the environment (CLOUDLESS_FROM_PASSWORD). It goes to that host
over TLS, and to hosts that --from-host names. A second run fetches what was changed there since, or
is missing here; nothing is removed here that was removed there. In the end each card is compared
with what was fetched.")]
pub(super) struct Import {
    #[command(flatten)]
    state: HomeState,
    /// Import FILE, or all files of a directory that end in .vcf
    #[arg(value_name = "FILE", required_unless_present = "from")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    remote: remote::Remote,
    #[command(flatten)]
    book: BookChoice,
    /// Print one line of JSON with the counts and the cards left out
    #[arg(long)]
    json: bool,
}

/// What became of all cards.
#[derive(Debug, Default, Serialize)]
struct Summary {
    created: usize,
    updated: usize,
    unchanged: usize,
    refused: Vec<Refused>,
}

#[derive(Debug, Serialize)]
struct Refused {
    file: PathBuf,
    /// The card's place in the file, from 1.
    card: usize,
    /// The line of its BEGIN:VCARD, from 1.
    line: usize,
    reason: String,
}

/// A card on its way, and where it came from.
struct Source {
    file: usize,
    card: usize,
    line: usize,
    bytes: Vec<u8>,
}

impl Import {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        if let Some(from) = &self.remote.from {
            return self.remote.import(from, &state, &self.book, self.json);
        }
        let files = files(&self.files)?;
        let mut summary = Summary::default();
        let cards = read(&files, &mut summary)?;
        let mut progress = Progress::start("importing", Some(cards.len()));
        let mut rest = cards.as_slice();
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(batch_len(rest));
            rest = after;
            self.put(&state, &files, batch, &mut summary)?;
            progress.advance(batch.len());
        }
        progress.finish();
        self.tell(&summary)
    }

    fn put(
        &self,
        state: &Path,
        files: &[PathBuf],
        batch: &[Source],
        summary: &mut Summary,
    ) -> anyhow::Result<()> {
        let import = |source: &Source| ImportCard {
            name: None,
            bytes_base64: BASE64.encode(&source.bytes),
        };
        let command = Command::CardsPut {
            user: self.book.user.clone(),
            book: self.book.book.clone(),
            cards: batch.iter().map(import).collect(),
        };
        let Reply::CardsPut { outcomes } = home::execute_part(state, &command)? else {
            bail!("home answered something else than the outcome of an import");
        };
        ensure!(
            outcomes.len() == batch.len(),
            "home did not say what became of each card"
        );
        for (source, outcome) in batch.iter().zip(outcomes) {
            match outcome.outcome {
                ImportOutcome::Created => summary.created += 1,
                ImportOutcome::Updated => summary.updated += 1,
                ImportOutcome::Unchanged => summary.unchanged += 1,
                ImportOutcome::Refused { reason } => {
                    summary.refused.push(Refused {
                        file: files[source.file].clone(),
                        card: source.card,
                        line: source.line,
                        reason,
                    });
                }
            }
        }
        Ok(())
    }

    fn tell(&self, summary: &Summary) -> anyhow::Result<()> {
        let Summary {
            created,
            updated,
            unchanged,
            refused,
        } = summary;
        if self.json {
            terminal::json(summary)?;
        } else {
            terminal::data(format_args!(
                "{created} created, {updated} updated, {unchanged} unchanged, {} left out",
                refused.len()
            ))?;
        }
        for Refused {
            file,
            card,
            line,
            reason,
        } in refused
        {
            let file = file.display();
            terminal::warning(format_args!("{file}:{line}, card {card}: {reason}"));
        }
        match refused.len() {
            0 => Ok(()),
            1 => bail!("1 card was not imported; correct it and import the file again"),
            count => bail!("{count} cards were not imported; correct them and import again"),
        }
    }
}

/// The files that were named, those of directories in the order of their names.
fn files(named: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in named {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let list = || {
            let paths = fs::read_dir(path)?.map(|entry| Ok(entry?.path()));
            paths.collect::<std::io::Result<Vec<_>>>()
        };
        let mut found =
            list().with_context(|| format!("cannot list the directory {}", path.display()))?;
        found.retain(|file| {
            let extension = file.extension().unwrap_or_default();
            extension.eq_ignore_ascii_case("vcf") && file.is_file()
        });
        ensure!(
            !found.is_empty(),
            "there is no file ending in .vcf in {}; directories inside it are not read",
            path.display()
        );
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

/// Reads all files before anything is stored, so that a wrong name of a file stores nothing.
fn read(files: &[PathBuf], summary: &mut Summary) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    for (file, path) in files.iter().enumerate() {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        // A file that is one card is kept with all that stands around it, a byte order mark too.
        if cloudless_vcard::summarize(&bytes).is_ok() {
            sources.push(Source {
                file,
                card: 1,
                line: 1,
                bytes,
            });
            continue;
        }
        let mut count = 0;
        let (mut line, mut counted) = (1, 0);
        for (index, (start, card)) in cloudless_vcard::split_indices(&bytes).enumerate() {
            count += 1;
            line += line_ends(&bytes[counted..start]);
            counted = start;
            match card {
                Ok(card) => {
                    sources.push(Source {
                        file,
                        card: index + 1,
                        line,
                        bytes: card.to_owned(),
                    });
                }
                Err(reason) => summary.refused.push(Refused {
                    file: path.clone(),
                    card: index + 1,
                    line,
                    reason: reason.to_string(),
                }),
            }
        }
        if count == 0 {
            // Among many files one is no reason to leave the others out.
            summary.refused.push(Refused {
                file: path.clone(),
                card: 1,
                line: 1,
                reason: Invalid::NotVcard.to_string(),
            });
        }
    }
    Ok(sources)
}

/// How many lines end, as an editor counts them: with CR, LF or both.
fn line_ends(bytes: &[u8]) -> usize {
    let both = bytes.windows(2).filter(|pair| pair == b"\r\n").count();
    let each = bytes.iter().filter(|byte| matches!(byte, b'\r' | b'\n'));
    each.count() - both
}

/// How many of the next cards go into one request: at least one.
fn batch_len(cards: &[Source]) -> usize {
    let mut bytes = 0;
    let fits = |source: &&Source| {
        bytes += source.bytes.len();
        bytes <= BATCH_BYTES
    };
    cards
        .iter()
        .take(BATCH_CARDS)
        .take_while(fits)
        .count()
        .max(1)
}
