use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use cloudless_home::admin::{Command, Reply};
use cloudless_home::trust::{self, Holding, LogWatch, NameReport, NamedDevice};
use cloudless_proto::Hostname;
use cloudless_proto::trust::{Attacker, Level, Outcome};
use cloudless_store::{Device, OpenError};

use crate::admin_socket;
use crate::config::home::HomeFile;
use crate::progress;
use crate::state::HomeState;
use crate::terminal::{self, BAD, BOLD, GOOD};

/// More devices of one name are counted, not named.
const DEVICES_SHOWN: usize = 3;

/// Show how well each name is protected, and against whom
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless home trust
  cloudless home trust --json
  cloudless home trust --accept 7d0c…

What the levels are, and what each is worth, stands in docs/security.md. `cloudless home doctor` looks
anew, and says what to do about what is wrong.")]
pub(super) struct Trust {
    #[command(flatten)]
    state: HomeState,
    /// Only this name
    name: Option<Hostname>,
    /// Print one JSON array instead of text
    #[arg(long)]
    json: bool,
    /// Say that a key that home did not make, by its SHA-256 in hexadecimal, is your own
    #[arg(long, value_name = "KEY", value_parser = sha256, conflicts_with_all = ["json", "name"])]
    accept: Option<String>,
}

impl Trust {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        if let Some(key) = self.accept {
            let command = Command::TrustAccept { key: key.clone() };
            let offline = || {
                trust::accept_key(&state, &key)?;
                Ok(Some(Reply::TrustAccepted { key: key.clone() }))
            };
            match admin_socket::ask_or_do(&state, admin_socket::HOME, &command, offline)? {
                Reply::TrustAccepted { .. } => {}
                Reply::Error { message } => bail!(message),
                _ => bail!("home answered something else"),
            }
            terminal::note("home takes certificates with this key for yours");
            return Ok(());
        }
        let reports = reports(&state, &Command::Trust, self.name.as_ref())?;
        if self.json {
            return terminal::json(&reports);
        }
        for report in &reports {
            terminal::prose(&lines(report))?;
        }
        Ok(())
    }
}

/// What a running home says of its names, or what is found out here when none is running.
pub(super) fn reports(
    state: &Path,
    command: &Command,
    only: Option<&Hostname>,
) -> anyhow::Result<Vec<NameReport>> {
    let file = HomeFile::read(state)?;
    if let Some(only) = only.filter(|only| !file.hostnames.contains(only)) {
        bail!("{only} is none of the `hostnames` in home.toml");
    }
    let offline = || {
        let config = super::config(state, &file)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let names = runtime.block_on(trust::examine(&config, &devices(state)?))?;
        Ok(Some(Reply::Trust { names }))
    };
    let asked = || admin_socket::ask_or_do(state, admin_socket::HOME, command, offline);
    let reply = progress::while_waiting(asked).context("cannot look at the names")?;
    let mut names = match reply {
        Reply::Trust { names } => names,
        Reply::Error { message } => bail!(message),
        _ => bail!("home answered something else"),
    };
    names.retain(|it| only.is_none_or(|only| it.hostname == *only));
    Ok(names)
}

/// The devices of a home that does not run; none before it has any contacts.
fn devices(state: &Path) -> anyhow::Result<Vec<Device>> {
    if !state.join("store.sqlite").exists() {
        return Ok(Vec::new());
    }
    match super::open(state, Duration::ZERO) {
        // Another command is at work: what it does is no matter of the names.
        Err(OpenError::InUse { .. }) => Ok(Vec::new()),
        opened => Ok(opened.context("cannot open the contacts")?.devices(None)?),
    }
}

/// Ten lines about one name.
fn lines(report: &NameReport) -> Vec<String> {
    let mut lines = vec![headline(report)];
    let is_pinned = report.in_force == Level::Pinned;
    lines.extend(report.holdings.iter().map(|it| holding(it, is_pinned)));
    let next = report
        .next
        .as_deref()
        .unwrap_or("there is nothing above this level");
    let how = match report.steps.is_empty() {
        true => "",
        false => "; `cloudless home doctor` says how to get there",
    };
    lines.push(format!("  next: {next}{how}"));
    lines
}

/// The name, its level, and whether that is in force.
pub(super) fn headline(report: &NameReport) -> String {
    let (name, level) = (&report.hostname, report.level);
    let zone = match (report.is_signed, report.is_special_use) {
        (_, true) => ", a name that no certification authority may issue for",
        (true, false) => ", in a zone that is signed with DNSSEC",
        (false, false) => "",
    };
    let logs = logs(report) + &ended(report);
    let devices = devices_of(report);
    if level == Level::HonestRelay {
        format!(
            "{BOLD}{name}{BOLD:#}: {BAD}{level}: whoever runs the relay can read everything{BAD:#}{devices}"
        )
    } else if report.in_force == level {
        format!("{BOLD}{name}{BOLD:#}: {GOOD}{level}{GOOD:#}{zone}{logs}{devices}")
    } else {
        let served = if report.is_served {
            ""
        } else {
            ", and the name is not served"
        };
        format!("{BOLD}{name}{BOLD:#}: {BAD}{level} is not in force{served}{BAD:#}{logs}{devices}")
    }
}

/// That nobody would notice somebody else's certificate.
fn logs(report: &NameReport) -> String {
    match report.logs {
        LogWatch::Off => format!("; {BAD}nobody watches the logs of certificates{BAD:#}"),
        LogWatch::Silent => format!("; {BAD}the logs of certificates tell nothing{BAD:#}"),
        LogWatch::Unneeded | LogWatch::Heard | LogWatch::Waiting => {
            let silent = report.silent_sources.iter();
            let told = silent.map(|it| {
                let monitor = it.monitor;
                format!("; {BAD}{monitor} has told nothing of the logs for days{BAD:#}")
            });
            told.collect()
        }
    }
}

/// Certificates of somebody else that have ended and were not accepted.
fn ended(report: &NameReport) -> String {
    let unknown = report.unknown_certificates.iter();
    match unknown.filter(|it| it.has_ended).count() {
        0 => String::new(),
        _ => format!(
            "; {BAD}somebody else had a certificate for it, which has ended: see `cloudless home \
             doctor`{BAD:#}"
        ),
    }
}

/// Which devices the name is for, where they are not just all of them.
fn devices_of(report: &NameReport) -> String {
    if report.devices.is_empty() {
        return String::new();
    }
    let named = |it: &NamedDevice| {
        let (user, name) = (terminal::clean(&it.user), terminal::clean(&it.name));
        format!("{name} of {user}")
    };
    let mut shown: Vec<_> = report
        .devices
        .iter()
        .take(DEVICES_SHOWN)
        .map(named)
        .collect();
    let rest = report.devices.len() - shown.len();
    if rest > 0 {
        shown.push(format!("{rest} more"));
    }
    let proof = if report.client_certificates {
        "a certificate"
    } else {
        "a password alone"
    };
    format!("; with {proof}: {}", shown.join(", "))
}

fn holding(holding: &Holding, is_pinned: bool) -> String {
    let who = holding.attacker.title();
    let outcome = |outcome: Outcome| {
        let style = match outcome {
            Outcome::Safe => GOOD,
            Outcome::SafeUnlessForged | Outcome::UntilRevoked => BOLD,
            Outcome::Noticed | Outcome::Exposed => BAD,
        };
        format!("{style}{outcome}{style:#}")
    };
    // They can have a public certificate all the same.
    let can_certify = matches!(
        holding.attacker,
        Attacker::DnsProvider | Attacker::Authority
    );
    if holding.book == holding.exchange {
        let whose = match is_pinned && can_certify && holding.book == Outcome::Safe {
            true => " on devices that trust nothing else",
            false => "",
        };
        return format!("  {who:<50} {}{whose}", outcome(holding.book));
    }
    let (book, exchange) = (outcome(holding.book), outcome(holding.exchange));
    format!("  {who:<50} stored contacts: {book}; what phones send: {exchange}")
}

fn sha256(text: &str) -> Result<String, &'static str> {
    let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex
        .then(|| text.to_ascii_lowercase())
        .ok_or("expected 64 hexadecimal digits")
}
