//! Asking systemd, where it runs.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::unit::Scope;

/// Whether systemd is what this machine was booted with.
pub(super) fn is_running() -> bool {
    sd_notify::booted().unwrap_or(false)
}

fn systemctl(scope: Scope) -> Command {
    let mut command = Command::new("systemctl");
    if scope == Scope::User {
        command.arg("--user");
    }
    command
        .args(["--no-pager", "--no-ask-password"])
        .stdin(Stdio::null());
    command
}

/// Has systemd do something.
pub(super) fn run(scope: Scope, arguments: &[&str]) -> anyhow::Result<()> {
    let output = systemctl(scope)
        .args(arguments)
        .output()
        .context("cannot start systemctl")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "systemctl {}: {}",
            arguments.join(" "),
            said.trim().replace('\n', "; ")
        );
    }
    Ok(())
}

/// Some properties of a unit; what systemd does not tell is missing.
pub(super) fn show(
    scope: Scope,
    unit: &str,
    properties: &[&str],
) -> anyhow::Result<BTreeMap<String, String>> {
    let output = systemctl(scope)
        .args([
            "show",
            &format!("--property={}", properties.join(",")),
            unit,
        ])
        .output()
        .context("cannot start systemctl")?;
    if !output.status.success() {
        bail!(
            "systemctl show: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    Ok(pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect())
}
