//! A TCP connection's way between two programs that a test can cut.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::io::{self, AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Where a line leads.
#[derive(Clone)]
pub(crate) enum End {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Passes every connection on, until it is dropped.
pub(crate) struct Line {
    address: SocketAddr,
    cuts: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Line {
    pub(crate) async fn to(end: End) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cuts, cut) = watch::channel(());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let (end, mut cut) = (end.clone(), cut.clone());
                cut.mark_unchanged();
                connections.spawn(async move {
                    tokio::select! {
                        _ = cut.changed() => {}
                        // The two ends see what it was.
                        _ = carry(near, end) => {}
                    }
                });
            }
        });
        Self {
            address,
            cuts,
            task,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection that is there. New ones are passed on as before.
    pub(crate) fn cut(&self) {
        self.cuts.send_replace(());
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(mut near: TcpStream, end: End) -> io::Result<()> {
    near.set_nodelay(true)?;
    let mut far: Box<dyn Stream> = match end {
        End::Tcp(address) => {
            let far = TcpStream::connect(address).await?;
            far.set_nodelay(true)?;
            Box::new(far)
        }
        End::Unix(path) => Box::new(UnixStream::connect(path).await?),
    };
    io::copy_bidirectional(&mut near, &mut far).await.map(drop)
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}
