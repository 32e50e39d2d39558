//! Making a relay and a home by the commands of the command line, and starting both.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::slice;

use anyhow::{Context as _, anyhow, ensure};
use serde::Deserialize;

use super::next::Login;
use super::role::{self, Role};
use super::story::Story;
use super::{HOSTNAME, Plan, samples};
use crate::atomic_file;
use crate::config::address::{Address, Host};
use crate::config::home::{FILE as HOME_FILE, HomeDocument, HomeFile, RelayTable};
use crate::config::relay::{FILE as RELAY_FILE, RelayFile};
use crate::config::sockets::SocketAddresses;

const USER: &str = "demo";
const DEVICE: &str = "phone";
const LOGIN_FILE: &str = "login.json";
const SAMPLES_FILE: &str = "samples.vcf";

/// Both roles, and where everything is.
pub(super) struct Running {
    program: PathBuf,
    directory: PathBuf,
    pub(super) relay: Role,
    pub(super) home: Role,
    pub(super) relay_state: PathBuf,
    pub(super) home_state: PathBuf,
    /// Where visitors and home connect to the relay.
    pub(super) relay_address: SocketAddr,
    /// Where programs on this machine connect to home.
    pub(super) local_address: SocketAddr,
}

#[derive(Deserialize)]
struct RelayReady {
    https: Vec<SocketAddr>,
}

#[derive(Deserialize)]
struct HomeReady {
    local: Vec<SocketAddr>,
}

/// The line that says that the tunnel is up.
#[derive(Deserialize)]
struct TunnelReady {}

#[derive(Deserialize)]
struct Imported {
    created: usize,
    updated: usize,
    unchanged: usize,
    refused: Vec<serde::de::IgnoredAny>,
}

/// Makes what is not there yet and starts both roles.
pub(super) async fn start(plan: &Plan, directory: &Path, story: &Story) -> anyhow::Result<Running> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let relay_state = directory.join("relay");
    let home_state = directory.join("home");

    let (relay, relay_address) = start_relay(plan, story, &program, &relay_state)
        .await
        .context("the demo's relay did not start; --port 0 chooses a free port")?;
    if home_state.join(HOME_FILE).exists() {
        // The relay may have got another port.
        save_home(&home_state, relay_address, plan.local_port.map(loopback))?;
    } else {
        join(plan, story, &program, &relay_state, &home_state).await?;
        save_home(&home_state, relay_address, None)?;
    }
    let (home, local_address) = start_home(story, &program, &home_state)
        .await
        .context("the demo's home did not start; --local-port 0 chooses a free port")?;
    save_home(&home_state, relay_address, Some(local_address))?;
    Ok(Running {
        program,
        directory: directory.to_owned(),
        relay,
        home,
        relay_state,
        home_state,
        relay_address,
        local_address,
    })
}

async fn start_relay(
    plan: &Plan,
    story: &Story,
    program: &Path,
    state: &Path,
) -> anyhow::Result<(Role, SocketAddr)> {
    let listen = loopback(plan.port.unwrap_or(0));
    if state.join(RELAY_FILE).exists() {
        if plan.port.is_some() {
            save_relay(state, listen)?;
        }
    } else {
        let listen = listen.to_string();
        let flags = ["--listen", &listen, "--address", &listen, "--no-http"];
        let arguments = [&["relay", "init", "--state", text(state)?], &flags[..]].concat();
        let init = role::command(program, &arguments);
        story.step(init, |_| "cloudless relay init").await?;
    }
    let run = async {
        let mut relay = Role::start(program, "relay", state)?;
        let ready: RelayReady = relay.ready().await?;
        Ok((relay, first(&ready.https)?))
    };
    let started = story
        .step(run, |(relay, address)| {
            format!(
                "cloudless relay run       listens on {address}, process {}",
                relay.id()
            )
        })
        .await?;
    // A second start uses the same port, so that what was set up with it goes on working.
    save_relay(state, started.1)?;
    Ok(started)
}

async fn join(
    plan: &Plan,
    story: &Story,
    program: &Path,
    relay_state: &Path,
    home_state: &Path,
) -> anyhow::Result<()> {
    // An earlier start may have been cut off after the name was given away.
    let invite = [
        "relay",
        "invite",
        HOSTNAME,
        "--replace",
        "--state",
        text(relay_state)?,
    ];
    let code = story
        .step(role::command(program, &invite), |code| {
            format!("cloudless relay invite    {code:.22}… is a join code for {HOSTNAME}")
        })
        .await?;
    let local = loopback(plan.local_port.unwrap_or(0)).to_string();
    let flags = ["--local", &local, "--state", text(home_state)?];
    let arguments = [&["home", "join", code.trim()], &flags[..]].concat();
    story
        .step(
            role::command(program, &arguments),
            |_| "cloudless home join CODE  home and relay know each other's keys",
        )
        .await?;
    Ok(())
}

async fn start_home(
    story: &Story,
    program: &Path,
    state: &Path,
) -> anyhow::Result<(Role, SocketAddr)> {
    let run = async {
        let mut home = Role::start(program, "home", state)?;
        let ready: HomeReady = home.ready().await?;
        let _: TunnelReady = home.ready().await?;
        Ok((home, first(&ready.local)?))
    };
    story
        .step(run, |(home, address)| {
            format!(
                "cloudless home run        tunnel is up, listens on {address}, process {}",
                home.id()
            )
        })
        .await
}

impl Running {
    /// The login that an earlier start made, or a new one with the sample contacts.
    pub(super) async fn log_in(&self, story: &Story) -> anyhow::Result<Login> {
        let path = self.file(LOGIN_FILE);
        if let Ok(json) = fs::read(&path) {
            return serde_json::from_slice(&json)
                .with_context(|| format!("{} is damaged; remove it", path.display()));
        }
        let state = text(&self.home_state)?;
        // A start that was cut off may have left a device whose password nobody knows.
        let revoke = ["device", "revoke", USER, DEVICE, "--state", state];
        let _ = role::command(&self.program, &revoke).await;
        let add = [
            "device",
            "add",
            USER,
            DEVICE,
            "--create-user",
            "--json",
            "--state",
            state,
        ];
        let json = story
            .step(role::command(&self.program, &add), |_| {
                format!("cloudless device add      user {USER}, device {DEVICE}, a new password")
            })
            .await?;
        let login: Login = serde_json::from_str(&json).context("the login is no JSON")?;
        let samples = self.file(SAMPLES_FILE);
        atomic_file::replace(&samples, samples::ALL)?;
        self.import(story, slice::from_ref(&samples)).await?;
        fs::remove_file(&samples).context("cannot remove the imported samples")?;
        atomic_file::replace(&path, &serde_json::to_vec(&login)?)?;
        Ok(login)
    }

    /// Imports files. Cards that cannot be are named on standard error, and the demo goes on.
    pub(super) async fn import(&self, story: &Story, files: &[PathBuf]) -> anyhow::Result<()> {
        let files: Vec<&str> = files
            .iter()
            .map(|file| text(file))
            .collect::<Result<_, _>>()?;
        let flags = ["--user", USER, "--json", "--state", text(&self.home_state)?];
        let arguments = [&["contacts", "import"], &files[..], &flags[..]].concat();
        let import = async {
            let json = role::watched_command(&self.program, &arguments).await?;
            // What failed stands on standard error already.
            ensure!(!json.is_empty(), "the contacts were not imported");
            serde_json::from_str::<Imported>(&json).context("the import said something unknown")
        };
        story
            .step(import, |imported| {
                let Imported {
                    created,
                    updated,
                    unchanged,
                    refused,
                } = imported;
                let mut text = format!("cloudless contacts import {created} new contacts");
                for (count, what) in [
                    (*updated, "updated"),
                    (*unchanged, "unchanged"),
                    (refused.len(), "left out"),
                ] {
                    if count > 0 {
                        text.push_str(&format!(", {count} {what}"));
                    }
                }
                text
            })
            .await?;
        Ok(())
    }

    /// The URL for phones.
    pub(super) fn public_url(&self) -> String {
        format!("https://{HOSTNAME}:{}/", self.relay_address.port())
    }

    /// The URL for programs on this machine.
    pub(super) fn local_url(&self) -> String {
        format!("http://{}/", self.local_address)
    }

    /// The certificate authority that home made for itself.
    pub(super) fn ca_file(&self) -> PathBuf {
        cloudless_home::certificate::ca_file(&self.home_state)
    }

    /// A file in the demo's own directory.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The log files of both, for people.
    pub(super) fn logs(&self) -> String {
        let [relay, home] = [&self.relay, &self.home].map(|role| role.log().display().to_string());
        format!("{relay}  {home}")
    }

    /// Waits until one of the processes ends, which none should do by itself.
    pub(super) async fn ended(&mut self) -> anyhow::Error {
        tokio::select! {
            error = self.relay.ended() => error,
            error = self.home.ended() => error,
        }
    }

    /// Stops both, home first, so that the relay sees it go rather than vanish.
    pub(super) async fn stop(self) {
        self.home.stop().await;
        self.relay.stop().await;
    }
}

/// Writes the relay's port into `relay.toml`.
fn save_relay(state: &Path, address: SocketAddr) -> anyhow::Result<()> {
    let mut file = RelayFile::read(state)?;
    file.listen.https = SocketAddresses(vec![address]);
    file.addresses = vec![reached_at(address)];
    atomic_file::replace(&state.join(RELAY_FILE), file.render().as_bytes())
}

/// Writes the relay's and the loopback port into `home.toml`.
fn save_home(state: &Path, relay: SocketAddr, local: Option<SocketAddr>) -> anyhow::Result<()> {
    let file = HomeFile::read(state)?;
    let mut document = HomeDocument::read(state)?.context("home.toml vanished")?;
    for (hostname, table) in file.hostnames.iter().zip(file.relay.own) {
        let table = RelayTable {
            addresses: vec![reached_at(relay)],
            ..table
        };
        document.add(hostname, &table, |_| false)?;
    }
    // The relay listens there and nowhere else, whatever the name leads to.
    document.set_probe(relay);
    if let Some(local) = local {
        document.set_local(&[local]);
    }
    document.write(state)
}

fn reached_at(address: SocketAddr) -> Address {
    Address {
        host: Host::Ip(address.ip()),
        port: Some(address.port()),
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn first(addresses: &[SocketAddr]) -> anyhow::Result<SocketAddr> {
    addresses.first().copied().context("nothing listens")
}

/// A path as a command line argument.
fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str()
        .ok_or_else(|| anyhow!("{} is not UTF-8; choose another path", path.display()))
}
