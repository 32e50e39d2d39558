//! cloudless: relay and home as processes of the release, home passing the name on raw.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cloudless_proto::Hostname;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::ChildStdout;
use tokio::time::timeout;

use super::backend::HOSTNAME;
use super::process::Process;
use super::site::Place;
use super::way::{Ground, Parts};

const READY_MAX: Duration = Duration::from_secs(20);

/// A running role and what else it may say.
pub(crate) struct Role {
    pub(crate) process: Process,
    lines: Lines<BufReader<ChildStdout>>,
}

/// The line of a relay that is up.
#[derive(Deserialize)]
pub(crate) struct RelayReady {
    pub(crate) https: Vec<SocketAddr>,
}

/// A relay and a home that has joined it.
pub(crate) async fn open(ground: &Ground<'_>, folder: &Path, legs: bool) -> Result<Parts> {
    open_with(ground, folder, legs, one_source).await
}

/// The same with the limits as they come, and with a server beside the relay for strangers.
pub(crate) async fn open_with_default_limits(
    ground: &Ground<'_>,
    folder: &Path,
    fallback: SocketAddr,
) -> Result<Parts> {
    let fallback = format!("[fallback]\nhttps = \"{fallback}\"\n");
    let config = |text: &str| text.replacen("[fallback]\n", &fallback, 1);
    open_with(ground, folder, true, config).await
}

async fn open_with(
    ground: &Ground<'_>,
    folder: &Path,
    legs: bool,
    limits: impl Fn(&str) -> String,
) -> Result<Parts> {
    let program = ground.workspace.target("release/cloudless");
    let (relay_place, home_place) = (&ground.site.relay, &ground.site.home);
    let relay_state = folder.join("relay");
    let home_state = folder.join("home");
    init(&program, relay_place, &relay_state, limits).await?;
    let (relay, address) = start_relay(&program, relay_place, &relay_state, folder).await?;
    let invite = ["relay", "invite", HOSTNAME];
    let code = run(&program, relay_place, &invite, &relay_state).await?;
    let join = ["home", "join", code.trim(), "--local", "127.0.0.1:0"];
    run(&program, home_place, &join, &home_state).await?;
    let config = |text: &str| home_config(text, ground.backend, legs);
    edit(&home_state.join("home.toml"), config)?;
    let mut home = Role::start("home", &program, home_place, &home_state, folder)?;
    home.line().await?;
    home.line().await.context("the tunnel")?;
    Ok(Parts {
        address,
        relay: vec![relay.process],
        home: vec![home.process],
    })
}

/// A relay that listens for SSH at this address too and gives the name to whoever has this key.
pub(crate) async fn relay_for_ssh(
    ground: &Ground<'_>,
    folder: &Path,
    ssh: SocketAddr,
    key: &str,
) -> Result<(Role, SocketAddr)> {
    let program = ground.workspace.target("release/cloudless");
    let (place, state) = (&ground.site.relay, folder.join("relay"));
    init(&program, place, &state, one_source).await?;
    let listen = |text: &str| text.replacen("ssh = []", &format!("ssh = \"{ssh}\""), 1);
    edit(&state.join("relay.toml"), listen)?;
    let started = start_relay(&program, place, &state, folder).await?;
    let allow = ["relay", "allow-ssh", HOSTNAME, key.trim()];
    run(&program, place, &allow, &state).await?;
    Ok(started)
}

/// Makes a relay and starts it.
pub(crate) async fn relay(
    program: &Path,
    place: &Place,
    state: &Path,
    folder: &Path,
) -> Result<(Role, SocketAddr)> {
    init(program, place, state, one_source).await?;
    start_relay(program, place, state, folder).await
}

/// Lets a running relay read its files again.
pub(crate) async fn reload(ground: &Ground<'_>, state: &Path) -> Result<()> {
    let program = ground.workspace.target("release/cloudless");
    run(&program, &ground.site.relay, &["relay", "reload"], state).await?;
    Ok(())
}

/// What a running relay has counted of connections so far, by class (docs/metrics.md).
pub(crate) async fn outcomes(ground: &Ground<'_>, state: &Path) -> Result<BTreeMap<String, u64>> {
    #[derive(Deserialize)]
    struct Status {
        running: bool,
        outcomes: BTreeMap<String, u64>,
    }
    let program = ground.workspace.target("release/cloudless");
    let status = ["relay", "status", "--json"];
    let text = run(&program, &ground.site.relay, &status, state).await?;
    let status: Status = serde_json::from_str(&text).context("read the relay's status")?;
    ensure!(status.running, "the relay does not run any more");
    Ok(status.outcomes)
}

/// What the relay of this state calls itself.
pub(crate) fn server_name(state: &Path) -> Result<Hostname> {
    let text = std::fs::read_to_string(state.join("relay.toml")).context("read relay.toml")?;
    let table: toml::Table = text.parse().context("read relay.toml")?;
    let name = table.get("server_name").and_then(toml::Value::as_str);
    let name = name.context("relay.toml names no server")?;
    name.parse().context("read the relay's name")
}

async fn init(
    program: &Path,
    place: &Place,
    state: &Path,
    limits: impl Fn(&str) -> String,
) -> Result<()> {
    let listen = place.address(place.port).to_string();
    let init = ["relay", "init", "--listen", &listen, "--no-http"];
    let init = [&init[..], &["--address", &listen]].concat();
    run(program, place, &init, state).await?;
    edit(&state.join("relay.toml"), limits)
}

/// Starts a relay that was made before.
pub(crate) async fn start_relay(
    program: &Path,
    place: &Place,
    state: &Path,
    folder: &Path,
) -> Result<(Role, SocketAddr)> {
    let mut relay = Role::start("relay", program, place, state, folder)?;
    let ready: RelayReady = serde_json::from_str(&relay.line().await?).context("read the relay")?;
    let address = ready.https.first().context("the relay listens nowhere")?;
    Ok((relay, *address))
}

fn edit(path: &Path, change: impl Fn(&str) -> String) -> Result<()> {
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("read {}", path.display()))?;
    std::fs::write(path, change(&text)).with_context(|| format!("write {}", path.display()))
}

/// All visitors and homes of the benchmark come from one address.
fn one_source(text: &str) -> String {
    let limits = "[limits]\nconnections_per_source = 100000\nvisitors_per_home = 10000\n";
    text.replacen("[limits]\n", limits, 1)
}

/// The name goes raw to the server.
fn home_config(text: &str, backend: SocketAddr, legs: bool) -> String {
    let legs = if legs { "" } else { "legs = false\n" };
    format!("{legs}{text}\n[hostname.\"{HOSTNAME}\"]\npassthrough = \"{backend}\"\n")
}

impl Role {
    pub(super) fn start(
        name: &'static str,
        program: &Path,
        place: &Place,
        state: &Path,
        folder: &Path,
    ) -> Result<Self> {
        let mut command = place.command(program);
        command
            .args([name, "run", "--ready-json", "--die-with"])
            .arg(std::process::id().to_string())
            .arg("--state")
            .arg(state)
            .stdout(Stdio::piped());
        let mut process = Process::start(name, &mut command, folder)?;
        let lines = BufReader::new(process.output()?).lines();
        Ok(Self { process, lines })
    }

    /// The next line that it says when it has come further.
    pub(super) async fn line(&mut self) -> Result<String> {
        let line = timeout(READY_MAX, self.lines.next_line()).await;
        let line = line.with_context(|| self.process.failure("was not ready in time"))?;
        line.ok()
            .flatten()
            .with_context(|| self.process.failure("ended before it was ready"))
    }
}

/// Runs a command of the command line on a state, as a user would, and returns what it prints.
pub(super) async fn run(
    program: &Path,
    place: &Place,
    arguments: &[&str],
    state: &Path,
) -> Result<String> {
    let mut command = place.command(program);
    command.args(arguments).arg("--state").arg(state);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = output.await.context("start cloudless")?;
    ensure!(
        output.status.success(),
        "cloudless {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8(output.stdout).context("the command printed something else than text")
}
