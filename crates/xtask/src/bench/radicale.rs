//! The peer: Radicale from PyPI, with its defaults, on this machine.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use http::StatusCode;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::client::{Connection, Target};
use crate::python::PEERS;
use crate::workspace::Workspace;

const START_MAX: Duration = Duration::from_secs(20);
const MAKE_BOOK: &str = r#"<?xml version="1.0"?>
<mkcol xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><set><prop>
<resourcetype><collection/><C:addressbook/></resourcetype>
</prop></set></mkcol>"#;

/// A running Radicale with one empty address book. Dropping it kills it.
pub(crate) struct Radicale {
    _child: Child,
    pub(crate) target: Target,
}

impl Radicale {
    /// Installs Radicale if need be, starts it and makes the address book.
    pub(crate) async fn start(workspace: &Workspace, folder: &Path) -> Result<Self> {
        let bin = PEERS.prepare(workspace)?;
        let passwords = folder.join("passwords");
        fs::write(&passwords, "bench:secret\n").context("write Radicale's passwords")?;
        // Radicale cannot be told to choose a port itself.
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|it| it.local_addr())
            .context("find a free port")?
            .port();
        let child = Command::new(bin.join("radicale"))
            .args(["--config", "", "--hosts", &format!("127.0.0.1:{port}")])
            .args([
                "--auth-type",
                "htpasswd",
                "--auth-htpasswd-encryption",
                "plain",
            ])
            .arg("--auth-htpasswd-filename")
            .arg(&passwords)
            .arg("--storage-filesystem-folder")
            .arg(folder.join("collections"))
            .args(["--logging-level", "error"])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("start Radicale")?;
        let url = format!("http://127.0.0.1:{port}/");
        let target = Target::new(&url, "bench", "secret", "/bench/contacts/".to_owned(), None)?;
        timeout(START_MAX, connect(&target))
            .await
            .with_context(|| format!("Radicale was not up after {START_MAX:?}"))?
            .send(
                "MKCOL",
                "",
                &[],
                MAKE_BOOK.to_owned(),
                &[StatusCode::CREATED],
            )
            .await?;
        Ok(Self {
            _child: child,
            target,
        })
    }
}

/// Radicale says nothing when it is up, so it is asked until it answers.
async fn connect(target: &Target) -> Connection {
    loop {
        match target.connect().await {
            Ok(connection) => return connection,
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}
