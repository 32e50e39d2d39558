//! A server that notes what it is sent, byte for byte, and answers what it is told to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use cloudless_home::upstream::UpstreamServer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request as the server had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The head with its end.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Seen {
    /// The values of a field.
    pub(super) fn values(&self, name: &str) -> Vec<&str> {
        let fields = self
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'));
        let named = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.trim()).collect()
    }

    pub(super) fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }
}

/// What it does after a request.
pub(super) enum Then {
    /// It reads the next request of the connection.
    KeepAlive,
    Close,
}

type Answers = dyn Fn(&Seen) -> (Vec<u8>, Then) + Send + Sync;

pub(super) struct FakeServer {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    accepting: JoinHandle<()>,
}

impl FakeServer {
    pub(super) async fn start(
        answer: impl Fn(&Seen) -> (Vec<u8>, Then) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (noted, answer): (_, Arc<Answers>) = (seen.clone(), Arc::new(answer));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (noted, answer) = (noted.clone(), answer.clone());
                tokio::spawn(serve(stream, noted, answer));
            }
        });
        Self {
            address,
            seen,
            accepting,
        }
    }

    /// One that answers each request with `ok`.
    pub(super) async fn fine() -> Self {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        Self::start(|_| (answer.to_vec(), Then::KeepAlive)).await
    }

    pub(super) fn place(&self) -> UpstreamServer {
        UpstreamServer::Http(self.address.to_string())
    }

    /// The requests since the last call.
    pub(super) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(stream: TcpStream, noted: Arc<Mutex<Vec<Seen>>>, answer: Arc<Answers>) {
    let mut stream = BufReader::new(stream);
    while let Some(seen) = read(&mut stream).await {
        let (bytes, then) = answer(&seen);
        noted.lock().unwrap().push(seen);
        if stream.write_all(&bytes).await.is_err() || matches!(then, Then::Close) {
            return;
        }
    }
}

/// Reads a request as strictly as can be: where a lax reader could see something else, it panics,
/// which shows as a body that says so.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let mut seen = Seen {
        head: String::from_utf8_lossy(&head).into_owned(),
        body: Vec::new(),
    };
    let (lengths, codings) = (
        seen.values("content-length").len(),
        seen.values("transfer-encoding").len(),
    );
    if lengths + codings > 1 {
        seen.body = b"AMBIGUOUS".to_vec();
        return Some(seen);
    }
    if codings == 1 {
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(stream.read_u8().await.ok()?);
            }
            let size = std::str::from_utf8(&line[..line.len() - 2]).ok()?;
            let size = usize::from_str_radix(size, 16).ok()?;
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).await.ok()?;
            assert_eq!(&chunk[size..], b"\r\n");
            if size == 0 {
                break;
            }
            seen.body.extend_from_slice(&chunk[..size]);
        }
    } else if let Some(length) = seen.values("content-length").first() {
        seen.body = vec![0; length.parse().ok()?];
        stream.read_exact(&mut seen.body).await.ok()?;
    }
    Some(seen)
}
