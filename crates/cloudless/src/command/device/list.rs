use anyhow::bail;
use clap::Args;
use cloudless_home::admin::{Command, Reply};

use crate::clock;
use crate::command::home;
use crate::state::HomeState;
use crate::terminal;

/// List devices and when each was last here
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless device list
  cloudless device list --user me --json")]
pub(super) struct List {
    #[command(flatten)]
    state: HomeState,
    /// List only the devices of USER
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Print one JSON array instead of a table
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let command = Command::DeviceList { user: self.user };
        let Reply::Devices { devices } = home::execute(&state, &command)? else {
            bail!("home answered something else than its devices");
        };
        if self.json {
            return terminal::json(&devices);
        }
        if devices.is_empty() {
            terminal::note("there is no device yet; add one with: cloudless device add USER NAME");
            return Ok(());
        }
        let rows: Vec<_> = devices
            .iter()
            .map(|device| {
                let last_seen = device
                    .last_seen_at
                    .map_or_else(|| "never".to_owned(), clock::utc_ms);
                let certificate = match device.client_certificate {
                    true => "required",
                    false => "",
                };
                let revoked = device.revoked_at.map(clock::utc_ms).unwrap_or_default();
                [
                    device.user.clone(),
                    device.name.clone(),
                    clock::utc_ms(device.created_at),
                    last_seen,
                    certificate.to_owned(),
                    revoked,
                ]
            })
            .collect();
        Ok(terminal::table(
            [
                "USER",
                "DEVICE",
                "ADDED",
                "LAST SEEN",
                "CERTIFICATE",
                "REVOKED",
            ],
            &rows,
        )?)
    }
}
