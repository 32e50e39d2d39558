use std::path::Path;

use anyhow::bail;
use clap::Args;
use cloudless_home::admin::{Command, Reply};
use cloudless_home::status::{RelayState, RelayStatus, TransportKind};
use cloudless_home::trust::{CheckResult, CheckState, NameReport, Problem};
use cloudless_home::upstream;
use cloudless_proto::Hostname;
use cloudless_proto::trust::zone::Check;

use super::trust::{headline, reports};
use crate::config::home::HomeFile;
use crate::state::HomeState;
use crate::terminal::{self, BAD, BOLD, GOOD};

/// Look at each name from outside, and say what is wrong with its protection and what to do
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless home doctor
  cloudless home doctor contacts.example.org
  cloudless home doctor --json

It asks the name servers of each name and three resolvers, and checks DNSSEC itself. That takes some
seconds. Servers behind home ([[upstream]] in home.toml) have to accept a connection. It fails (exit
status 1) when a check is red.")]
pub(super) struct Doctor {
    #[command(flatten)]
    state: HomeState,
    /// Only this name
    name: Option<Hostname>,
    /// Print one JSON array instead of text
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let mut reports = reports(&state, &Command::Doctor, self.name.as_ref())?;
        add_upstreams(&state, &mut reports)?;
        add_ssh_servers(&state, &mut reports)?;
        if self.json {
            terminal::json(&reports)?;
        } else {
            for report in &reports {
                show(report)?;
            }
        }
        let checks = reports.iter().flat_map(|report| &report.checks);
        match checks.filter(|it| it.state == CheckState::Bad).count() {
            0 => Ok(()),
            1 => bail!("one check is red"),
            count => bail!("{count} checks are red"),
        }
    }
}

/// What the running home sees of the SSH servers in a relay's place, which all names come through.
fn add_ssh_servers(state: &Path, reports: &mut [NameReport]) -> anyhow::Result<()> {
    if HomeFile::read(state)?.relay.ssh.is_empty() {
        return Ok(());
    }
    let Reply::Status(status) = super::execute(state, &Command::Status)? else {
        bail!("home answered something else than its status");
    };
    let ssh = |row: &&RelayStatus| row.transport == TransportKind::Ssh;
    let mut results: Vec<_> = status.relays.iter().filter(ssh).map(ssh_server).collect();
    if results.is_empty() {
        results.push(CheckResult {
            title: "the SSH server listens for home".to_owned(),
            state: CheckState::Unknown,
            problems: vec![Problem {
                message: "home is not running".to_owned(),
                remedy: "start it with `cloudless home run`, and look again".to_owned(),
            }],
        });
    }
    for report in reports {
        report.checks.extend(results.iter().cloned());
    }
    Ok(())
}

fn ssh_server(row: &RelayStatus) -> CheckResult {
    let is_well = row.state == RelayState::Connected && row.error.is_none();
    let message = row.error.clone().filter(|_| !is_well);
    CheckResult {
        title: format!("the SSH server {} listens for home", row.server_name),
        state: match is_well {
            true => CheckState::Good,
            false => CheckState::Bad,
        },
        problems: Vec::from_iter(message.map(|message| Problem {
            message,
            remedy: "on the server, `cloudless relay doctor --ssh` says what to change in sshd's settings"
                .to_owned(),
        })),
    }
}

/// Tries the servers behind home, for the names that they are for.
fn add_upstreams(state: &Path, reports: &mut [NameReport]) -> anyhow::Result<()> {
    let file = HomeFile::read(state)?;
    if file.upstream.is_empty() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    for table in &file.upstream {
        let upstream = table.upstream(state)?;
        let problem = runtime.block_on(upstream::reach(&upstream)).err();
        let result = CheckResult {
            title: format!("{} at {} is reached", table.title(), upstream.server),
            state: match problem {
                None => CheckState::Good,
                Some(_) => CheckState::Bad,
            },
            problems: Vec::from_iter(problem.map(|message| Problem {
                message,
                remedy: "start the server, or correct its table in home.toml".to_owned(),
            })),
        };
        let concerned = |report: &&mut NameReport| {
            let hostname = table.hostname.as_ref();
            hostname.is_none_or(|it| *it == report.hostname)
        };
        for report in reports.iter_mut().filter(concerned) {
            report.checks.push(result.clone());
        }
    }
    Ok(())
}

fn show(report: &NameReport) -> anyhow::Result<()> {
    let mut lines = vec![headline(report)];
    lines.extend(report.checks.iter().flat_map(check));
    terminal::prose(&lines)?;
    if !report.records.is_empty() {
        terminal::data("  The CAA records of the name have to be these, and no other:")?;
        // Each on one line, to be copied.
        let records = report.records.iter();
        records
            .map(|record| format!("    {record}"))
            .try_for_each(terminal::data)?;
    }
    let mut lines = Vec::new();
    let is_address = |it: &&CheckResult| it.title == Check::Addresses.title();
    let is_led = |it: &CheckResult| it.state == CheckState::Good;
    let addresses = report.checks.iter().find(is_address);
    if addresses.is_some_and(|it| !is_led(it)) && !report.addresses.is_empty() {
        lines.push("  Once these are seen, the relay's addresses, and no other:".to_owned());
        let addresses = report.addresses.iter();
        lines.extend(addresses.map(|record| format!("    {record}")));
    }
    if let Some(next) = &report.next {
        lines.push(format!("  next: {next}"));
    }
    let steps = report.steps.iter().enumerate();
    lines.extend(steps.map(|(index, step)| format!("    {}. {step}", index + 1)));
    Ok(terminal::prose(&lines)?)
}

fn check(check: &CheckResult) -> Vec<String> {
    let (style, word) = match check.state {
        CheckState::Good => (GOOD, "good"),
        CheckState::Advice => (BOLD, "advice"),
        CheckState::Unknown => (BOLD, "unknown"),
        CheckState::Bad => (BAD, "BAD"),
    };
    let mut lines = vec![format!("  {style}{word:<8}{style:#} {}", check.title)];
    for problem in &check.problems {
        lines.push(format!("           {}", terminal::clean(&problem.message)));
        lines.push(format!("           → {}", problem.remedy));
    }
    lines
}
