//! `cargo xtask acceptance`: the tests, then the suites that take long.

use anyhow::Result;

use crate::bench;
use crate::debian;
use crate::other_systems;
use crate::package;
use crate::step::{self, Steps};
use crate::test::{self, Profile};
use crate::workspace::Workspace;

/// A suite that is too long for every change, and too important to be forgotten.
struct Suite {
    name: &'static str,
    /// Tests whose name contains this are run.
    filter: &'static str,
    /// Tells the tests to take their long form.
    environment: (&'static str, &'static str),
}

const SUITES: &[Suite] = &[Suite {
    name: "faults, many rounds",
    filter: "",
    environment: ("CLOUDLESS_ACCEPTANCE", "1"),
}];

/// Runs everything; the result belongs into the note of the change.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut steps = Steps::default();
    steps.run("cargo xtask test", || test::run(workspace, None));
    let tools = test::prepare(workspace, &mut steps);
    steps.run("programs for long suites", || {
        debian::prepare(debian::ACCEPTANCE)
    });
    steps.run("other systems", || other_systems::check(workspace));
    let mut deb = None;
    steps.run("Debian package", || {
        deb = package::deb(workspace, package::Profile::Dev)?;
        Ok(())
    });
    for suite in SUITES {
        steps.run(suite.name, || {
            let mut tests = tools.tests(workspace, Profile::Acceptance);
            tests.env(suite.environment.0, suite.environment.1);
            if let Some(deb) = &deb {
                tests.env("CLOUDLESS_DEB", deb);
            }
            if !suite.filter.is_empty() {
                tests.arg(suite.filter);
            }
            step::run(&mut tests)
        });
    }
    // So small that it proves only that the benchmark still runs.
    let options = bench::Options {
        plane: None,
        cards: vec![500, 1_000],
        rounds: 1,
        peers: false,
        plot: None,
        bare_server: false,
    };
    steps.run("benchmark, small", || bench::run(workspace, &options));
    let options = bench::Options {
        plane: Some(bench::Plane::Logins(bench::LoginOptions::default())),
        ..options
    };
    steps.run("a right login beside 10,000 wrong ones a second", || {
        bench::run(workspace, &options)
    });
    // Whether attackers get through to the relay, not how fast a busy machine is.
    let options = bench::Options {
        plane: Some(bench::Plane::Relay(bench::RelayOptions::small())),
        ..options
    };
    steps.run("benchmark of the relay with attacks, small", || {
        bench::run(workspace, &options)
    });
    steps.finish()
}
