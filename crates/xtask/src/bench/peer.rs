//! The peers: servers from PyPI, with their defaults, on this machine.

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
use super::loaded;
use crate::python::PEERS;
use crate::workspace::Workspace;

pub(crate) const RADICALE: &str = "Radicale";
pub(crate) const XANDIKOS: &str = "Xandikos";

/// Where it makes an address book by itself, and that book's repository in its folder.
const XANDIKOS_BOOK: &str = "/bench/contacts/addressbook/";

const START_MAX: Duration = Duration::from_secs(60);
const MAKE_BOOK: &str = r#"<?xml version="1.0"?>
<mkcol xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><set><prop>
<resourcetype><collection/><C:addressbook/></resourcetype>
</prop></set></mkcol>"#;

/// A running server. Dropping it kills it.
pub(crate) struct Peer {
    child: Child,
    pub(crate) name: &'static str,
    /// The address book.
    pub(crate) target: Target,
}

impl Peer {
    /// Starts Radicale in a folder; it makes no address book by itself.
    pub(crate) async fn radicale(workspace: &Workspace, folder: &Path) -> Result<Self> {
        let bin = PEERS.prepare(workspace)?;
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let passwords = folder.join("passwords");
        fs::write(&passwords, "bench:secret\n").context("write Radicale's passwords")?;
        let port = free_port()?;
        let mut command = Command::new(bin.join("radicale"));
        command
            .args(["--config", "", "--hosts", &format!("127.0.0.1:{port}")])
            .args(["--auth-type", "htpasswd"])
            .args(["--auth-htpasswd-encryption", "plain"])
            .arg("--auth-htpasswd-filename")
            .arg(&passwords)
            .arg("--storage-filesystem-folder")
            .arg(folder.join("radicale"))
            .args(["--logging-level", "error"]);
        Self::start(RADICALE, command, port, "/bench/contacts/").await
    }

    /// Starts Xandikos in a folder. It asks for no password: over plain HTTP it leaves logins to a
    /// proxy.
    pub(crate) async fn xandikos(workspace: &Workspace, folder: &Path) -> Result<Self> {
        let bin = PEERS.prepare(workspace)?;
        let port = free_port()?;
        let mut command = Command::new(bin.join("xandikos"));
        command
            .args(["serve", "--defaults", "--no-detect-systemd"])
            .args(["--current-user-principal", "/bench/"])
            .args(["--listen-address", "127.0.0.1"])
            .args(["--port", &port.to_string()])
            .arg("--directory")
            .arg(folder.join("xandikos"))
            .arg("--state-dir")
            .arg(folder.join("xandikos-state"));
        Self::start(XANDIKOS, command, port, XANDIKOS_BOOK).await
    }

    /// Both, with empty address books.
    pub(crate) async fn both(workspace: &Workspace, folder: &Path) -> Result<Vec<Self>> {
        let radicale = Self::radicale(workspace, folder).await?;
        make_book(&radicale.target).await?;
        Ok(vec![radicale, Self::xandikos(workspace, folder).await?])
    }

    /// Both, with books of `size` cards that were written to their disk while they were down, and
    /// with their caches and indexes built; tells how long each one's first answers took.
    pub(crate) async fn both_loaded(
        workspace: &Workspace,
        folder: &Path,
        size: usize,
    ) -> Result<Vec<(Self, Duration)>> {
        loaded::radicale(workspace, &folder.join("radicale"), size)?;
        let radicale = Self::radicale(workspace, folder).await?;
        let mut empty = Self::xandikos(workspace, folder).await?;
        empty.child.kill().await.context("stop Xandikos")?;
        loaded::xandikos(
            workspace,
            &folder.join(format!("xandikos{XANDIKOS_BOOK}")),
            size,
        )?;
        let xandikos = Self::xandikos(workspace, folder).await?;
        let mut peers = Vec::new();
        for peer in [radicale, xandikos] {
            let time = loaded::warm(&peer.target, size).await;
            let time = time.with_context(|| format!("load {}", peer.name))?;
            peers.push((peer, time));
        }
        Ok(peers)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    async fn start(
        name: &'static str,
        mut command: Command,
        port: u16,
        book: &str,
    ) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let pid = child.id().with_context(|| format!("{name} ended early"))?;
        let url = format!("http://127.0.0.1:{port}/");
        let target = Target::new(&url, "bench", "secret", book.to_owned(), None, vec![pid])?;
        timeout(START_MAX, connect(&target))
            .await
            .with_context(|| format!("{name} was not up after {START_MAX:?}"))?;
        Ok(Self {
            child,
            name,
            target,
        })
    }
}

/// Makes an address book.
pub(crate) async fn make_book(target: &Target) -> Result<()> {
    let created = [StatusCode::CREATED];
    let mut connection = target.connect().await?;
    connection
        .send("MKCOL", "", &[], MAKE_BOOK, &created)
        .await?;
    Ok(())
}

/// A port for a server that cannot be told to choose one itself.
pub(crate) fn free_port() -> Result<u16> {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    Ok(address.context("find a free port")?.port())
}

/// The peers say nothing when they are up, so they are asked until they answer.
async fn connect(target: &Target) -> Connection {
    loop {
        match target.connect().await {
            Ok(connection) => return connection,
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}
