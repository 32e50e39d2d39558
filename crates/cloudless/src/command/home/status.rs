use anyhow::bail;
use clap::Args;
use cloudless_home::admin::{Alarm, Command, Reply};
use cloudless_home::status::RelayState;

use crate::clock;
use crate::moment::Moment;
use crate::state::HomeState;
use crate::terminal::{self, BOLD, StdoutError};

/// Show tunnels, certificates, addresses and alarms
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless home status
  cloudless home status --json")]
pub(super) struct Status {
    #[command(flatten)]
    state: HomeState,
    /// Print one line of JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let Reply::Status(status) = super::execute(&state, &Command::Status)? else {
            bail!("home answered something else than its status");
        };
        if self.json {
            return terminal::json(&status);
        }
        let running = if status.running {
            "running"
        } else {
            "not running"
        };
        terminal::data(format_args!("home is {BOLD}{running}{BOLD:#}"))?;
        for alarm in &status.alarms {
            self.tell(alarm)?;
        }
        for url in &status.public_urls {
            terminal::data(format_args!("  for phones             {url}"))?;
        }
        for url in &status.local_urls {
            terminal::data(format_args!("  for this machine       {url}"))?;
        }
        if status.push_registrations > 0 {
            terminal::data(format_args!(
                "  told of changes        {} (push registrations)",
                status.push_registrations
            ))?;
        }
        for copy in &status.migration_copies {
            terminal::data(format_args!(
                "  copy before an upgrade {}",
                terminal::clean(&copy.display().to_string())
            ))?;
        }
        for relay in &status.relays {
            let since = clock::utc_ms(relay.since);
            let state = match relay.state {
                RelayState::Connected => format!("connected since {since}"),
                RelayState::Dialing => format!("not connected since {since}, dialing"),
                RelayState::Refused => format!("refused since {since}"),
            };
            terminal::data(format_args!(
                "relay {BOLD}{}{BOLD:#}: {state}",
                relay.server_name
            ))?;
            terminal::data(format_args!(
                "  visitors               {} of {}",
                relay.visitors_now, relay.visitors_total
            ))?;
            if let Some(error) = &relay.error {
                terminal::data(format_args!("  last error             {error}"))?;
            }
        }
        for certificate in &status.certificates {
            let until = match certificate.expires_at {
                Some(at) => format!("valid until {}", clock::utc_ms(at)),
                None => "none".to_owned(),
            };
            let name = &certificate.hostname;
            terminal::data(format_args!("certificate of {BOLD}{name}{BOLD:#}: {until}"))?;
            if let Some(error) = &certificate.error {
                terminal::data(format_args!("  last error             {error}"))?;
            }
        }
        for passthrough in &status.passthrough {
            let name = &passthrough.hostname;
            terminal::data(format_args!(
                "{BOLD}{name}{BOLD:#}: passed through to {}",
                passthrough.address
            ))?;
            if let Some(error) = &passthrough.error {
                terminal::data(format_args!("  last error             {error}"))?;
            }
        }
        Ok(())
    }

    fn tell(&self, alarm: &Alarm) -> Result<(), StdoutError> {
        let Alarm {
            alarm: number,
            user,
            book,
            device,
            count,
            ..
        } = alarm;
        terminal::data(format_args!(
            "{BOLD}alarm {number}{BOLD:#}: {device} of {user} deleted {count} cards of {} at {}",
            terminal::clean(book),
            Moment(alarm.last_at).local(),
        ))?;
        terminal::data(format_args!(
            "  bring them back with   cloudless contacts undo-deletion {number}{}",
            self.state.flag()
        ))
    }
}
