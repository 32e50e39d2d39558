//! cloudless' relay, and `ssh -R` as home, kept by autossh.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};

use super::backend::HOSTNAME;
use super::ours;
use super::process::Process;
use super::recipe::make_key;
use super::way::{Ground, Parts};
use crate::bench::peer::free_port;

pub(crate) async fn open(ground: &Ground<'_>, folder: &Path) -> Result<Parts> {
    let key = folder.join("home_key");
    make_key(&key).await?;
    let public = std::fs::read_to_string(key.with_extension("pub")).context("read the key")?;
    let ssh = ground.site.relay.address(free_port()?);
    let (relay, address) = ours::relay_for_ssh(ground, folder, ssh, &public).await?;
    let mut command = ground.site.home.command("autossh");
    command
        .env("AUTOSSH_GATETIME", "0")
        .env("AUTOSSH_POLL", "5")
        .args(["-M", "0", "-N", "-T", "-F", "none"])
        .args(["-o", "ExitOnForwardFailure=yes", "-o", "BatchMode=yes"])
        .args(["-o", "StrictHostKeyChecking=no", "-o", "IdentitiesOnly=yes"])
        .args(["-o", "UserKnownHostsFile=/dev/null"])
        // As `relay allow-ssh` says.
        .args(["-o", "ServerAliveInterval=2", "-o", "ServerAliveCountMax=2"])
        .args(["-o", "ConnectTimeout=5"])
        .arg("-i")
        .arg(&key)
        .args(["-R", &format!("{HOSTNAME}:443:{}", ground.backend)])
        .args(["-p", &ssh.port().to_string()])
        .arg(format!("relay@{}", ssh.ip()));
    let autossh = Process::start("autossh", command.stdout(Stdio::null()), folder)?;
    Ok(Parts {
        address,
        relay: vec![relay.process],
        home: vec![autossh],
    })
}
