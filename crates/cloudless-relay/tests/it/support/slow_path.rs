use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A way to the relay for one connection, on which what the relay sends can be held up.
pub(crate) struct SlowPath {
    pub(crate) address: SocketAddr,
    is_held: watch::Sender<bool>,
    to_home: Arc<AtomicUsize>,
    _copying: JoinSet<()>,
}

impl SlowPath {
    pub(crate) async fn to(relay: SocketAddr) -> Self {
        let listener = TcpListener::bind((relay.ip(), 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_held, held) = watch::channel(false);
        let (from_home_count, to_home_count) = (Arc::default(), Arc::default());
        let to_home = Arc::clone(&to_home_count);
        let mut copying = JoinSet::new();
        copying.spawn(async move {
            let (home, _) = listener.accept().await.unwrap();
            let relay = tokio::net::TcpStream::connect(relay).await.unwrap();
            for stream in [&home, &relay] {
                stream.set_nodelay(true).unwrap();
            }
            let (from_home, to_home) = home.into_split();
            let (from_relay, to_relay) = relay.into_split();
            let (_never, free) = watch::channel(false);
            tokio::join!(
                copy(from_home, to_relay, free, from_home_count),
                copy(from_relay, to_home, held, to_home_count)
            );
        });
        Self {
            address,
            is_held,
            to_home,
            _copying: copying,
        }
    }

    /// Lets nothing pass from the relay to the home, until [`release`](Self::release).
    pub(crate) fn hold(&self) {
        self.is_held.send_replace(true);
    }

    pub(crate) fn release(&self) {
        self.is_held.send_replace(false);
    }

    /// How many bytes of the relay have passed.
    pub(crate) fn n_to_home(&self) -> usize {
        self.to_home.load(Ordering::Relaxed)
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut held: watch::Receiver<bool>,
    count: Arc<AtomicUsize>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        let _ = held.wait_for(|held| !held).await;
        if to.write_all(&buffer[..n]).await.is_err() {
            break;
        }
        count.fetch_add(n, Ordering::Relaxed);
    }
    let _ = to.shutdown().await;
}
