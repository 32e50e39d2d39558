//! State directories: where they are when nobody says, and how they are made.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use nix::unistd::{Gid, Uid, setegid, seteuid};

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

/// Makes a state directory that only its owner can enter. One that exists stays as it is. The way
/// to it is open, as a service that root sets up runs as another user.
pub(crate) fn create(directory: &Path) -> anyhow::Result<()> {
    let above = directory.parent().map_or(Ok(()), fs::create_dir_all);
    let made = above.and_then(|()| {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(directory)
    });
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

/// Does something to a state directory as its owner, so that what root makes there can be read by the
/// service that it belongs to. Who is not root does it as themselves.
pub(crate) fn as_owner<T>(
    directory: &Path,
    action: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let owner = fs::metadata(directory).map(|it| (it.uid(), it.gid()));
    match owner {
        Ok((user, group)) if user != 0 && rustix::process::geteuid().is_root() => {
            let _until_dropped = Owner::become_owner(user, group)
                .with_context(|| format!("cannot become the owner of {}", directory.display()))?;
            action()
        }
        _ => action(),
    }
}

/// As long as there is one, this process acts as somebody else.
struct Owner;

impl Owner {
    fn become_owner(user: u32, group: u32) -> nix::Result<Self> {
        setegid(Gid::from_raw(group))?;
        // From here on its end goes back.
        let owner = Self;
        seteuid(Uid::from_raw(user))?;
        Ok(owner)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Root may always become root again.
        let root = seteuid(Uid::from_raw(0)).and_then(|()| setegid(Gid::from_raw(0)));
        if let Err(error) = root {
            tracing::warn!(%error, "cannot become root again");
        }
    }
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

/// Where a role's state is when nobody says.
pub(crate) fn default_directory(role: &str) -> anyhow::Result<PathBuf> {
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
