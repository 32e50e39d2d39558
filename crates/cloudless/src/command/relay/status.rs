use anyhow::bail;
use clap::Args;
use cloudless_relay::admin::{Command, Reply};

use crate::clock;
use crate::state::RelayState;
use crate::terminal::{self, BOLD};

/// Show which homes are online and what was forwarded
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless relay status
  cloudless relay status --json

Bytes are ciphertext: what visitors and homes say is never in clear on this machine.")]
pub(super) struct Status {
    #[command(flatten)]
    state: RelayState,
    /// Print one line of JSON instead of a table
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let Reply::Status(status) = super::execute(&state, &Command::Status)? else {
            bail!("the relay answered something else than its status");
        };
        if self.json {
            return terminal::json(&status);
        }
        let since = |seconds: u64| clock::utc(i64::try_from(seconds).unwrap_or(i64::MAX));
        let running = match status.since {
            Some(at) => format!("running since {}", since(at)),
            None => "not running".to_owned(),
        };
        terminal::data(format_args!(
            "relay {BOLD}{}{BOLD:#}: {running}",
            status.server_name
        ))?;
        if let Some(reload) = &status.reload {
            let at = since(reload.at);
            match &reload.refused {
                Some(reason) => terminal::data(format_args!(
                    "its files were refused on {at} and those of before are in force: {reason}"
                ))?,
                None => terminal::data(format_args!("its files were read again on {at}"))?,
            }
            for sentence in &reload.waiting {
                terminal::data(format_args!("  except: {sentence}"))?;
            }
        }
        let rows: Vec<_> = status
            .homes
            .iter()
            .map(|home| {
                let online = home.since.map_or_else(|| "offline".to_owned(), since);
                [
                    home.hostname.to_string(),
                    online,
                    format!("{} of {}", home.visitors_now, home.visitors_total),
                    home.bytes_up.to_string(),
                    home.bytes_down.to_string(),
                ]
            })
            .collect();
        if rows.is_empty() {
            terminal::note("no home has joined; invite one with: cloudless relay invite HOST");
        } else {
            let headings = [
                "NAME",
                "ONLINE SINCE",
                "VISITORS",
                "BYTES TO HOME",
                "BYTES FROM HOME",
            ];
            terminal::table(headings, &rows)?;
        }
        for server in &status.servers {
            let (address, since) = (&server.address, since(server.since));
            match &server.error {
                None => terminal::data(format_args!("server {address}: reached since {since}"))?,
                Some(error) => terminal::data(format_args!(
                    "{BOLD}server {address}: out of reach since {since}{BOLD:#}: {error}"
                ))?,
            }
        }
        if !status.outcomes.is_empty() {
            terminal::data("how connections ended up:")?;
        }
        for (class, count) in &status.outcomes {
            terminal::data(format_args!("  {:<22} {count}", class.replace('_', " ")))?;
        }
        Ok(())
    }
}
