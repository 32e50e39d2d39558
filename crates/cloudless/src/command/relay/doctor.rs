//! What keeps a plain sshd from being a relay.

mod settings;
mod user;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};
use clap::Args;
use cloudless_home::ssh::Forward;
use serde::Serialize;

use crate::exit::Usage;
use crate::terminal::{self, BAD, BOLD, GOOD};
use settings::Settings;
use user::User;

const SSHD: [&str; 3] = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"];
/// Where Debian's and most others' sshd_config looks for more.
const DROP_IN: &str = "/etc/ssh/sshd_config.d/10-cloudless.conf";

/// Look whether this machine's SSH server can be a relay, and say what to change
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo cloudless relay doctor --ssh --user tunnel --forward 127.0.0.1:8443
  sudo cloudless relay doctor --ssh --user tunnel --forward 'unix:/run/cloudless/contacts.sock'

Run it on the server. It asks sshd what is in force for that user (sshd -T, which reads the server's
keys and so needs root), and changes nothing. It fails (exit status 1) when something keeps home
out.")]
pub(super) struct Doctor {
    /// Look at the SSH server
    #[arg(long, required = true)]
    ssh: bool,
    /// Who home is on this machine: `user` in its home.toml
    #[arg(long, default_value = "tunnel")]
    user: String,
    /// Where it listens for visitors: `forward` and `forward_http` in home.toml; may be repeated
    #[arg(
        long,
        value_name = "ADDRESS:PORT|unix:PATH",
        default_value = "127.0.0.1:8443"
    )]
    forward: Vec<Forward>,
    /// The address that home comes from, where sshd_config treats some apart
    #[arg(long, value_name = "ADDRESS", default_value = "192.0.2.1")]
    from: IpAddr,
    /// Another sshd_config than the system's
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON array instead of text
    #[arg(long)]
    json: bool,
}

/// What a setting means for home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Good,
    /// Home gets along, and would get along better.
    Advice,
    /// Home is kept out.
    Bad,
}

/// One setting, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    state: State,
    /// The setting as it is in force.
    setting: String,
    /// What it means.
    message: String,
    /// A line for the drop-in's `Match User`.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<String>,
}

impl Doctor {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let text = self.sshd_settings()?;
        let settings = Settings::parse(&text);
        let findings = settings.findings(&User::look_up(&self.user), &self.forward);
        if self.json {
            terminal::json(&findings)?;
        } else {
            findings.iter().try_for_each(terminal::data)?;
            drop_in(&self.user, &findings)
                .iter()
                .try_for_each(terminal::data)?;
        }
        match findings.iter().filter(|it| it.state == State::Bad).count() {
            0 => Ok(()),
            1 => bail!("one setting keeps home out"),
            count => bail!("{count} settings keep home out"),
        }
    }

    /// What sshd says of itself, for home's user and address.
    fn sshd_settings(&self) -> anyhow::Result<String> {
        let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.$".contains(&byte);
        if self.user.is_empty() || !self.user.bytes().all(name) {
            return Err(Usage(format!("`{}` is no user's name", self.user)).into());
        }
        let sshd = SSHD.iter().find(|path| std::path::Path::new(path).exists());
        let sshd = sshd.context("there is no sshd on this machine (/usr/sbin/sshd)")?;
        let mut command = Command::new(sshd);
        let who = format!("user={},host={},addr={}", self.user, self.from, self.from);
        command.args(["-T", "-C", &who]);
        if let Some(config) = &self.config {
            command.arg("-f").arg(config);
        }
        let output = command
            .output()
            .with_context(|| format!("cannot run {sshd}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!(
                "{sshd} -T does not tell its settings: {}; run this as root, who may read the server's \
                 keys",
                terminal::clean(said.trim())
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (style, word) = match self.state {
            State::Good => (GOOD, "good"),
            State::Advice => (BOLD, "advice"),
            State::Bad => (BAD, "BAD"),
        };
        let setting = terminal::clean(&self.setting);
        write!(f, "  {style}{word:<8}{style:#} {setting}: {}", self.message)
    }
}

/// The lines that change what is to be changed.
fn drop_in(user: &str, findings: &[Finding]) -> Vec<String> {
    let lines: Vec<&str> = findings
        .iter()
        .filter_map(|it| it.line.as_deref())
        .collect();
    if lines.is_empty() {
        return Vec::new();
    }
    let mut text = vec![
        String::new(),
        format!("Write this to {DROP_IN} (where sshd_config has"),
        "`Include /etc/ssh/sshd_config.d/*.conf`, else to its end), then `systemctl reload ssh`:"
            .to_owned(),
        format!("    Match User {user}"),
    ];
    text.extend(lines.iter().map(|line| format!("        {line}")));
    text
}
