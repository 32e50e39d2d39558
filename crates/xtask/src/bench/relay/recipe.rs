//! The recipe that people follow without a tunnel program: sniproxy reads the server name, sshd on
//! the same machine has a port that `ssh -R` from home serves, and autossh keeps that up.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::backend::HOSTNAME;
use super::process::Process;
use super::way::{Ground, Parts};
use crate::bench::peer::free_port;

/// sshd wants this folder when root starts it; Debian's service makes it.
pub(super) const SSHD_FOLDER: &str = "/run/sshd";

/// Each with a config and keys of its own.
pub(crate) async fn open(ground: &Ground<'_>, folder: &Path) -> Result<Parts> {
    let relay = &ground.site.relay;
    let address = relay.address(free_port()?);
    let sshd_address = relay.address(free_port()?);
    let forwarded = format!("127.0.0.1:{}", free_port()?);

    let sniproxy = folder.join("sniproxy.conf");
    let text = format!(
        "user nobody\npidfile {}\nerror_log {{\n  filename /dev/null\n}}\n\
         access_log {{\n  filename /dev/null\n}}\n\
         listener {address} {{\n  proto tls\n  table homes\n}}\n\
         table homes {{\n  {HOSTNAME} {forwarded}\n}}\n",
        folder.join("sniproxy.pid").display()
    );
    write(&sniproxy, &text)?;
    let mut command = relay.command("/usr/sbin/sniproxy");
    command.arg("-f").arg("-c").arg(&sniproxy);
    let sniproxy = Process::start("sniproxy", command.stdout(Stdio::null()), folder)?;

    let (host_key, home_key) = (folder.join("host_key"), folder.join("home_key"));
    for key in [&host_key, &home_key] {
        make_key(key).await?;
    }
    let config = folder.join("sshd_config");
    let text = format!(
        "ListenAddress {sshd_address}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\n\
         UsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\n",
        host_key.display(),
        home_key.with_extension("pub").display()
    );
    write(&config, &text)?;
    // Only root can make it, and only root needs it.
    let _ = std::fs::create_dir_all(SSHD_FOLDER);
    let mut command = relay.command("/usr/sbin/sshd");
    command.args(["-D", "-e", "-f"]).arg(&config);
    let sshd = Process::start("sshd", command.stdout(Stdio::null()), folder)?;

    let mut command = ground.site.home.command("autossh");
    command
        .env("AUTOSSH_GATETIME", "0")
        .env("AUTOSSH_POLL", "5")
        .args(["-M", "0", "-N", "-T", "-F", "none"])
        .args(["-o", "ExitOnForwardFailure=yes", "-o", "BatchMode=yes"])
        .args(["-o", "StrictHostKeyChecking=no", "-o", "IdentitiesOnly=yes"])
        .args(["-o", "UserKnownHostsFile=/dev/null"])
        .args(["-o", "ServerAliveInterval=15", "-i"])
        .arg(&home_key)
        .args(["-R", &format!("{forwarded}:{}", ground.backend)])
        .args(["-p", &sshd_address.port().to_string()])
        .arg(sshd_address.ip().to_string());
    let autossh = Process::start("autossh", command.stdout(Stdio::null()), folder)?;
    Ok(Parts {
        address,
        relay: vec![sniproxy, sshd],
        home: vec![autossh],
    })
}

/// Makes a key as people do.
pub(super) async fn make_key(path: &Path) -> Result<()> {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .status()
        .await
        .context("run ssh-keygen")?;
    ensure!(made.success(), "ssh-keygen: {made}");
    Ok(())
}

pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
