//! Units for systemd. The ones in `packaging/systemd` are what packages ship; here they are changed
//! to where a machine has its binary and its state.

mod listen;
mod quote;
mod seal;
mod text;

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::config::home::FILE as HOME_FILE;
use crate::config::relay::{FILE as RELAY_FILE, Listen};
use crate::exit::Usage;

pub(crate) use seal::{Found, look, seal};
use text::Text;

/// Where packages put the binary.
const SHIPPED_EXECUTABLE: &str = "/usr/bin/cloudless";
/// What a service does not see, for `ProtectHome=` and `PrivateTmp=`.
const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];
const SYSTEM_USERS: &str = include_str!("../../../packaging/sysusers.d/cloudless.conf");

/// What runs as a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// On the server with a public address
    Relay,
    /// On the machine that keeps the contacts
    Home,
}

/// Whose manager runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The machine's, from boot on.
    System,
    /// A user's own.
    User,
}

/// A unit file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) name: &'static str,
    pub(crate) text: String,
}

/// How a machine differs from what packages expect.
pub(crate) struct Differences<'a> {
    pub(crate) executable: &'a Path,
    /// Where the state is, if not in the default directory.
    pub(crate) state: Option<&'a Path>,
    /// Who runs the service, if not the system user that is made for it.
    pub(crate) user: Option<&'a str>,
    /// Where the relay listens, if that is known.
    pub(crate) listen: Option<&'a Listen>,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Home => "home",
        }
    }

    /// The file without which it does not start.
    pub(crate) fn config_file(self) -> &'static str {
        match self {
            Self::Relay => RELAY_FILE,
            Self::Home => HOME_FILE,
        }
    }

    /// The system user that it runs as, unless its state belongs to somebody else.
    pub(crate) fn system_user(self) -> &'static str {
        match self {
            Self::Relay => "cloudless-relay",
            Self::Home => "cloudless-home",
        }
    }

    /// That user as sysusers.d(5) wants it.
    pub(crate) fn system_user_line(self) -> &'static str {
        let mut lines = SYSTEM_USERS.lines();
        let is_own = |line: &&str| line.split(' ').nth(1) == Some(self.system_user());
        lines.find(is_own).unwrap_or_default()
    }

    /// Where the machine's own service keeps its state.
    pub(crate) fn system_state(self) -> PathBuf {
        Path::new("/var/lib/cloudless").join(self.name())
    }

    fn shipped_state(self, scope: Scope) -> String {
        match scope {
            Scope::System => self.system_state().display().to_string(),
            Scope::User => format!("%h/.local/share/cloudless/{}", self.name()),
        }
    }

    /// What packages ship: names and texts.
    pub(crate) fn shipped(self, scope: Scope) -> &'static [(&'static str, &'static str)] {
        macro_rules! unit {
            ($folder:literal, $name:literal) => {
                (
                    $name,
                    include_str!(concat!("../../../packaging/systemd/", $folder, "/", $name)),
                )
            };
        }
        match (self, scope) {
            (Self::Relay, Scope::System) => &[
                unit!("system", "cloudless-relay.service"),
                unit!("system", "cloudless-relay.socket"),
            ],
            (Self::Home, Scope::System) => &[unit!("system", "cloudless-home.service")],
            (Self::Relay, Scope::User) => &[unit!("user", "cloudless-relay.service")],
            (Self::Home, Scope::User) => &[unit!("user", "cloudless-home.service")],
        }
    }

    /// The unit that brings all others with it.
    pub(crate) fn main_unit(self) -> &'static str {
        match self {
            Self::Relay => "cloudless-relay.service",
            Self::Home => "cloudless-home.service",
        }
    }
}

/// The units of a role on this machine.
///
/// # Errors
/// When a path cannot be written in a unit, or the relay's ports are not known before it starts.
pub(crate) fn units(
    role: Role,
    scope: Scope,
    differences: &Differences<'_>,
) -> Result<Vec<Unit>, Usage> {
    let adapt = |(name, shipped): &(&'static str, &str)| {
        let mut text = Text::new(shipped);
        if let Some(state) = differences.state {
            let file = quote::plain(&state.join(role.config_file()))?;
            text.set("ConditionPathExists", &file);
        }
        if name.ends_with(".socket") {
            if let Some(listen) = differences.listen {
                let (streams, only_ipv6) = listen::streams(listen)?;
                text.set_all("ListenStream", &streams);
                text.set("BindIPv6Only", only_ipv6);
            }
        } else {
            adapt_service(&mut text, role, scope, differences)?;
        }
        Ok(Unit {
            name,
            text: text.into_string(),
        })
    };
    role.shipped(scope).iter().map(adapt).collect()
}

fn adapt_service(
    text: &mut Text,
    role: Role,
    scope: Scope,
    differences: &Differences<'_>,
) -> Result<(), Usage> {
    let executable = quote::executable(differences.executable)?;
    let state = match differences.state {
        Some(state) => quote::argument(state)?,
        None => role.shipped_state(scope),
    };
    let name = role.name();
    text.set(
        "ExecStart",
        &format!("{executable} {name} run --state {state}"),
    );
    text.set(
        "ExecReload",
        &format!("{executable} {name} reload --state {state}"),
    );
    if scope == Scope::User {
        return Ok(());
    }
    if let Some(state) = differences.state {
        text.remove("StateDirectory");
        text.remove("StateDirectoryMode");
        let key = if is_hidden(state) {
            "BindPaths"
        } else {
            "ReadWritePaths"
        };
        text.insert_after("UMask", &format!("{key}={}", quote::listed(state)?));
    }
    if let Some(user) = differences.user {
        text.set("User", user);
    }
    if is_hidden(differences.executable) {
        let path = quote::listed(differences.executable)?;
        text.insert_after("UMask", &format!("BindReadOnlyPaths={path}"));
    }
    let paths = [Some(differences.executable), differences.state];
    if paths.into_iter().flatten().any(is_hidden) {
        text.set("ProtectHome", "tmpfs");
    }
    Ok(())
}

/// Whether a service of the machine has to be shown this path.
pub(crate) fn is_hidden(path: &Path) -> bool {
    path.to_str() != Some(SHIPPED_EXECUTABLE) && HIDDEN.iter().any(|it| path.starts_with(it))
}

#[cfg(test)]
mod tests;
