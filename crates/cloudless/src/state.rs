//! State directories: where they are when nobody says, and how they are made.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::exit::Usage;

/// The `--state` flag of the relay's commands.
#[derive(Debug, Args)]
pub(crate) struct RelayState {
    /// Keep the relay's config, key and registry in DIR [default: /var/lib/cloudless/relay for
    /// root, else ~/.local/share/cloudless/relay]
    #[arg(long = "state", value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl RelayState {
    /// The flag as it has to be repeated in the next command, with a space before it.
    pub(crate) fn flag(&self) -> String {
        flag(self.directory.as_deref())
    }

    /// The directory that was asked for, or the default one.
    pub(crate) fn directory(&self) -> anyhow::Result<PathBuf> {
        self.directory
            .clone()
            .map_or_else(|| default_directory("relay"), Ok)
    }
}

/// The `--state` flag of home's commands.
#[derive(Debug, Args)]
pub(crate) struct HomeState {
    /// Keep home's config, key, certificates and contacts in DIR [default:
    /// /var/lib/cloudless/home for root, else ~/.local/share/cloudless/home]
    #[arg(long = "state", value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl HomeState {
    /// The flag as it has to be repeated in the next command, with a space before it.
    pub(crate) fn flag(&self) -> String {
        flag(self.directory.as_deref())
    }

    /// The directory that was asked for, or the default one.
    pub(crate) fn directory(&self) -> anyhow::Result<PathBuf> {
        self.directory
            .clone()
            .map_or_else(|| default_directory("home"), Ok)
    }
}

/// Makes a state directory that only its owner can enter. One that exists stays as it is.
pub(crate) fn create(directory: &Path) -> anyhow::Result<()> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory);
    made.with_context(|| {
        format!(
            "cannot make the state directory {}; choose another with --state",
            directory.display()
        )
    })?;
    let metadata = fs::metadata(directory)
        .with_context(|| format!("cannot look at the state directory {}", directory.display()))?;
    if metadata.mode() & 0o077 != 0 {
        crate::terminal::warning(format_args!(
            "other users can look into {0}; close it with: chmod 700 {0}",
            directory.display()
        ));
    }
    Ok(())
}

/// Fails unless the directory exists, with `advice` on how to get one.
pub(crate) fn require(directory: &Path, advice: &str) -> anyhow::Result<()> {
    match fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(Usage(format!("{} is not a directory", directory.display())).into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Usage(format!(
            "there is no state directory {}; {advice}, or name another with --state",
            directory.display()
        ))
        .into()),
        Err(error) => Err(error)
            .with_context(|| format!("cannot look at the state directory {}", directory.display())),
    }
}

fn flag(directory: Option<&Path>) -> String {
    directory.map_or_else(String::new, |directory| {
        format!(" --state {}", directory.display())
    })
}

fn default_directory(role: &str) -> anyhow::Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok(Path::new("/var/lib/cloudless").join(role));
    }
    let absolute = |variable: &str| {
        std::env::var_os(variable)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("cloudless").join(role))
        .ok_or_else(|| {
            Usage("neither XDG_DATA_HOME nor HOME is set; say where with --state DIR".to_owned())
                .into()
        })
}
