//! cloudless at home, and a plain sshd in the relay's place, which listens for visitors itself.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};

use super::backend::HOSTNAME;
use super::ours::{Role, run};
use super::process::Process;
use super::recipe::{SSHD_FOLDER, make_key, write};
use super::way::{Ground, Parts};
use crate::bench::peer::free_port;

/// A server with a key that home trusts, and a home that logs in there as root.
pub(crate) async fn open(ground: &Ground<'_>, folder: &Path) -> Result<Parts> {
    let relay = &ground.site.relay;
    let (address, sshd_address) = (relay.address(free_port()?), relay.address(free_port()?));
    let (host_key, home_key) = (folder.join("host_key"), folder.join("home_key"));
    for key in [&host_key, &home_key] {
        make_key(key).await?;
    }
    let config = folder.join("sshd_config");
    let text = format!(
        "ListenAddress {sshd_address}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\n\
         UsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\n\
         GatewayPorts clientspecified\nClientAliveInterval 5\nClientAliveCountMax 2\n",
        host_key.display(),
        home_key.with_extension("pub").display()
    );
    write(&config, &text)?;
    // Only root can make it, and only root needs it.
    let _ = std::fs::create_dir_all(SSHD_FOLDER);
    let mut command = relay.command("/usr/sbin/sshd");
    command.args(["-D", "-e", "-f"]).arg(&config);
    let sshd = Process::start("sshd", command.stdout(Stdio::null()), folder)?;

    let state = folder.join("home");
    std::fs::create_dir_all(&state).context("make home's folder")?;
    let key = std::fs::read_to_string(host_key.with_extension("pub")).context("read a key")?;
    let known = format!("[{}]:{} {key}", sshd_address.ip(), sshd_address.port());
    write(&state.join("known_hosts"), &known)?;
    let text = format!(
        "hostnames = [\"{HOSTNAME}\"]\nlocal = \"127.0.0.1:0\"\n[[relay]]\ntransport = \"ssh\"\n\
         host = \"{}\"\nport = {}\nuser = \"root\"\nkey_file = \"{}\"\nforward = \"{address}\"\n\
         [hostname.\"{HOSTNAME}\"]\npassthrough = \"{}\"\n",
        sshd_address.ip(),
        sshd_address.port(),
        home_key.display(),
        ground.backend
    );
    write(&state.join("home.toml"), &text)?;
    let program = ground.workspace.target("release/cloudless");
    let place = &ground.site.home;
    let user = ["user", "add", "me"];
    run(&program, place, &user, &state).await?;
    let mut home = Role::start("home", &program, place, &state, folder)?;
    home.line().await?;
    home.line().await.context("the session")?;
    Ok(Parts {
        address,
        relay: vec![sshd],
        home: vec![home.process],
    })
}
