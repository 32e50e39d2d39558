//! rathole: a relay that copies, with a TCP connection from home for each visitor.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::process::Process;
use super::way::{Ground, Parts};
use crate::bench::peer::free_port;
use crate::step;
use crate::workspace::Workspace;

const VERSION: &str = "0.5.0";

/// Finds rathole, or builds it under `target/tools`: a minute, once. Without its features for
/// other transports than TCP, whose dependencies are too old to build.
pub(crate) fn prepare(workspace: &Workspace) -> Result<()> {
    if program(workspace).exists() {
        return Ok(());
    }
    let mut install = Command::new("cargo");
    install
        .args(["install", "--quiet", "rathole", "--version", VERSION])
        .args(["--no-default-features", "--features", "client,server"])
        .arg("--root")
        .arg(workspace.target("tools"));
    step::run(&mut install)
}

fn program(workspace: &Workspace) -> PathBuf {
    workspace.target("tools").join("bin/rathole")
}

/// With its defaults, over TCP without TLS.
pub(crate) fn open(ground: &Ground<'_>, folder: &Path) -> Result<Parts> {
    let address = ground.site.relay.address(free_port()?);
    let tunnel = ground.site.relay.address(free_port()?);
    let server = format!(
        "[server]\nbind_addr = \"{tunnel}\"\ndefault_token = \"bench\"\n\
         [server.services.home]\nbind_addr = \"{address}\"\n"
    );
    let client = format!(
        "[client]\nremote_addr = \"{tunnel}\"\ndefault_token = \"bench\"\n\
         [client.services.home]\nlocal_addr = \"{}\"\n",
        ground.backend
    );
    let start = |role: &'static str, text: String| {
        let config = folder.join(role).with_extension("toml");
        std::fs::write(&config, text).with_context(|| format!("write {}", config.display()))?;
        let (place, flag) = match role {
            "rathole-server" => (&ground.site.relay, "--server"),
            _ => (&ground.site.home, "--client"),
        };
        let mut command = place.command(program(ground.workspace));
        command.arg(flag).arg(config).stdout(Stdio::null());
        Process::start(role, &mut command, folder)
    };
    Ok(Parts {
        address,
        relay: vec![start("rathole-server", server)?],
        home: vec![start("rathole-client", client)?],
    })
}
