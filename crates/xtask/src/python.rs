//! Python virtual environments under `target/`, with pinned packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::step;
use crate::workspace::Workspace;

/// A virtual environment and what belongs into it.
pub(crate) struct Environment {
    /// Its folder under `target/`.
    pub(crate) folder: &'static str,
    /// The pinned packages, in the format of pip.
    pub(crate) requirements: &'static str,
}

/// What the tests call.
pub(crate) const TESTS: Environment = Environment {
    folder: "venv",
    requirements: include_str!("../requirements.txt"),
};

/// The servers that the benchmark compares with.
pub(crate) const PEERS: Environment = Environment {
    folder: "venv-peers",
    requirements: include_str!("../requirements-peers.txt"),
};

impl Environment {
    /// Creates or updates the environment; free when it is up to date.
    ///
    /// # Errors
    /// No Python with `venv`, or a package that cannot be installed.
    pub(crate) fn prepare(&self, workspace: &Workspace) -> Result<PathBuf> {
        let folder = workspace.target(self.folder);
        let stamp = folder.join("requirements.installed");
        let bin = folder.join("bin");
        if fs::read_to_string(&stamp).is_ok_and(|it| it == self.requirements) {
            return Ok(bin);
        }
        step::run(
            Command::new(python()?)
                .args(["-m", "venv", "--clear"])
                .arg(&folder),
        )?;
        let list = folder.join("requirements.txt");
        write(&list, self.requirements)?;
        step::run(
            Command::new(bin.join("python"))
                .args(["-m", "pip", "install", "--quiet", "--no-input"])
                .args(["--disable-pip-version-check", "--no-deps", "--requirement"])
                .arg(&list),
        )?;
        step::run(Command::new(bin.join("python")).args(["-m", "pip", "check"]))?;
        // Written last: an interrupted installation starts over.
        write(&stamp, self.requirements)?;
        Ok(bin)
    }
}

/// The first Python that can make environments; a version manager's one may lack `ensurepip`.
fn python() -> Result<&'static str> {
    for candidate in ["python3", "/usr/bin/python3"] {
        if step::succeeds(Command::new(candidate).args(["-c", "import ensurepip, venv"])) {
            return Ok(candidate);
        }
    }
    bail!("no python3 with venv; on Debian: sudo apt-get install python3 python3-venv");
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_pinned() {
        for line in TESTS.requirements.lines().filter(|it| !it.starts_with('#')) {
            assert!(
                line.split_once("==")
                    .is_some_and(|(_, version)| !version.is_empty()),
                "{line}"
            );
        }
    }
}
