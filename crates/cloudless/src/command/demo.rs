use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::demo::{self, Plan};
use crate::signals;

/// Try everything on this machine alone: a relay, a home, sample contacts and a phone's sync
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless demo
  cloudless demo --once
  cloudless demo --state ~/cloudless-demo --import contacts.vcf
  cloudless demo --json | jq .public_url

Relay and home run as two processes, as they would on two machines. Nothing leaves this machine,
and without --state nothing stays on it.")]
pub(super) struct Demo {
    /// End after the check, with exit status 0 if all of it worked and 1 if not
    #[arg(long)]
    once: bool,
    /// Keep the data in DIR; a second start goes on with it [default: a temporary directory,
    /// removed at the end]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Import the cards of these files, or of directories of .vcf files, besides the samples
    #[arg(long, value_name = "FILE", num_args = 1..)]
    import: Vec<PathBuf>,
    /// Print one line of JSON to standard output once everything is up, and the story to standard
    /// error
    #[arg(long)]
    json: bool,
    /// Let the relay listen on this port of 127.0.0.1 [default: a free one, or that of the last
    /// start with the same --state]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Let home serve programs on this machine on this port of 127.0.0.1 [default: as --port]
    #[arg(long, value_name = "PORT")]
    local_port: Option<u16>,
}

impl Demo {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Self {
            once,
            state,
            import,
            json,
            port,
            local_port,
        } = self;
        let plan = Plan {
            state,
            import,
            once,
            json,
            port,
            local_port,
        };
        signals::block_on(demo::run(plan))?;
        Ok(ExitCode::SUCCESS)
    }
}
