use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

/// Write a man page for each command, for who makes packages
#[derive(Debug, Args)]
#[command(
    hide = true,
    after_help = "\
Examples:
  cloudless man-pages target/man"
)]
pub(super) struct ManPages {
    /// Write them into DIR, which is made if it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl ManPages {
    pub(super) fn run(self) -> anyhow::Result<()> {
        fs::create_dir_all(&self.directory)
            .with_context(|| format!("cannot make {}", self.directory.display()))?;
        let mut root = super::Cloudless::command().disable_help_subcommand(true);
        root.build();
        write(&root, &self.directory)
    }
}

/// Writes the page of a command and those of the ones below it.
fn write(command: &Command, directory: &Path) -> anyhow::Result<()> {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name());
    let path = directory.join(format!("{name}.1"));
    let page = page(command).context("cannot make a man page")?;
    fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    let mut visible = command.get_subcommands().filter(|it| !it.is_hide_set());
    visible.try_for_each(|it| write(it, directory))
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone());
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name());
    let version = env!("CARGO_PKG_VERSION");
    // Without a date: the same sources make the same pages.
    let title = format!(".TH \"{name}\" 1 \"\" \"cloudless {version}\" \"User Commands\"\n");
    let mut page = title.into_bytes();
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|it| !it.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    notes(command).to_writer(&mut page)?;
    Ok(page)
}

/// The text after the options, which has lines of its own: examples, files, settings.
fn notes(command: &Command) -> Roff {
    let text = command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let (heading, text) = match text.strip_prefix("Examples:\n") {
        Some(examples) => ("EXAMPLES", examples),
        None => ("NOTES", text.as_str()),
    };
    let mut roff = Roff::new();
    roff.control("SH", [heading]);
    roff.control("nf", []);
    for line in text.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff
}
