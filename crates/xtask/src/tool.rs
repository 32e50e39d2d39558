//! Programs for cargo, built once at a pinned version.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::step;
use crate::workspace::Workspace;

/// A program that `cargo install` brings.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

impl Tool {
    /// Finds it, or builds it under `target/tools`: a minute or two, once.
    pub(crate) fn prepare(&self, workspace: &Workspace) -> Result<Option<PathBuf>> {
        let root = workspace.target("tools");
        let own = root.join("bin").join(self.name);
        for program in [PathBuf::from(self.name), own.clone()] {
            if self.is(&program) {
                return Ok(Some(program));
            }
        }
        // What a debug build does here takes it a second or two, and it is built in a third of the time.
        let installed = step::run(
            Command::new("cargo")
                .args(["install", "--quiet", "--locked", "--debug"])
                .args(["--version", self.version, "--root"])
                .arg(&root)
                .arg(self.name),
        );
        match installed {
            Ok(()) => Ok(Some(own)),
            Err(error) => {
                step::missing(&format!(
                    "{} {} cannot be installed: {error:#}",
                    self.name, self.version
                ))?;
                Ok(None)
            }
        }
    }

    /// Whether a program is this tool at this version; some say their name before it.
    fn is(&self, program: &Path) -> bool {
        let output = Command::new(program).arg("--version").output();
        output.is_ok_and(|output| {
            let said = String::from_utf8_lossy(&output.stdout);
            said.split_whitespace().last() == Some(self.version)
        })
    }
}
