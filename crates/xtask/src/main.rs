//! Project automation: `cargo xtask tidy | test | acceptance | bench | man | deb | security-table`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks on its standard streams"
)]

mod acceptance;
mod bench;
mod debian;
mod dependencies;
mod other_systems;
mod package;
mod python;
mod security_table;
mod step;
mod test;
mod tidy;
mod tool;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Automation of the cloudless project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check crate walls, source rules, words and links
    Tidy,
    /// Install what the tests need and run every check and test
    Test {
        /// Run only the tests whose name contains this, and no other check
        filter: Option<String>,
    },
    /// Run the tests, then the suites that take long
    Acceptance,
    /// Measure speed and memory of a release build, and print tables
    Bench(bench::Options),
    /// Write man pages and shell completions into target/package
    Man,
    /// Make a package for Debian, target/package/cloudless.deb, of a release build
    Deb,
    /// Write the table of trust levels in docs/security.md anew
    SecurityTable,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    if let Command::Bench(options) = &command
        && let Some(role) = options.role()
    {
        // What is measured has begun: it shares its processor with this.
        return bench::be(role);
    }
    let workspace = Workspace::load()?;
    match command {
        Command::Tidy => tidy::run(&workspace),
        Command::Test { filter } => test::run(&workspace, filter.as_deref()),
        Command::Acceptance => acceptance::run(&workspace),
        Command::Bench(options) => bench::run(&workspace, &options),
        Command::Man => package::pages(&workspace, package::Profile::Dev),
        Command::Deb => package::deb(&workspace, package::Profile::Release).map(drop),
        Command::SecurityTable => security_table::run(&workspace),
    }
}
