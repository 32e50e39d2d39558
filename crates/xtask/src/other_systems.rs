//! Whether relay and home can be built where bytes are copied and not spliced.

use std::process::Command;

use anyhow::Result;

use crate::step;
use crate::workspace::Workspace;

const TARGETS: &[&str] = &["aarch64-apple-darwin", "x86_64-unknown-freebsd"];

/// Checks both roles for each system. Nothing is linked, so that no C compiler for it is needed: what
/// stands in for it compiles nothing.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    for target in TARGETS {
        if !step::succeeds(Command::new("rustup").args(["target", "add", target])) {
            step::missing(&format!("no standard library for {target}"))?;
            continue;
        }
        let of_target = |tool: &str| format!("{tool}_{}", target.replace('-', "_"));
        step::run(
            Command::new("cargo")
                .current_dir(&workspace.root)
                .args(["check", "--quiet", "--locked"])
                .args(["-p", "cloudless-relay", "-p", "cloudless-home"])
                .args(["--target", target, "--target-dir", "target/elsewhere"])
                .env("RUSTFLAGS", "--deny warnings")
                .envs(["CC", "CXX", "AR"].map(|tool| (of_target(tool), "true"))),
        )?;
    }
    Ok(())
}
