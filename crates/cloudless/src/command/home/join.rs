use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use cloudless_home::RelayKeys;
use cloudless_home::admin::{Command, Reply};
use cloudless_proto::join_code::JoinCode;

use super::{KEY_FILE, public_port, public_url};
use crate::config::address::HTTPS_PORT;
use crate::config::home::{DEFAULT_LOCAL, HomeDocument, HomeFile, RelayTable};
use crate::config::{proxy, sockets};
use crate::exit::Usage;
use crate::state::{self, HomeState};
use crate::terminal::{self, BOLD};
use crate::{admin_socket, clock, identity, signals};

/// Join a relay with a code from `cloudless relay invite`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless home join cloudless1-...
  ssh server cloudless relay invite contacts.example.org | cloudless home join -

The relay must be running. A second code adds a second name or relay. A home that runs learns of
it when it is started again.")]
pub(super) struct Join {
    #[command(flatten)]
    state: HomeState,
    /// Join with this code; - reads it from standard input, where other users cannot see it
    #[arg(value_name = "CODE")]
    code: String,
    /// Serve programs on this machine at ADDRESS, a loopback address; may be repeated [default:
    /// 127.0.0.1:25683]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = sockets::parse)]
    local: Vec<SocketAddr>,
}

impl Join {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let code = self.code()?;
        if let Some(address) = self
            .local
            .iter()
            .find(|address| !address.ip().is_loopback())
        {
            return Err(Usage(format!(
                "--local {address} can be reached from other machines, and passwords are in clear \
                 there; name a loopback address, such as {DEFAULT_LOCAL}"
            ))
            .into());
        }
        let proxy = proxy::from_environment()?;
        let state = self.state.directory()?;
        // A config that cannot be extended must not cost the code.
        let document = HomeDocument::read(&state)?;
        let relay_keys = RelayKeys::open(&state)?;
        state::create(&state)?;
        let key_path = state.join(KEY_FILE);
        state::as_owner(&state, || identity::create(&key_path))?;
        let identity = identity::read(&key_path, "")?;

        let hostname = signals::block_on(async {
            cloudless_home::join(&code, &identity, proxy.as_ref())
                .await
                .with_context(|| format!("cannot join the relay at {}", code.addresses.join(", ")))
        })?;

        let mut document = document.unwrap_or_else(HomeDocument::new);
        if !self.local.is_empty() {
            document.set_local(&self.local);
        }
        let is_successor = |known| relay_keys.of(known).contains(&code.relay_key);
        document.add(&hostname, &table(&code)?, is_successor)?;
        state::as_owner(&state, || document.write(&state))?;
        let running = admin_socket::ask::<_, Reply>(&state, admin_socket::HOME, &Command::Status);
        let file = HomeFile::read_if_there(&state)?;
        let url = public_url(&hostname, file.as_ref().map_or(HTTPS_PORT, public_port));
        if let Ok(Some(_)) = running {
            terminal::note(format_args!(
                "joined: {url} leads here once home is stopped and started again"
            ));
        } else {
            tell(&state, &url, &self.state.flag());
        }
        Ok(())
    }

    /// The code that was given, checked as far as it can be without asking the relay.
    fn code(&self) -> anyhow::Result<JoinCode> {
        let mut text = self.code.clone();
        if text == "-" {
            text.clear();
            io::stdin()
                .take(64 * 1024)
                .read_to_string(&mut text)
                .context("cannot read the join code from standard input")?;
        }
        let code: JoinCode = text
            .trim()
            .parse()
            .map_err(|error| Usage(format!("{error}")))?;
        let expires_at = i64::try_from(code.expires_at).unwrap_or(i64::MAX);
        // The relay decides; this only helps to understand its refusal.
        if expires_at < clock::unix_ms() / 1000 {
            terminal::warning(format_args!(
                "the join code expired on {}; if the relay refuses it, make a new one there: \
                 cloudless relay invite {}",
                clock::utc(expires_at),
                code.hostname
            ));
        }
        Ok(code)
    }
}

fn table(code: &JoinCode) -> anyhow::Result<RelayTable> {
    let addresses: Result<Vec<_>, _> = code.addresses.iter().map(|it| it.parse()).collect();
    Ok(RelayTable {
        addresses: addresses.context("the join code has an address of an unknown kind")?,
        server_name: code.server_name.clone(),
        key: code.relay_key,
    })
}

/// Says what was done and what comes next.
fn tell(state: &Path, url: &str, flag: &str) {
    terminal::note(format_args!(
        "joined: {url} leads here as soon as home runs"
    ));
    terminal::note(format_args!(
        "  settings and contacts are in {}",
        state.display()
    ));
    terminal::note("next, unless you have done it already:");
    terminal::note(format_args!("  {BOLD}cloudless user add me{flag}{BOLD:#}"));
    terminal::note(format_args!(
        "  {BOLD}cloudless device add me phone{flag}{BOLD:#}"
    ));
    terminal::note(format_args!("  {BOLD}cloudless home run{flag}{BOLD:#}"));
}
