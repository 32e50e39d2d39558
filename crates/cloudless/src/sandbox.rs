//! What a role gives up before it serves anybody: other files, new privileges, other programs, and
//! system calls that servers have no use for. See docs/decisions/0005-a-sandbox.md.

mod system_calls;

use std::env;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, LandlockStatus, RestrictionStatus,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
    path_beneath_rules,
};

/// The newest rights that are asked for; an older kernel gives fewer. From the sixth version on there
/// are scopes, from the ninth on a right to connect to sockets in the file system.
const RIGHTS: ABI = ABI::V9;
const SCOPES: ABI = ABI::V6;

/// Where the service manager hears that a role is ready.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

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

/// The sockets through which the C library looks names up where it is set so.
const NAME_SERVICES: [&str; 4] = [
    "/run/systemd/resolve",
    "/run/nscd",
    "/var/run/nscd",
    "/run/avahi-daemon",
];

/// The files that a role needs while it runs, and the sockets in the file system that others listen
/// on: a socket, or where it is.
#[derive(Debug)]
pub(crate) struct Needs {
    writable: Vec<PathBuf>,
    readable: Vec<PathBuf>,
    sockets: Vec<PathBuf>,
}

impl Needs {
    /// A relay's needs: its state directory. It looks no name up. Another configuration may name any
    /// socket while it runs.
    pub(crate) fn of_relay(state: &Path) -> Self {
        Self {
            writable: state_files(state),
            readable: OWN_FIGURES.map(PathBuf::from).into(),
            sockets: vec![PathBuf::from("/")],
        }
    }

    /// A home's needs: its state directory, what names are looked up with, and the directories of
    /// certificates that somebody else renews and of sockets that somebody else listens on, who puts
    /// other files in their place.
    pub(crate) fn of_home(
        state: &Path,
        certificate_files: &[PathBuf],
        servers: &[PathBuf],
    ) -> Self {
        let fixed = OWN_FIGURES.iter().chain(&NAME_LOOKUP).map(PathBuf::from);
        let linked = certificate_files
            .iter()
            .filter_map(|file| fs::canonicalize(file).ok());
        let directories = certificate_files.iter().cloned().chain(linked);
        let directories = directories.filter_map(|file| Some(file.parent()?.to_owned()));
        let directory = |socket: &PathBuf| socket.parent().map(Path::to_owned);
        let servers = servers.iter().filter_map(directory);
        let services = NAME_SERVICES.iter().map(PathBuf::from);
        let manager = env::var_os(NOTIFY_SOCKET).map(PathBuf::from);
        Self {
            writable: state_files(state),
            readable: fixed.chain(directories).collect(),
            sockets: servers.chain(services).chain(manager).collect(),
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
    /// From which sockets of other programs Landlock keeps it.
    pub(crate) sockets: Sockets,
    pub(crate) seccomp: bool,
}

/// Sockets of other programs that are out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sockets {
    /// None.
    None,
    /// Those with an abstract name (unix(7)).
    Abstract,
    /// Those, and all in the file system that it does not need.
    All,
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
    let status = restrict_files(needs).context(
        "cannot give up files outside of the state directory (`sandbox = false` would keep them)",
    )?;
    let landlock = status.ruleset != RulesetStatus::NotEnforced;
    let sockets = sockets(&status);
    let seccomp = system_calls::deny()
        .inspect_err(|error| tracing::debug!(%error, "No seccomp"))
        .is_ok();
    let in_force = InForce {
        landlock,
        sockets,
        seccomp,
    };
    if landlock && seccomp {
        tracing::debug!(sandbox = %in_force, ?sockets, "The sandbox is closed");
    } else {
        tracing::info!(sandbox = %in_force, "The sandbox is closed in part");
    }
    Ok(in_force)
}

/// What Landlock keeps this thread from now, as far as the kernel has it.
fn restrict_files(needs: &Needs) -> Result<RestrictionStatus, RulesetError> {
    let all = AccessFs::from_all(RIGHTS);
    let own = all & !AccessFs::Execute;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let device = AccessFs::ReadFile | AccessFs::WriteFile;
    let mut scopes = Scope::from_all(SCOPES);
    if is_abstract(env::var_os(NOTIFY_SOCKET).unwrap_or_default().as_bytes()) {
        scopes.remove(Scope::AbstractUnixSocket);
    }
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .scope(scopes)?
        .create()?
        .add_rules(path_beneath_rules(&needs.writable, own))?
        .add_rules(path_beneath_rules(&needs.readable, read))?
        .add_rules(path_beneath_rules(["/dev/null", "/dev/urandom"], device))?
        .add_rules(path_beneath_rules(&needs.sockets, AccessFs::ResolveUnix))?
        .restrict_self()
}

/// A name of a socket that is none in the file system, as systemd writes it.
fn is_abstract(name: &[u8]) -> bool {
    name.starts_with(b"@")
}

/// For the log and for tests alone.
fn sockets(status: &RestrictionStatus) -> Sockets {
    let LandlockStatus::Available { effective_abi, .. } = status.landlock else {
        return Sockets::None;
    };
    match effective_abi {
        _ if effective_abi >= RIGHTS => Sockets::All,
        _ if effective_abi >= SCOPES => Sockets::Abstract,
        _ => Sockets::None,
    }
}

#[cfg(test)]
mod tests;
