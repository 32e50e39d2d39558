//! The command line: one file per subcommand.

mod book;
mod choice;
mod completions;
mod contacts;
mod demo;
mod device;
mod home;
mod man_pages;
mod relay;
mod unit;
mod user;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Sync contacts between your own machine and your phone, through a relay that cannot read them
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Try it in a minute, on this machine alone:
  cloudless demo

Set it up, on a server with a public address:
  cloudless relay init
  cloudless relay invite contacts.example.org
  cloudless relay run

and on the machine at home that keeps the contacts:
  cloudless home join CODE
  cloudless user add me
  cloudless device add me phone
  cloudless home run

or, in the place of `run`, as services of systemd: cloudless service install relay|home

Environment: CLOUDLESS_LOG (or RUST_LOG) chooses what is logged, CLOUDLESS_LOG_FORMAT=json has relay
and home log one JSON object a line, NO_COLOR turns colors off.
Exit status: 0 done, 1 failed, 64 wrong usage or a bad config file (nothing was started)."
)]
pub(crate) struct Cloudless {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Relay(relay::Relay),
    Home(home::Home),
    User(user::User),
    Device(device::Device),
    Book(book::Book),
    Contacts(contacts::Contacts),
    Service(unit::Units),
    Completions(completions::Completions),
    ManPages(man_pages::ManPages),
    Demo(demo::Demo),
}

impl Cloudless {
    /// Whether this is a relay or a home that runs until it is stopped.
    pub(crate) fn is_role(&self) -> bool {
        match &self.command {
            Command::Relay(relay) => relay.is_role(),
            Command::Home(home) => home.is_role(),
            Command::User(_)
            | Command::Device(_)
            | Command::Book(_)
            | Command::Contacts(_)
            | Command::Service(_)
            | Command::Completions(_)
            | Command::ManPages(_)
            | Command::Demo(_) => false,
        }
    }

    /// Does what the arguments ask for.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Relay(relay) => relay.run()?,
            Command::Home(home) => home.run()?,
            Command::User(user) => user.run()?,
            Command::Device(device) => device.run()?,
            Command::Book(book) => book.run()?,
            Command::Contacts(contacts) => contacts.run()?,
            Command::Service(units) => units.run()?,
            Command::Completions(completions) => completions.run()?,
            Command::ManPages(man_pages) => man_pages.run()?,
            Command::Demo(demo) => return demo.run(),
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests;
