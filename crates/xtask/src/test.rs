//! `cargo xtask test`: everything that must pass before a change lands.

use std::num::NonZero;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::step::{self, Steps};
use crate::workspace::Workspace;
use crate::{debian, dependencies, python, tidy};

/// Runs all checks and tests, or only the tests whose name contains `filter`.
pub(crate) fn run(workspace: &Workspace, filter: Option<&str>) -> Result<()> {
    let mut steps = Steps::default();
    let tools = prepare(workspace, &mut steps);
    if let Some(filter) = filter {
        steps.run("tests", || {
            step::run(tools.tests(workspace, Profile::Default).arg(filter))
        });
        return steps.finish();
    }
    steps.run("format", || {
        step::run(cargo(workspace).args(["fmt", "--all", "--check"]))
    });
    steps.run("tidy", || tidy::run(workspace));
    steps.run("dependencies", || dependencies::check(workspace));
    steps.run("clippy", || {
        step::run(
            cargo(workspace)
                .args([
                    "clippy",
                    "--quiet",
                    "--locked",
                    "--workspace",
                    "--all-targets",
                ])
                .args(["--", "--deny", "warnings"]),
        )
    });
    // They are no members of the workspace. Only fuzzing itself needs a nightly compiler.
    let fuzz = |command: &[&str]| {
        step::run(
            cargo(workspace)
                .args(command)
                .args(["--quiet", "--locked"])
                .args(["--manifest-path", "fuzz/Cargo.toml"])
                .args(["--target-dir", "target/fuzz"]),
        )
    };
    steps.run("fuzz targets", || fuzz(&["build"]));
    steps.run("fuzz seeds", || fuzz(&["test", "--lib"]));
    // Last, so that a reader finds the count of tests at the end.
    steps.run("documentation tests", || {
        step::run(cargo(workspace).args(["test", "--quiet", "--locked", "--workspace", "--doc"]))
    });
    steps.run("tests", || {
        step::run(&mut tools.tests(workspace, Profile::Default))
    });
    steps.finish()
}

/// How long tests may take; the names are those of `.config/nextest.toml`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Default,
    Acceptance,
}

/// Prepared programs that tests are told about in environment variables.
pub(crate) struct Tools {
    /// The programs of the Python environment.
    python: Option<PathBuf>,
    /// The programs of the environment with servers.
    peers: Option<PathBuf>,
    has_nextest: bool,
}

/// Installs what the tests need, or says what is missing.
pub(crate) fn prepare(workspace: &Workspace, steps: &mut Steps) -> Tools {
    steps.run("programs", || debian::prepare(debian::TESTS));
    steps.run("test data", || test_data(workspace));
    let (mut python, mut peers) = (None, None);
    steps.run("Python packages", || {
        for (environment, bin, what) in [
            (python::TESTS, &mut python, "vdirsyncer, khard"),
            (python::PEERS, &mut peers, "Radicale, Xandikos, aiohttp"),
        ] {
            match environment.prepare(workspace) {
                Ok(found) => *bin = Some(found),
                Err(error) => step::missing(&format!("{what}: {error:#}"))?,
            }
        }
        Ok(())
    });
    let has_nextest = step::succeeds(Command::new("cargo").args(["nextest", "--version"]));
    Tools {
        python,
        peers,
        has_nextest,
    }
}

/// Says which tests check nothing on this machine: what a test itself says is shown only when it
/// fails.
fn test_data(workspace: &Workspace) -> Result<()> {
    let corpus = workspace.root.join("../shared/corpus");
    if !corpus.is_dir() {
        step::missing("../shared/corpus: nothing is tested with real cards and ClientHellos")?;
    }
    if !debian::is_root()? {
        step::missing("root: nothing is tested between machines in network namespaces")?;
    }
    Ok(())
}

impl Tools {
    /// The command that runs the workspace's tests; arguments may be added to it.
    pub(crate) fn tests(&self, workspace: &Workspace, profile: Profile) -> Command {
        let mut command = cargo(workspace);
        if self.has_nextest {
            command.args(["nextest", "run", "--locked", "--workspace", "--all-targets"]);
            command.args(["--status-level", "slow", "--final-status-level", "fail"]);
            command.args(["--test-threads", &n_at_once().to_string()]);
            if profile == Profile::Acceptance {
                command.args(["--profile", "acceptance"]);
            }
        } else {
            command.args([
                "test",
                "--locked",
                "--workspace",
                "--all-targets",
                "--no-fail-fast",
            ]);
        }
        if let Some(bin) = &self.python {
            command.env("CLOUDLESS_VDIRSYNCER", bin.join("vdirsyncer"));
            command.env("CLOUDLESS_KHARD", bin.join("khard"));
        }
        if let Some(bin) = &self.peers {
            command.env("CLOUDLESS_PEERS", bin);
        }
        command
    }
}

/// How many tests run at once. Many of them wait for clocks and other machines: with one for each
/// processor, two were idle for a quarter of the time.
fn n_at_once() -> usize {
    let n_processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    n_processors + n_processors.div_ceil(2)
}

fn cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(&workspace.root);
    command
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::*;

    /// Without it, a machine that lacks root, gdb or a CA for tests would be green.
    #[test]
    fn the_script_of_ci_runs_all_tests_and_says_that_nothing_may_be_missing() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let programs = tempfile::tempdir().unwrap();
        let cargo = programs.path().join("cargo");
        fs::write(&cargo, "#!/bin/sh\necho \"$CI: $*\"\n").unwrap();
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", programs.path().display());
        let said = |ci: Option<&str>| {
            let mut script = Command::new(root.join(".ci/run"));
            script.env("PATH", &path).env_remove("CI");
            script.envs(ci.map(|it| ("CI", it)));
            String::from_utf8(script.output().unwrap().stdout).unwrap()
        };
        assert_eq!(said(None), "true: xtask test\n");
        assert_eq!(said(Some("woodpecker")), "woodpecker: xtask test\n");
    }
}
