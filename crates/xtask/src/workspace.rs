//! The workspace as `cargo metadata` and git see it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// Everything the commands need to know about the checkout.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// The target directory, wherever cargo was told to put it.
    pub(crate) target: PathBuf,
    pub(crate) members: Vec<Member>,
    /// Normal dependencies of every package, by name; versions are folded together.
    pub(crate) graph: BTreeMap<String, BTreeSet<String>>,
}

/// One crate of the workspace.
#[derive(Default)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// Relative to the root, as in `crates/cloudless-proto`.
    pub(crate) folder: String,
    pub(crate) description: Option<String>,
    /// The text of its `Cargo.toml`.
    pub(crate) manifest: String,
    /// Direct dependencies that are no dev-dependencies.
    pub(crate) dependencies: BTreeSet<String>,
}

impl Workspace {
    /// Asks cargo, which resolves exactly what `Cargo.lock` says.
    pub(crate) fn load() -> Result<Self> {
        let output = Command::new("cargo")
            .args(["metadata", "--format-version", "1", "--locked"])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .output()
            .context("run `cargo metadata`")?;
        ensure!(
            output.status.success(),
            "`cargo metadata --locked` failed; if a dependency changed, run `cargo check` once so \
             that Cargo.lock follows:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let metadata: Metadata = serde_json::from_slice(&output.stdout)
            .context("read the answer of `cargo metadata`")?;
        metadata.into_workspace()
    }

    /// Files that git tracks or would track, relative to the root, sorted.
    pub(crate) fn files(&self) -> Result<Vec<String>> {
        let output = Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
                "--deduplicate",
            ])
            .current_dir(&self.root)
            .output()
            .context("run `git ls-files`")?;
        ensure!(
            output.status.success(),
            "`git ls-files` failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let listing = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
        let mut files: Vec<String> = listing
            .split_terminator('\0')
            .filter(|path| self.root.join(path).is_file())
            .map(str::to_owned)
            .collect();
        files.sort();
        Ok(files)
    }

    /// `target/NAME`, where prepared tools live between runs.
    pub(crate) fn target(&self, name: &str) -> PathBuf {
        self.target.join(name)
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
    workspace_members: BTreeSet<String>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    description: Option<String>,
    manifest_path: PathBuf,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Resolved>,
}

#[derive(Deserialize)]
struct Resolved {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// `None` for a normal dependency, else "dev" or "build".
    kind: Option<String>,
}

impl Metadata {
    fn into_workspace(self) -> Result<Workspace> {
        let names: BTreeMap<&str, &str> = self
            .packages
            .iter()
            .map(|it| (it.id.as_str(), it.name.as_str()))
            .collect();
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in &self.resolve.nodes {
            let reached = graph.entry(names[node.id.as_str()].to_owned()).or_default();
            for dependency in &node.deps {
                if dependency.dep_kinds.iter().any(|it| it.kind.is_none()) {
                    reached.insert(names[dependency.pkg.as_str()].to_owned());
                }
            }
        }
        let mut members = Vec::new();
        for package in self
            .packages
            .iter()
            .filter(|it| self.workspace_members.contains(&it.id))
        {
            let manifest = fs::read_to_string(&package.manifest_path)
                .with_context(|| format!("read {}", package.manifest_path.display()))?;
            let folder = package
                .manifest_path
                .parent()
                .unwrap_or_else(|| Path::new(""));
            members.push(Member {
                name: package.name.clone(),
                folder: folder
                    .strip_prefix(&self.workspace_root)
                    .unwrap_or(folder)
                    .to_string_lossy()
                    .into_owned(),
                description: package.description.clone(),
                manifest,
                dependencies: graph.get(&package.name).cloned().unwrap_or_default(),
            });
        }
        Ok(Workspace {
            root: self.workspace_root,
            target: self.target_directory,
            members,
            graph,
        })
    }
}
