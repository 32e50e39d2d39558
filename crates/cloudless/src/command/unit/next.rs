//! What an installation says to its end.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::User;
use rustix::process::geteuid;

use super::install::state_of_sudoer;
use super::{Choice, systemctl};
use crate::command::choice::quoted;
use crate::terminal::{self, BOLD};
use crate::unit::{self, Differences, Role};

/// Warns of what would keep the service from its work, or let others do it in its name.
pub(super) fn warn(choice: &Choice, differences: &Differences<'_>, state: &Path) {
    let executable = differences.executable;
    if let Some((path, why)) = untrusted(choice, executable) {
        terminal::warning(format_args!(
            "the service starts {}, and {} {why}: who can change it can be the service\n  better: \
             {BOLD}sudo install -m 755 {} /usr/local/bin/cloudless{BOLD:#}, and this again with that",
            executable.display(),
            path.display(),
            quoted(&executable.to_string_lossy())
        ));
    }
    if choice.user {
        warn_of_ports(differences);
        return;
    }
    let service_user = differences
        .user
        .unwrap_or_else(|| choice.role.system_user());
    if let Some(closed) = closed(choice, state, service_user) {
        terminal::warning(format_args!(
            "{0} lets nobody in but its owner, and the service runs as {service_user}: chmod o+x {0}",
            quoted(&closed.to_string_lossy())
        ));
    }
    if let Some((name, own)) = state_of_sudoer(choice.role).filter(|(_, own)| own != state) {
        let role = choice.role.name();
        terminal::warning(format_args!(
            "{name} has a {role} in {0}, and this service runs another, in {1}\n  for {name}'s: \
             {BOLD}--state {2}{BOLD:#}, or without root {BOLD}cloudless service install {role} --user{BOLD:#}",
            own.display(),
            state.display(),
            quoted(&own.to_string_lossy())
        ));
    }
}

/// Says what comes next. `command_for_user` makes the system user, where that is still to be done.
pub(super) fn tell(
    choice: &Choice,
    state: &Path,
    is_elsewhere: bool,
    replaced: &[&str],
    command_for_user: Option<String>,
) {
    let (role, flag) = (choice.role, choice.flag());
    let main = role.main_unit();
    // Who called sudo is not root in the next line.
    let is_sudo = !geteuid().is_root() || env::var_os("SUDO_USER").is_some();
    let root = if is_sudo && !choice.user { "sudo " } else { "" };
    let mut steps = Vec::new();
    if let Some(command) = command_for_user {
        steps.push(format!("{root}{command}"));
    }
    if !choice.place(state).join(role.config_file()).exists() {
        let state = match is_elsewhere {
            true => format!(" --state {}", quoted(&state.to_string_lossy())),
            false => String::new(),
        };
        steps.push(match role {
            Role::Relay => format!("{root}cloudless relay init{state}"),
            Role::Home => format!("{root}cloudless home join CODE{state}"),
        });
    }
    if is_elsewhere && is_roots(&choice.place(state)) && !choice.user {
        let user = role.system_user();
        let state = quoted(&state.to_string_lossy());
        steps.push(format!("{root}chown -R {user}: {state}"));
    }
    if let Some(root) = &choice.root {
        let root = quoted(&root.to_string_lossy());
        steps.push(format!("systemctl --root {root} enable {main}"));
    } else {
        if !replaced.is_empty() {
            // A socket unit alone is not restarted while its service has the socket.
            let others = replaced.iter().filter(|name| **name != main);
            let names = [&[main], &Vec::from_iter(others.copied())[..]]
                .concat()
                .join(" ");
            steps.push(format!("{root}systemctl{flag} daemon-reload"));
            steps.push(format!("{root}systemctl{flag} restart {names}"));
        }
        steps.push(format!("{root}systemctl{flag} enable --now {main}"));
        steps.push(format!("cloudless service status {}{flag}", role.name()));
    }
    terminal::note("next:");
    for step in steps {
        terminal::note(format_args!("  {BOLD}{step}{BOLD:#}"));
    }
    if choice.user {
        terminal::note(
            "it runs while you are logged in; to have it run from boot on, and when you are not:",
        );
        terminal::note(format_args!("  {BOLD}loginctl enable-linger{BOLD:#}"));
    }
    if choice.root.is_none() && !systemctl::is_running() {
        terminal::note(
            "systemd does not run on this machine now, as in most containers: the unit is of use \
             where it does",
        );
    }
}

/// Of a user's relay that is to listen where only root may.
fn warn_of_ports(differences: &Differences<'_>) {
    let Some(listen) = differences.listen else {
        return;
    };
    let first_open = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let first_open = first_open.ok().and_then(|it| it.trim().parse().ok());
    let first_open: u16 = first_open.unwrap_or(1024);
    let mut addresses = listen.https.0.iter().chain(&listen.http.0);
    if let Some(address) = addresses.find(|address| address.port() < first_open) {
        terminal::warning(format_args!(
            "relay.toml has the relay listen on {address}, which takes a service of the machine: \
             ports below {first_open} are not for users"
        ));
    }
}

/// The first part of the way to a program that somebody may change who should not.
fn untrusted(choice: &Choice, executable: &Path) -> Option<(PathBuf, &'static str)> {
    let own = geteuid().as_raw();
    let judge = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        let is_trusted = metadata.uid() == 0 || choice.user && metadata.uid() == own;
        // Nobody can put another file in the place of one that is not theirs in such a directory.
        let is_sticky = metadata.is_dir() && metadata.mode() & 0o1000 != 0;
        if !is_trusted {
            Some((path.to_owned(), "belongs to another user than root"))
        } else if metadata.mode() & 0o002 != 0 && !is_sticky {
            Some((path.to_owned(), "can be written by everybody"))
        } else {
            None
        }
    };
    executable.ancestors().find_map(judge)
}

/// The first directory on the way to the state that the service's user cannot pass.
fn closed(choice: &Choice, state: &Path, user: &str) -> Option<PathBuf> {
    if unit::is_hidden(state) {
        return None;
    }
    let uid = User::from_name(user)
        .ok()
        .flatten()
        .map(|user| user.uid.as_raw());
    let above = state.parent()?.ancestors().map(|path| choice.place(path));
    let is_closed = |path: &PathBuf| {
        let Ok(metadata) = fs::metadata(path) else {
            return false;
        };
        metadata.mode() & 0o001 == 0 && Some(metadata.uid()) != uid
    };
    above.into_iter().find(is_closed)
}

/// Whether the directory is there and belongs to root, as when root has set it up.
fn is_roots(state: &Path) -> bool {
    fs::metadata(state).map_or(true, |it| it.uid() == 0)
}
