//! A relay whose owner cheats: it passes visitors on to the honest program behind it, or answers them.

use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use cloudless_proto::client_hello::{Parsed, Reader};
use rustls::ServerConfig;
use tokio::io::{self, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::certificate::{Stolen, server};

/// How an authority's ClientHello is told from all others (RFC 8737 section 4).
const VALIDATION: &[u8] = b"acme-tls/1";

/// Visitors come here; it ends when dropped.
pub(crate) struct CheatingRelay {
    address: SocketAddr,
    ruses: Arc<Mutex<Ruses>>,
    task: JoinHandle<()>,
}

/// What it does to visitors, and what it has got.
#[derive(Default)]
struct Ruses {
    /// Authorities are answered this in home's place.
    validation: Option<Arc<ServerConfig>>,
    imitation: Option<Imitation>,
    /// All bytes that were passed on, both ways.
    passed: Vec<u8>,
    /// What imitated visitors have said and were told.
    overheard: Vec<u8>,
}

/// Phones get this in home's place; what they say is passed on, so that they notice nothing.
#[derive(Clone)]
struct Imitation {
    own: Arc<ServerConfig>,
    to_home: TlsConnector,
    hostname: String,
}

impl CheatingRelay {
    /// Cheats before an honest relay.
    pub(crate) async fn before(honest: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ruses = Arc::<Mutex<Ruses>>::default();
        let shared = ruses.clone();
        let task = tokio::spawn(async move {
            let mut visitors = JoinSet::new();
            while let Ok((visitor, _)) = listener.accept().await {
                let ruses = shared.clone();
                // Whoever is cut off sees that.
                visitors.spawn(async move { drop(serve(visitor, honest, &ruses).await) });
            }
        });
        Self {
            address,
            ruses,
            task,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers authorities that come to look.
    pub(crate) fn validate(&self, proof: Option<Arc<ServerConfig>>) {
        self.ruses().validation = proof;
    }

    /// Imitates home with a certificate, and passes on to home what phones say.
    pub(crate) fn imitate(&self, hostname: &str, stolen: &Stolen, to_home: rustls::ClientConfig) {
        let own = server(stolen.chain.clone(), stolen.private_key());
        self.ruses().imitation = Some(Imitation {
            own: Arc::new(own),
            to_home: TlsConnector::from(Arc::new(to_home)),
            hostname: hostname.to_owned(),
        });
    }

    /// Is honest again. Returns what imitated visitors have said and were told since the last time.
    pub(crate) fn repent(&self) -> Vec<u8> {
        let mut ruses = self.ruses();
        ruses.imitation = None;
        ruses.validation = None;
        std::mem::take(&mut ruses.overheard)
    }

    /// What has gone by, as it was on the wire.
    pub(crate) fn passed(&self) -> Vec<u8> {
        self.ruses().passed.clone()
    }

    fn ruses(&self) -> MutexGuard<'_, Ruses> {
        self.ruses.lock().unwrap()
    }
}

impl Drop for CheatingRelay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut visitor: TcpStream, honest: SocketAddr, ruses: &Mutex<Ruses>) -> io::Result<()> {
    visitor.set_nodelay(true)?;
    let hello = hello(&mut visitor).await?;
    let is_validation = hello
        .windows(VALIDATION.len())
        .any(|part| part == VALIDATION);
    let (validation, imitation) = {
        let ruses = ruses.lock().unwrap();
        (ruses.validation.clone(), ruses.imitation.clone())
    };
    let (from, to) = visitor.split();
    let visitor = io::join(Cursor::new(hello).chain(from), to);
    match (validation, imitation) {
        (Some(proof), _) if is_validation => {
            let mut tls = TlsAcceptor::from(proof).accept(visitor).await?;
            tls.shutdown().await
        }
        (_, Some(imitation)) if !is_validation => imitate(visitor, honest, imitation, ruses).await,
        _ => {
            let mut home = TcpStream::connect(honest).await?;
            home.set_nodelay(true)?;
            let (from_home, to_home) = home.split();
            let (from, to) = io::split(visitor);
            let keep = |bytes: &[u8]| ruses.lock().unwrap().passed.extend(bytes);
            tokio::try_join!(copy(from, to_home, keep), copy(from_home, to, keep)).map(drop)
        }
    }
}

async fn imitate(
    visitor: impl AsyncRead + AsyncWrite + Unpin,
    honest: SocketAddr,
    imitation: Imitation,
    ruses: &Mutex<Ruses>,
) -> io::Result<()> {
    let mut phone = TlsAcceptor::from(imitation.own).accept(visitor).await?;
    let keep = |bytes: &[u8]| ruses.lock().unwrap().overheard.extend(bytes);
    // What the phone says first counts, also where home then refuses.
    let mut first = vec![0; 16 * 1024];
    let length = phone.read(&mut first).await?;
    keep(&first[..length]);
    let (from_phone, to_phone) = io::split(phone);
    let tcp = TcpStream::connect(honest).await?;
    let name = imitation.hostname.try_into().map_err(io::Error::other)?;
    let mut home = imitation.to_home.connect(name, tcp).await?;
    home.write_all(&first[..length]).await?;
    let (from_home, to_home) = io::split(home);
    tokio::select! {
        done = copy(from_home, to_phone, keep) => done,
        Err(error) = copy(from_phone, to_home, keep) => Err(error),
    }
}

/// Everything up to the end of a ClientHello, or of what is none.
async fn hello(visitor: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut reader = Reader::new();
    let mut buffer = [0; 4096];
    loop {
        let length = visitor.read(&mut buffer).await?;
        let parsed = reader.push(&buffer[..length]);
        if length == 0 || !matches!(parsed, Parsed::Incomplete) {
            return Ok(reader.into_bytes());
        }
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    keep: impl Fn(&[u8]),
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        keep(&buffer[..length]);
        to.write_all(&buffer[..length]).await?;
        to.flush().await?;
    }
}
