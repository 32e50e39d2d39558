use anyhow::bail;
use clap::Args;
use cloudless_home::admin::{Command, Reply};
use cloudless_proto::Hostname;

use crate::command::home;
use crate::state::HomeState;
use crate::terminal;

/// Get a new certificate now, whether it is due or not
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless home certificate renew
  cloudless home certificate renew contacts.example.org

Home renews certificates by itself, when a third of their life is left or the authority says so. Call
this after a mistake is corrected, so as not to wait until home tries again. Public authorities give a
name a few certificates a week: Let's Encrypt five. Home has to be running, and connected to a relay.

A certificate in your own files is read again. One that devices have pinned is left as it is.")]
pub(super) struct Renew {
    /// Only this name's; else of all names
    hostname: Option<Hostname>,
    #[command(flatten)]
    state: HomeState,
    /// Print one line of JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Renew {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let command = Command::CertificateRenew {
            hostname: self.hostname,
        };
        let Reply::CertificatesRenewed { certificates } = home::execute(&state, &command)? else {
            bail!("home answered something else than new certificates");
        };
        if self.json {
            terminal::json(&certificates)?;
        }
        let mut n_failed = 0;
        for row in &certificates {
            match &row.error {
                None if !self.json => {
                    terminal::data(format_args!("{}: a new certificate", row.hostname))?;
                }
                None => {}
                Some(error) => {
                    n_failed += 1;
                    let error = terminal::clean(error);
                    terminal::note(format_args!("{}: {error}", row.hostname));
                }
            }
        }
        match (n_failed, certificates.len()) {
            (0, _) => Ok(()),
            (1, 1) => bail!("there is no new certificate"),
            (failed, all) => bail!("{failed} of {all} names have no new certificate"),
        }
    }
}
