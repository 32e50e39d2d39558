//! `cloudless service`: relay or home as a service of systemd.

mod install;
mod next;
mod status;
mod systemctl;
mod uninstall;

use std::env;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use rustix::process::geteuid;

use crate::exit::Usage;
use crate::unit::{Role, Scope};

/// Run relay or home as a service of systemd
#[derive(Debug, Args)]
#[command(
    name = "service",
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  sudo cloudless service install relay
  cloudless service install home --user
  cloudless service status home --user
  sudo cloudless service uninstall relay"
)]
pub(super) struct Units {
    #[command(subcommand)]
    command: UnitsCommand,
}

#[derive(Debug, Subcommand)]
enum UnitsCommand {
    Install(install::Install),
    Uninstall(uninstall::Uninstall),
    Status(status::Status),
}

impl Units {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self.command {
            UnitsCommand::Install(install) => install.run(),
            UnitsCommand::Uninstall(uninstall) => uninstall.run(),
            UnitsCommand::Status(status) => status.run(),
        }
    }
}

/// Which service is meant.
#[derive(Debug, Args)]
struct Choice {
    /// The relay, or home
    #[arg(value_enum, value_name = "ROLE", hide_possible_values = true)]
    role: Role,
    /// A service of your own user, which needs no root, instead of one of the machine
    #[arg(long)]
    user: bool,
    /// Work on the system below DIR, such as an image, instead of this one
    #[arg(long, value_name = "DIR", conflicts_with = "user")]
    root: Option<PathBuf>,
}

impl Choice {
    fn scope(&self) -> Scope {
        if self.user {
            Scope::User
        } else {
            Scope::System
        }
    }

    /// The flags as they have to be repeated in the next command, with a space before them.
    fn flag(&self) -> &'static str {
        if self.user { " --user" } else { "" }
    }

    /// A path of the system that is worked on.
    fn place(&self, path: &Path) -> PathBuf {
        match (&self.root, path.strip_prefix("/")) {
            (Some(root), Ok(below)) => root.join(below),
            _ => path.to_owned(),
        }
    }

    /// Where unit files are that a person writes.
    fn directory(&self) -> Result<PathBuf, Usage> {
        if !self.user {
            return Ok(self.place(Path::new("/etc/systemd/system")));
        }
        let absolute = |variable: &str| {
            let path = env::var_os(variable).map(PathBuf::from);
            path.filter(|path| path.is_absolute())
        };
        absolute("XDG_CONFIG_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".config")))
            .map(|config| config.join("systemd/user"))
            .ok_or_else(|| Usage("neither XDG_CONFIG_HOME nor HOME is set".to_owned()))
    }

    /// Where a package has put a unit, if one has.
    fn packaged(&self, name: &str) -> Option<PathBuf> {
        let folder = if self.user { "user" } else { "system" };
        let below = |root| self.place(&Path::new(root).join("systemd").join(folder).join(name));
        ["/usr/lib", "/usr/local/lib", "/lib"]
            .map(below)
            .into_iter()
            .find(|path| path.exists())
    }

    /// Fails unless the caller may change units.
    fn require_rights(&self, verb: &str) -> Result<(), Usage> {
        let name = self.role.name();
        if self.user && geteuid().is_root() {
            return Err(Usage(format!(
                "root needs no service of its own: leave --user out for one of the machine, or run \
                 this as the user whose service it is to be: `cloudless service {verb} {name} --user`"
            )));
        }
        if self.user || self.root.is_some() || geteuid().is_root() {
            return Ok(());
        }
        Err(Usage(format!(
            "a service of the machine takes root: `sudo cloudless service {verb} {name}`\n  one of \
             your own user does not: `cloudless service {verb} {name} --user`"
        )))
    }
}
