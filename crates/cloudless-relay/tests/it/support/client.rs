use std::net::SocketAddr;
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::soon;

/// The ClientHello that a TLS client sends for `name`, which may be an IP address.
pub(crate) fn client_hello(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = name.to_owned().try_into().unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}

/// A TCP client.
pub(crate) struct Visitor {
    pub(crate) stream: TcpStream,
}

impl Visitor {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// Connects and sends a ClientHello for `name`, which is returned too.
    pub(crate) async fn hello(address: SocketAddr, name: &str) -> (Self, Vec<u8>) {
        let mut visitor = Self::connect(address).await;
        let hello = client_hello(name);
        visitor.send(&hello).await;
        (visitor, hello)
    }

    /// The same from another address of the loopback network, which has no more than one over IPv6.
    pub(crate) async fn hello_from(
        source: [u8; 4],
        address: SocketAddr,
        name: &str,
    ) -> (Self, Vec<u8>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((source, 0))).unwrap();
        let stream = socket.connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut visitor = Self { stream };
        let hello = client_hello(name);
        visitor.send(&hello).await;
        (visitor, hello)
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        soon(self.stream.write_all(bytes)).await.unwrap();
    }

    /// Sends FIN.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    /// Reads exactly as many bytes as expected, and compares.
    pub(crate) async fn expect(&mut self, expected: &[u8]) {
        let mut bytes = vec![0; expected.len()];
        soon(self.stream.read_exact(&mut bytes)).await.unwrap();
        assert!(bytes == expected, "other bytes than expected");
    }

    /// Everything until the peer's FIN.
    pub(crate) async fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        soon(self.stream.read_to_end(&mut bytes)).await.unwrap();
        bytes
    }

    /// Waits until the connection is gone, by a reset or by FIN; whatever still comes is dropped.
    pub(crate) async fn gone(&mut self) {
        let mut bytes = Vec::new();
        let _ = soon(self.stream.read_to_end(&mut bytes)).await;
    }

    /// Waits until the peer resets the connection.
    pub(crate) async fn expect_reset(&mut self) {
        let mut bytes = Vec::new();
        let error = soon(self.stream.read_to_end(&mut bytes)).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
}
