use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::{Choice, systemctl};
use crate::terminal::{self, BOLD};
use crate::unit::{self, Found};

const PROPERTIES: [&str; 6] = [
    "ActiveState",
    "FragmentPath",
    "NRestarts",
    "StatusText",
    "SubState",
    "UnitFileState",
];

/// Show whether a service is installed, starts at boot, and runs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless service status relay
  cloudless service status home --user --json

What the relay or home itself has to say: cloudless relay status, cloudless home status. Its log:
  journalctl -u cloudless-relay
  journalctl --user -u cloudless-home")]
pub(super) struct Status {
    #[command(flatten)]
    choice: Choice,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    /// Whether systemd could be asked.
    systemd: bool,
    /// For a service of a user: whether it runs while that user is not logged in.
    #[serde(skip_serializing_if = "Option::is_none")]
    lingers: Option<bool>,
    units: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    /// Where its file is; absent when it is not installed.
    path: Option<PathBuf>,
    /// `service install`, `package` or `edited`.
    written_by: Option<&'static str>,
    /// As systemd says it, such as `enabled`; absent when systemd cannot be asked.
    starts: Option<String>,
    /// As systemd says it, such as `active (running)`.
    now: Option<String>,
    /// What the service says of itself.
    says: Option<String>,
    restarts: Option<u64>,
}

impl Status {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let report = self.report()?;
        if self.json {
            return terminal::json(&report);
        }
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let row = |row: &Row| {
            let path = row.path.as_ref().map(|path| path.display().to_string());
            [
                row.name.to_owned(),
                text(&row.starts),
                text(&row.now),
                row.restarts.map_or_else(String::new, |it| it.to_string()),
                text(&row.says),
                row.written_by.unwrap_or("not installed").to_owned(),
                path.unwrap_or_default(),
            ]
        };
        let rows: Vec<_> = report.units.iter().map(row).collect();
        let headings = [
            "UNIT",
            "AT BOOT",
            "NOW",
            "RESTARTS",
            "SAYS",
            "WRITTEN BY",
            "FILE",
        ];
        terminal::table(headings, &rows)?;
        if !report.systemd {
            terminal::note(match self.choice.user {
                _ if self.choice.root.is_some() => "of another system only its files are known",
                true if systemctl::is_running() => {
                    "your systemd cannot be asked from here; log in as this user, not by su or sudo"
                }
                _ => "systemd does not run on this machine now: only files are known",
            });
        }
        if report.lingers == Some(false) && report.units.iter().any(|it| it.path.is_some()) {
            terminal::note(format_args!(
                "it runs while you are logged in only: {BOLD}loginctl enable-linger{BOLD:#}"
            ));
        }
        if report.units.iter().all(|it| it.path.is_none()) {
            terminal::note(format_args!(
                "install it: {BOLD}{}cloudless service install {}{}{BOLD:#}",
                if self.choice.user { "" } else { "sudo " },
                self.choice.role.name(),
                self.choice.flag()
            ));
        }
        Ok(())
    }

    fn report(&self) -> anyhow::Result<Report> {
        let directory = self.choice.directory()?;
        let is_live = self.choice.root.is_none() && systemctl::is_running();
        let mut is_asked = is_live;
        let mut units = Vec::new();
        for (name, _) in self.choice.role.shipped(self.choice.scope()) {
            let told = match is_asked {
                true => systemctl::show(self.choice.scope(), name, &PROPERTIES),
                false => Ok(BTreeMap::new()),
            };
            let told = told.unwrap_or_else(|error| {
                tracing::debug!(error = format!("{error:#}"), "systemd does not answer");
                is_asked = false;
                BTreeMap::new()
            });
            units.push(self.row(name, &directory, &told));
        }
        Ok(Report {
            systemd: is_asked,
            lingers: self.choice.user.then(lingers).flatten(),
            units,
        })
    }

    fn row(&self, name: &'static str, directory: &Path, told: &BTreeMap<String, String>) -> Row {
        let told = |property: &str| told.get(property).filter(|it| !it.is_empty()).cloned();
        let own = directory.join(name);
        let own = fs::read_to_string(&own)
            .ok()
            .map(|text| (own, unit::look(&text)));
        let (path, written_by) = match own {
            Some((path, Found::Sealed)) => (Some(path), Some("service install")),
            Some((path, Found::Edited)) => (Some(path), Some("edited")),
            None => {
                let path = told("FragmentPath").map(PathBuf::from);
                let path = path.or_else(|| self.choice.packaged(name));
                let written_by = path.as_ref().map(|_| "package");
                (path, written_by)
            }
        };
        let now = told("ActiveState").map(|state| match told("SubState") {
            Some(detail) => format!("{state} ({detail})"),
            None => state,
        });
        Row {
            name,
            starts: told("UnitFileState"),
            now: now.filter(|_| path.is_some()),
            says: told("StatusText"),
            restarts: told("NRestarts").and_then(|it| it.parse().ok()),
            path,
            written_by,
        }
    }
}

/// Whether services of this user run while they are not logged in; `None` when it is not known.
fn lingers() -> Option<bool> {
    let user = env::var("USER").ok()?;
    let directory = Path::new("/var/lib/systemd/linger");
    directory
        .parent()?
        .exists()
        .then(|| directory.join(user).exists())
}
