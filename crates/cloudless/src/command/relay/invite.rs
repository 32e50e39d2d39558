use anyhow::bail;
use clap::Args;
use cloudless_proto::Hostname;
use cloudless_relay::admin::{Command, Reply};
use serde::Serialize;

use crate::clock;
use crate::config::period::Period;
use crate::state::RelayState;
use crate::terminal::{self, BOLD};

/// Print a join code: one line that gives one home the name HOST
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless relay invite contacts.example.org
  cloudless relay invite contacts.example.org --expires-in 10m
  cloudless relay invite contacts.example.org --replace

The code is good for one home, and for a day unless --expires-in says otherwise. A new code for a
name ends the one before. It holds a secret: send it to nobody else.
Only the code goes to standard output, so that a program can take it from there.")]
pub(super) struct Invite {
    #[command(flatten)]
    state: RelayState,
    /// Bind the name HOST to the home that uses the code
    #[arg(value_name = "HOST")]
    hostname: Hostname,
    /// Let the code expire after TIME, such as 10m, 24h or 7d
    #[arg(long, value_name = "TIME", default_value = "24h")]
    expires_in: Period,
    /// Let the code take the name from the home that has it now
    #[arg(long)]
    replace: bool,
    /// Print one line of JSON with the code, the name and the expiry
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Output {
    code: String,
    hostname: Hostname,
    #[serde(with = "cloudless_proto::rfc3339::seconds")]
    expires_at: u64,
}

impl Invite {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let command = Command::Invite {
            hostname: self.hostname,
            ttl_s: self.expires_in.0.as_secs(),
            replace: self.replace,
        };
        let Reply::Invited {
            hostname,
            code,
            expires_at,
            covered_by,
            not_looked,
        } = super::execute(&state, &command)?
        else {
            bail!("the relay answered something else than a join code");
        };
        let until = clock::utc(i64::try_from(expires_at).unwrap_or(i64::MAX));
        terminal::note(format_args!(
            "a join code for {hostname}, good for one home until {until}; on the machine at home run:"
        ));
        terminal::note(format_args!("  {BOLD}cloudless home join CODE{BOLD:#}"));
        if let Some(address) = covered_by {
            let advice = super::coalescing_advice(&address, &hostname);
            terminal::warning(format_args!("{advice}"));
        }
        if not_looked {
            terminal::note(format_args!(
                "not looked at, because a web server beside the relay shows no certificate now: whether \
                 it has one for {hostname}, such as a wildcard, which browsers would take for the \
                 home; once the relay runs, `cloudless relay status` says so"
            ));
        }
        if self.json {
            return terminal::json(&Output {
                code,
                hostname,
                expires_at,
            });
        }
        Ok(terminal::data(code)?)
    }
}
