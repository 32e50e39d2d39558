//! Rules for dependencies (`deny.toml`), checked by cargo-deny.

use std::process::Command;

use anyhow::Result;

use crate::step;
use crate::tool::Tool;
use crate::workspace::Workspace;

const CARGO_DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
};

/// Checks bans, licenses and sources, and advisories where their database can be had.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let Some(program) = CARGO_DENY.prepare(workspace)? else {
        return Ok(());
    };
    let cargo_deny = || {
        let mut command = Command::new(&program);
        command
            .current_dir(&workspace.root)
            .args(["--locked", "--color", "never"]);
        command
    };
    step::run(cargo_deny().args(["check", "bans", "licenses", "sources"]))?;
    if !step::succeeds(cargo_deny().args(["fetch", "db"])) {
        eprintln!("SKIPPED: advisories, because their database cannot be fetched from here");
        return Ok(());
    }
    step::run(cargo_deny().args(["check", "--disable-fetch", "advisories"]))
}
