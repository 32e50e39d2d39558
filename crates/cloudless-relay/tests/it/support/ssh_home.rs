//! A home that is an SSH client, made with `russh`: it does what a test says, good or bad.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cloudless_relay::admin::{Command, Reply};
use russh::client::{self, AuthResult, ChannelOpenHandle, DisconnectReason, Handle, Handler, Msg};
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, ChannelOpenFailure, Error};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::{TestRelay, soon};

/// A visitor's channel as the home gets it.
pub(crate) struct Forwarded {
    pub(crate) channel: Channel<Msg>,
    pub(crate) connected: (String, u32),
    pub(crate) originator: (String, u32),
}

impl Forwarded {
    /// Reads until this has come.
    pub(crate) async fn expect(&mut self, expected: &[u8]) {
        let mut bytes = Vec::new();
        while bytes.len() < expected.len() {
            match soon(self.channel.wait()).await {
                Some(ChannelMsg::Data { data }) => bytes.extend_from_slice(&data),
                Some(ChannelMsg::WindowAdjusted { .. }) => {}
                other => panic!("{other:?} after {} bytes", bytes.len()),
            }
        }
        assert!(bytes == expected, "other bytes than expected");
    }

    pub(crate) async fn send(&self, bytes: &[u8]) {
        soon(self.channel.data_bytes(bytes.to_vec())).await.unwrap();
    }

    /// Waits for the end of what the visitor says.
    pub(crate) async fn expect_eof(&mut self) {
        loop {
            match soon(self.channel.wait()).await {
                Some(ChannelMsg::Eof) => return,
                Some(ChannelMsg::WindowAdjusted { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits until the relay has closed the channel.
    pub(crate) async fn gone(&mut self) {
        while soon(self.channel.wait()).await.is_some() {}
    }
}

/// The client's side of a connection.
pub(crate) struct SshHome {
    pub(crate) handle: Handle<Client>,
    pub(crate) visitors: mpsc::Receiver<Forwarded>,
    ended: oneshot::Receiver<Option<String>>,
    refuses: Arc<AtomicBool>,
}

/// The key made of this number.
pub(crate) fn ssh_key(number: u8) -> PrivateKey {
    ssh_key_of(&[number; 32])
}

/// The key made of these bytes.
pub(crate) fn ssh_key_of(seed: &[u8; 32]) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(seed))
}

/// Its line in `authorized_keys`.
pub(crate) fn ssh_key_line(number: u8) -> String {
    ssh_key(number).public_key().to_openssh().unwrap()
}

impl SshHome {
    /// Connects, with no key proven.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        soon(Self::over(stream)).await.unwrap()
    }

    /// The same over this connection.
    pub(crate) async fn over(stream: TcpStream) -> Result<Self, Error> {
        stream.set_nodelay(true)?;
        let (sender, visitors) = mpsc::channel(64);
        let (end, ended) = oneshot::channel();
        let refuses = Arc::new(AtomicBool::new(false));
        let client = Client {
            visitors: sender,
            end: Some(end),
            refuses: Arc::clone(&refuses),
        };
        let config = Arc::new(client::Config::default());
        Ok(Self {
            handle: client::connect_stream(config, stream, client).await?,
            visitors,
            ended,
            refuses,
        })
    }

    pub(crate) async fn login(&mut self, key: u8) -> bool {
        let key = PrivateKeyWithHashAlg::new(Arc::new(ssh_key(key)), None);
        let login = self.handle.authenticate_publickey("relay", key);
        matches!(soon(login).await, Ok(AuthResult::Success))
    }

    /// Connects, proves this key and has this name forwarded.
    pub(crate) async fn publish(address: SocketAddr, key: u8, hostname: &str) -> Self {
        let mut home = Self::connect(address).await;
        assert!(home.login(key).await, "the relay refuses the key");
        home.forward(hostname, 443).await.unwrap();
        home
    }

    pub(crate) async fn forward(&self, address: &str, port: u32) -> Result<u32, Error> {
        soon(self.handle.tcpip_forward(address, port)).await
    }

    /// From now on it takes no visitor.
    pub(crate) fn refuse_visitors(&self) {
        self.refuses.store(true, Ordering::Relaxed);
    }

    /// Says whether it takes no visitor.
    pub(crate) fn refusing(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.refuses)
    }

    pub(crate) async fn visitor(&mut self) -> Forwarded {
        soon(self.visitors.recv()).await.unwrap()
    }

    /// Waits for the end of the connection, and returns what the relay has said last, if anything.
    pub(crate) async fn ended(self) -> Option<String> {
        soon(self.ended).await.unwrap()
    }
}

pub(crate) struct Client {
    visitors: mpsc::Sender<Forwarded>,
    end: Option<oneshot::Sender<Option<String>>>,
    refuses: Arc<AtomicBool>,
}

impl Handler for Client {
    type Error = Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, Error> {
        Ok(true)
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        connected_address: &str,
        connected_port: u32,
        originator_address: &str,
        originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), Error> {
        if self.refuses.load(Ordering::Relaxed) {
            reply.reject(ChannelOpenFailure::ConnectFailed).await;
            return Ok(());
        }
        let forwarded = Forwarded {
            channel,
            connected: (connected_address.to_owned(), connected_port),
            originator: (originator_address.to_owned(), originator_port),
        };
        reply.accept().await;
        let _ = self.visitors.send(forwarded).await;
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Error>) -> Result<(), Error> {
        let said = match reason {
            DisconnectReason::ReceivedDisconnect(said) => Some(said.message),
            DisconnectReason::Error(_) => None,
        };
        if let Some(end) = self.end.take() {
            let _ = end.send(said);
        }
        Ok(())
    }
}

impl TestRelay {
    /// Binds a name to the SSH key of this number.
    pub(crate) async fn allow_ssh(&self, hostname: &str, key: u8) {
        let command = Command::AllowSsh {
            hostname: hostname.parse().unwrap(),
            key: ssh_key_line(key),
            replace: false,
        };
        match self.command(&command).await {
            Reply::SshAllowed { .. } => {}
            reply => panic!("{reply:?}"),
        }
    }
}
