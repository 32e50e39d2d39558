use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf, absolute};
use std::process::Command;

use anyhow::Context as _;
use clap::Args;
use nix::unistd::{Uid, User};
use rustix::process::geteuid;

use super::{Choice, next};
use crate::atomic_file;
use crate::config::relay::{self, Listen, RelayFile};
use crate::exit::Usage;
use crate::state;
use crate::terminal;
use crate::unit::{self, Differences, Found, Role, Scope, Unit};

/// Write the unit files of a service, and say how to start it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo cloudless service install relay
  cloudless service install home --user
  sudo cloudless service install home --state /srv/contacts --dry-run

The relay of a machine gets its ports from systemd (a .socket unit, from `listen` in relay.toml),
so that no connection attempt is lost while it is started anew. Run this again after you have moved
the program or changed `listen`: what is as this command wrote it is replaced, what you have edited
is not, unless --force says so. Services of the machine run as users of their own, cloudless-relay
and cloudless-home, or as the owner of the directory that --state names.

A service of your own user runs while you are logged in; `loginctl enable-linger` has it run from
boot on, and after you have logged out. What its environment should hold goes into
~/.config/cloudless/environment; for services of the machine, into /etc/default/cloudless:
  CLOUDLESS_LOG=debug
  HTTPS_PROXY=http://proxy.example.org:3128")]
pub(super) struct Install {
    #[command(flatten)]
    choice: Choice,
    /// Keep its state in DIR [default: /var/lib/cloudless/ROLE, for your own
    /// ~/.local/share/cloudless/ROLE]
    #[arg(long = "state", value_name = "DIR")]
    state: Option<PathBuf>,
    /// Print the unit files and write nothing
    #[arg(long, visible_alias = "print")]
    dry_run: bool,
    /// Overwrite units that were edited, and put them before those of a package
    #[arg(long)]
    force: bool,
}

/// A file that is to be.
struct Planned {
    unit: Unit,
    path: PathBuf,
    /// The unit's text with its seal.
    text: String,
    /// What is there now.
    before: Option<String>,
}

impl Install {
    pub(super) fn run(self) -> anyhow::Result<()> {
        if !self.dry_run {
            self.choice.require_rights("install")?;
        }
        let (role, scope) = (self.choice.role, self.choice.scope());
        let executable = env::current_exe().context("cannot see where this program is")?;
        let state = self.state_directory()?;
        let listen = self.listen(&state)?;
        let owner = self.owner(&state);
        let differences = Differences {
            executable: &executable,
            state: (!self.is_default(&state)).then_some(state.as_path()),
            user: owner.as_deref(),
            listen: listen.as_ref(),
        };
        let planned = self.plan(unit::units(role, scope, &differences)?)?;
        if self.dry_run {
            for file in &planned {
                terminal::data(format_args!("# {}\n{}", file.path.display(), file.text))?;
            }
            next::warn(&self.choice, &differences, &state);
            return Ok(());
        }
        if !self.force {
            self.refuse_edited(&planned)?;
        }
        let mut replaced = Vec::new();
        for file in &planned {
            if write(file)? {
                replaced.push(file.unit.name);
            }
        }
        let user = match (scope, &owner) {
            (Scope::System, None) => make_system_user(role, self.choice.root.as_deref()),
            _ => Ok(()),
        };
        next::warn(&self.choice, &differences, &state);
        next::tell(
            &self.choice,
            &state,
            !self.is_default(&state),
            &replaced,
            user.err(),
        );
        Ok(())
    }

    fn state_directory(&self) -> anyhow::Result<PathBuf> {
        match &self.state {
            Some(directory) => absolute(directory).context("cannot see where --state is"),
            None if self.choice.user => state::default_directory(self.choice.role.name()),
            None => Ok(self.choice.role.system_state()),
        }
    }

    /// Whether the shipped units find the state there.
    fn is_default(&self, state: &Path) -> bool {
        let role = self.choice.role;
        if !self.choice.user {
            return state == role.system_state();
        }
        let home = env::var_os("HOME").map(PathBuf::from);
        home.is_some_and(|home| state == home.join(".local/share/cloudless").join(role.name()))
    }

    /// Where the relay is to listen, if it is set up already.
    fn listen(&self, state: &Path) -> anyhow::Result<Option<Listen>> {
        if self.choice.role != Role::Relay {
            return Ok(None);
        }
        let state = self.choice.place(state);
        match fs::metadata(state.join(relay::FILE)) {
            Ok(_) => Ok(Some(RelayFile::read(&state)?.listen)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                terminal::warning(format_args!(
                    "{} may be read by others only; the ports are the usual ones",
                    state.display()
                ));
                Ok(None)
            }
            Err(_) => Ok(None),
        }
    }

    /// Who owns a state directory that is not the default one: the service runs as that user.
    fn owner(&self, state: &Path) -> Option<String> {
        if self.choice.user || self.is_default(state) {
            return None;
        }
        let uid = fs::metadata(self.choice.place(state)).ok()?.uid();
        if uid == 0 {
            return None;
        }
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        Some(user.map_or_else(|| uid.to_string(), |user| user.name))
    }

    fn plan(&self, units: Vec<Unit>) -> anyhow::Result<Vec<Planned>> {
        let directory = self.choice.directory()?;
        let command = format!(
            "service install {}{}",
            self.choice.role.name(),
            self.choice.flag()
        );
        let plan = |unit: Unit| {
            let path = directory.join(unit.name);
            let before = match fs::read_to_string(&path) {
                Ok(text) => Some(text),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot read {}", path.display()));
                }
            };
            Ok(Planned {
                text: unit::seal(&command, unit.name, &unit.text),
                unit,
                path,
                before,
            })
        };
        units.into_iter().map(plan).collect()
    }

    /// Fails where a file holds what somebody else has written.
    fn refuse_edited(&self, planned: &[Planned]) -> Result<(), Usage> {
        for file in planned {
            let is_edited = |text: &String| unit::look(text) == Found::Edited;
            if file.before.as_ref().is_some_and(is_edited) {
                return Err(Usage(format!(
                    "{} was written or edited by somebody else, and nothing is changed; `systemctl{} \
                     edit {}` keeps what you want otherwise apart from it, --force overwrites it",
                    file.path.display(),
                    self.choice.flag(),
                    file.unit.name
                )));
            }
            if let Some(packaged) = self
                .choice
                .packaged(file.unit.name)
                .filter(|_| file.before.is_none())
            {
                return Err(Usage(format!(
                    "a package has brought {} already: start that with `systemctl{} enable --now {}`; \
                     --force puts one in its place that starts this program",
                    packaged.display(),
                    self.choice.flag(),
                    self.choice.role.main_unit()
                )));
            }
        }
        Ok(())
    }
}

/// Writes a unit unless it is as it should be, tells so, and returns whether another was replaced.
fn write(file: &Planned) -> anyhow::Result<bool> {
    let shown = file.path.display();
    if file.before.as_ref() == Some(&file.text) {
        terminal::note(format_args!("unchanged  {shown}"));
        return Ok(false);
    }
    let directory = atomic_file::directory_of(&file.path);
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    atomic_file::publish(&file.path, file.text.as_bytes())?;
    let what = if file.before.is_some() {
        "replaced   "
    } else {
        "wrote      "
    };
    terminal::note(format_args!("{what}{shown}"));
    Ok(file.before.is_some())
}

/// Makes the system user that the service runs as, unless there is one; or says what does.
fn make_system_user(role: Role, root: Option<&Path>) -> Result<(), String> {
    let name = role.system_user();
    let is_there = match root {
        None => User::from_name(name).ok().flatten().is_some(),
        Some(root) => {
            let users = fs::read_to_string(root.join("etc/passwd")).unwrap_or_default();
            users
                .lines()
                .any(|line| line.split(':').next() == Some(name))
        }
    };
    if is_there {
        return Ok(());
    }
    let mut command = Command::new("systemd-sysusers");
    if let Some(root) = root {
        command.arg(format!("--root={}", root.display()));
    }
    let made = command
        .arg("--inline")
        .arg(role.system_user_line())
        .output();
    if made.is_ok_and(|output| output.status.success()) {
        terminal::note(format_args!("made       the system user {name}"));
        return Ok(());
    }
    let below = root.map_or_else(String::new, |root| format!(" --root {}", root.display()));
    Err(format!(
        "useradd{below} --system --home-dir {} --shell /usr/sbin/nologin {name}",
        role.system_state().display()
    ))
}

/// Whether the caller became root by sudo, and has a state of their own.
pub(super) fn state_of_sudoer(role: Role) -> Option<(String, PathBuf)> {
    if !geteuid().is_root() {
        return None;
    }
    let name = env::var("SUDO_USER").ok()?;
    let user = User::from_name(&name).ok().flatten()?;
    let state = user.dir.join(".local/share/cloudless").join(role.name());
    let is_set_up = state.join(role.config_file()).exists();
    (!user.uid.is_root() && is_set_up).then_some((name, state))
}
