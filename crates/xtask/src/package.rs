//! What packages are made of: man pages, completions, and Debian's package itself.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::step;
use crate::tool::Tool;
use crate::workspace::Workspace;

const CARGO_DEB: Tool = Tool {
    name: "cargo-deb",
    version: "3.8.0",
};

/// Shells, and what each wants its file to be called.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "cloudless.bash"),
    ("zsh", "_cloudless"),
    ("fish", "cloudless.fish"),
];

/// How the binary is built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quickly, for tests.
    Dev,
    Release,
}

/// Writes man pages and completions into `target/package`.
pub(crate) fn pages(workspace: &Workspace, profile: Profile) -> Result<()> {
    let mut build = Command::new("cargo");
    build.current_dir(&workspace.root).args([
        "build",
        "--locked",
        "--quiet",
        "--package",
        "cloudless",
    ]);
    if profile == Profile::Release {
        build.arg("--release");
    }
    step::run(&mut build)?;
    let folder = match profile {
        Profile::Dev => "debug",
        Profile::Release => "release",
    };
    let binary = workspace.target(folder).join("cloudless");
    let package = workspace.target("package");
    // Of a command that is gone no page is left.
    if package.exists() {
        fs::remove_dir_all(&package).with_context(|| format!("remove {}", package.display()))?;
    }
    let completions = package.join("completions");
    fs::create_dir_all(&completions).with_context(|| format!("make {}", completions.display()))?;
    step::run(
        Command::new(&binary)
            .arg("man-pages")
            .arg(package.join("man")),
    )?;
    for (shell, name) in COMPLETIONS {
        let output = Command::new(&binary)
            .args(["completions", shell])
            .output()
            .with_context(|| format!("start {}", binary.display()))?;
        if !output.status.success() {
            bail!("`cloudless completions {shell}`: {}", output.status);
        }
        let path = completions.join(name);
        fs::write(&path, output.stdout).with_context(|| format!("write {}", path.display()))?;
    }
    println!("man pages and completions are in {}", package.display());
    Ok(())
}

/// Makes Debian's package and returns where it is; `None` where its tool cannot be had.
pub(crate) fn deb(workspace: &Workspace, profile: Profile) -> Result<Option<PathBuf>> {
    let Some(program) = CARGO_DEB.prepare(workspace)? else {
        return Ok(None);
    };
    pages(workspace, profile)?;
    let path = workspace.target("package").join("cloudless.deb");
    let mut command = Command::new(program);
    command
        .current_dir(&workspace.root)
        .args([
            "--package",
            "cloudless",
            "--no-build",
            "--quiet",
            "--output",
        ])
        .arg(&path);
    if profile == Profile::Dev {
        // It is packed quickly, as nobody keeps it.
        command.args(["--profile", "dev", "--fast"]);
    }
    step::run(&mut command)?;
    println!("the package is {}", path.display());
    Ok(Some(path))
}
