//! Rules for dependencies (`deny.toml`), checked by cargo-deny.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::step;
use crate::workspace::Workspace;

const VERSION: &str = "0.20.2";

/// Checks bans, licenses and sources, and advisories where their database can be had.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let Some(program) = prepare(workspace)? else {
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

/// Finds cargo-deny, or builds it under `target/tools`: about a minute, once.
fn prepare(workspace: &Workspace) -> Result<Option<PathBuf>> {
    let root = workspace.target("tools");
    let own = root.join("bin").join("cargo-deny");
    for program in [PathBuf::from("cargo-deny"), own.clone()] {
        if has_version(&program) {
            return Ok(Some(program));
        }
    }
    // A debug build checks this workspace in a second, and takes a third of the time to build.
    let installed = step::run(
        Command::new("cargo")
            .args([
                "install",
                "--quiet",
                "--locked",
                "--debug",
                "--version",
                VERSION,
                "--root",
            ])
            .arg(&root)
            .arg("cargo-deny"),
    );
    match installed {
        Ok(()) => Ok(Some(own)),
        Err(error) => {
            step::missing(&format!(
                "cargo-deny {VERSION} cannot be installed: {error:#}"
            ))?;
            Ok(None)
        }
    }
}

fn has_version(program: &PathBuf) -> bool {
    Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|it| it.stdout.trim_ascii() == format!("cargo-deny {VERSION}").as_bytes())
}
