use anyhow::bail;
use clap::Args;
use cloudless_home::admin::{Command, Reply};
use cloudless_home::certificate;

use crate::command::home;
use crate::config::home::HomeFile;
use crate::state::{self, HomeState};
use crate::terminal::{self, BOLD};

/// Make a password for one phone or program, and say where it connects
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless device add me phone
  cloudless device add me laptop --create-user --json

The password is shown this once; only a hash of it is kept. A lost one is replaced:
  cloudless device revoke me phone && cloudless device add me phone")]
pub(super) struct Add {
    #[command(flatten)]
    state: HomeState,
    /// Let the device see the contacts of USER
    #[arg(value_name = "USER")]
    user: String,
    /// Name the device so, to know it again in the list
    #[arg(value_name = "NAME")]
    name: String,
    /// Create USER first if there is none of that name
    #[arg(long)]
    create_user: bool,
    /// Print one line of JSON with user, device, password and URLs
    #[arg(long)]
    json: bool,
}

impl Add {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        state::create(&state)?;
        let command = Command::DeviceAdd {
            user: self.user,
            name: self.name,
            create_user: self.create_user,
        };
        let Reply::DeviceAdded(added) = home::execute(&state, &command)? else {
            bail!("home answered something else than a new device");
        };
        if self.json {
            return terminal::json(&added);
        }
        terminal::data(format_args!("user      {BOLD}{}{BOLD:#}", added.user))?;
        terminal::data(format_args!("password  {BOLD}{}{BOLD:#}", added.password.0))?;
        for url in &added.public_urls {
            terminal::data(format_args!("URL       {BOLD}{url}{BOLD:#}"))?;
        }
        for url in &added.local_urls {
            terminal::data(format_args!("local     {url}"))?;
        }
        if added.public_urls.is_empty() {
            terminal::note(
                "no name leads here from outside yet: get a join code from a relay and run \
                 `cloudless home join CODE`",
            );
        }
        terminal::note("type them into the device now: the password cannot be shown again");
        let file = HomeFile::read_if_there(&state)?;
        if !added.public_urls.is_empty() && file.is_none_or(|file| file.has_own_authority()) {
            terminal::note(format_args!(
                "the device has to trust home's own certificate authority, which home makes when it \
                 first runs: {}",
                certificate::ca_file(&state).display()
            ));
        }
        Ok(())
    }
}
