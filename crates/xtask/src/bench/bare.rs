//! A server of nothing but HTTP, in a process of its own: what no server can be faster than when
//! this client asks it over this machine's loopback.

use std::convert::Infallible;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::cards;
use super::client::Target;

const START_MAX: Duration = Duration::from_secs(10);
const MULTISTATUS: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<multistatus xmlns="DAV:"><response><href>/</href><propstat><prop><getetag>"1"</getetag></prop>
<status>HTTP/1.1 200 OK</status></propstat></response></multistatus>"#;

/// The running server. Dropping it kills it.
pub(crate) struct Bare {
    _child: Child,
    pub(crate) target: Target,
}

impl Bare {
    /// Starts this program once more, as that server.
    pub(crate) async fn start() -> Result<Self> {
        let program = std::env::current_exe().context("find this program")?;
        let mut child = Command::new(program)
            .args(["bench", "--bare-server"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start the bare server")?;
        let stdout = child.stdout.take().context("take its standard output")?;
        let mut address = String::new();
        timeout(START_MAX, BufReader::new(stdout).read_line(&mut address))
            .await
            .context("the bare server was not up in time")?
            .context("read the address of the bare server")?;
        let url = format!("http://{}/", address.trim());
        let pid = child.id().context("the bare server ended early")?;
        let target = Target::new(&url, "bench", "secret", "/".to_owned(), None, vec![pid])?;
        Ok(Self {
            _child: child,
            target,
        })
    }
}

/// Is that server, and prints its address, until it is killed.
pub(crate) async fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("bind")?;
    println!("{}", listener.local_addr().context("read the address")?);
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.context("accept")?;
        stream.set_nodelay(true).context("set TCP_NODELAY")?;
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(respond));
        connections.spawn(connection);
        while connections.try_join_next().is_some() {}
    }
}

async fn respond(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_get = request.method() == Method::GET;
    // An unread body would close the connection; one that breaks off closes it anyhow.
    let _ = request.into_body().collect().await;
    let mut response = Response::new(Full::from(MULTISTATUS));
    *response.status_mut() = StatusCode::MULTI_STATUS;
    if is_get {
        response = Response::new(Full::from(cards::card(1)));
    }
    Ok(response)
}
