//! Project automation: `cargo xtask tidy | test | acceptance | bench`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks on its standard streams"
)]

mod acceptance;
mod debian;
mod dependencies;
mod python;
mod step;
mod test;
mod tidy;
mod workspace;

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
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let workspace = Workspace::load()?;
    match arguments.command {
        Command::Tidy => tidy::run(&workspace),
        Command::Test { filter } => test::run(&workspace, filter.as_deref()),
        Command::Acceptance => acceptance::run(&workspace),
    }
}
