//! HAProxy: what one hop costs that reads the server name and copies, without any tunnel.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};

use super::backend::HOSTNAME;
use super::process::Process;
use super::way::{Ground, Parts};
use crate::bench::peer::free_port;

/// With its defaults, in TCP mode.
pub(crate) fn open(ground: &Ground<'_>, folder: &Path) -> Result<Parts> {
    let address = ground.site.relay.address(free_port()?);
    let text = format!(
        "global\n  maxconn 8000\n\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
         frontend visitors\n  bind {address}\n  tcp-request inspect-delay 5s\n  \
         tcp-request content accept if {{ req_ssl_hello_type 1 }}\n  \
         use_backend home if {{ req_ssl_sni -i {HOSTNAME} }}\n\
         backend home\n  server home {}\n",
        ground.backend
    );
    let config = folder.join("haproxy.cfg");
    std::fs::write(&config, text).with_context(|| format!("write {}", config.display()))?;
    let mut command = ground.site.relay.command("/usr/sbin/haproxy");
    command.args(["-db", "-f"]).arg(&config);
    let process = Process::start("haproxy", command.stdout(Stdio::null()), folder)?;
    Ok(Parts {
        address,
        relay: vec![process],
        home: Vec::new(),
    })
}
