//! What a role gives up before it serves anybody: other files, new privileges, other programs, and
//! system calls that servers have no use for. See docs/decisions/0005-a-sandbox.md.

mod system_calls;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, path_beneath_rules,
};

/// The newest rights that are asked for; an older kernel gives fewer.
const RIGHTS: ABI = ABI::V5;

/// What both roles read while they run: what the kernel tells about this process, and how much of
/// the machine it may use.
const OWN_FIGURES: [&str; 2] = ["/proc/self", "/sys/fs/cgroup"];

/// What the C library reads to look a name up, some of it at each look-up. The configuration is
/// replaced when the machine changes networks, so that the right has to be one to the directory.
const NAME_LOOKUP: [&str; 12] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/gnu/store",
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/connman",
    "/mnt/wsl",
];

/// The files that a role needs while it runs. Sockets are no files here: Unix sockets are connected
/// to wherever they are.
#[derive(Debug)]
pub(crate) struct Needs {
    writable: Vec<PathBuf>,
    readable: Vec<PathBuf>,
}

impl Needs {
    /// A relay's needs: its state directory. It looks no name up.
    pub(crate) fn of_relay(state: &Path) -> Self {
        Self {
            writable: state_files(state),
            readable: OWN_FIGURES.map(PathBuf::from).into(),
        }
    }

    /// A home's needs: its state directory, what names are looked up with, and the directories of
    /// certificates that somebody else renews, who puts other files in their place.
    pub(crate) fn of_home(state: &Path, certificate_files: &[PathBuf]) -> Self {
        let fixed = OWN_FIGURES.iter().chain(&NAME_LOOKUP).map(PathBuf::from);
        let linked = certificate_files
            .iter()
            .filter_map(|file| fs::canonicalize(file).ok());
        let directories = certificate_files.iter().cloned().chain(linked);
        let directories = directories.filter_map(|file| Some(file.parent()?.to_owned()));
        Self {
            writable: state_files(state),
            readable: fixed.chain(directories).collect(),
        }
    }
}

/// A state directory, and what symbolic links in it lead to.
fn state_files(state: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(state).into_iter().flatten().flatten();
    let linked = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_symlink())
        .filter_map(|path| fs::canonicalize(path).ok());
    std::iter::once(state.to_owned()).chain(linked).collect()
}

/// What of the sandbox the kernel has put in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InForce {
    pub(crate) landlock: bool,
    pub(crate) seccomp: bool,
}

impl fmt::Display for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match (self.landlock, self.seccomp) {
            (true, true) => "no new privileges, Landlock, seccomp",
            (true, false) => "no new privileges, Landlock; this kernel has no seccomp for it",
            (false, true) => "no new privileges, seccomp; this kernel has no Landlock",
            (false, false) => {
                "no new privileges; this kernel has neither Landlock nor seccomp for it"
            }
        };
        f.write_str(what)
    }
}

/// Gives up for good what is not needed. What this thread gives up, the threads that it starts have
/// not got either, so call it before there are others.
///
/// A kernel that lacks a part goes on without it, and the log says so.
///
/// # Errors
/// When the kernel refuses what it claims to have.
pub(crate) fn enter(needs: &Needs) -> anyhow::Result<InForce> {
    rustix::thread::set_no_new_privs(true).context("cannot give up new privileges")?;
    let landlock = restrict_files(needs).context(
        "cannot give up files outside of the state directory (`sandbox = false` would keep them)",
    )?;
    let seccomp = system_calls::deny()
        .inspect_err(|error| tracing::debug!(%error, "No seccomp"))
        .is_ok();
    let in_force = InForce { landlock, seccomp };
    if landlock && seccomp {
        tracing::debug!(sandbox = %in_force, "The sandbox is closed");
    } else {
        tracing::info!(sandbox = %in_force, "The sandbox is closed in part");
    }
    Ok(in_force)
}

/// Whether Landlock holds this thread in now.
fn restrict_files(needs: &Needs) -> Result<bool, RulesetError> {
    let all = AccessFs::from_all(RIGHTS);
    let own = all & !AccessFs::Execute;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let device = AccessFs::ReadFile | AccessFs::WriteFile;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .create()?
        .add_rules(path_beneath_rules(&needs.writable, own))?
        .add_rules(path_beneath_rules(&needs.readable, read))?
        .add_rules(path_beneath_rules(["/dev/null", "/dev/urandom"], device))?
        .restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

#[cfg(test)]
mod tests;
