//! Handshakes.

use std::io::ErrorKind;

use rustls::{AlertDescription, CertificateError, Error};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::dribble::Dribble;
use super::peers::{ALPN, Peers, name};
use crate::{accept, connect};

fn cause(error: &std::io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

#[tokio::test]
async fn both_ends_learn_the_key_and_the_protocol_of_the_other() {
    let peers = Peers::new();
    for loopback in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(loopback).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let connected = peers.connected(near.unwrap(), far.unwrap().0);
        let ((mut near, server), (mut far, client)) = connected.await.unwrap();
        assert_eq!(server.certificates, std::slice::from_ref(&peers.server_key));
        assert_eq!(client.certificates, std::slice::from_ref(&peers.client_key));
        assert_eq!(server.alpn.as_deref(), Some(ALPN));
        assert_eq!(client.alpn.as_deref(), Some(ALPN));
        near.write_all(b"hello").await.unwrap();
        near.flush().await.unwrap();
        let mut heard = [0; 5];
        far.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
    }
}

#[tokio::test]
async fn a_handshake_in_single_bytes_is_one_too() {
    let (near, far) = duplex(64);
    let connected = Peers::new().connected(Dribble(near), Dribble(far)).await;
    let ((mut near, _), (mut far, _)) = connected.unwrap();
    let said = vec![7; 40_000];
    let mut heard = vec![0; said.len()];
    let saying = async {
        near.write_all(&said).await?;
        near.flush().await
    };
    tokio::try_join!(saying, far.read_exact(&mut heard)).unwrap();
    assert!(heard == said);
}

#[tokio::test]
async fn tokio_rustls_may_be_at_either_end() {
    let peers = Peers::new();
    let said = vec![7; 100_000];
    let (near, far) = duplex(1000);
    let (client, server) = tokio::join!(
        connect(peers.client.clone(), name(), near),
        TlsAcceptor::from(peers.server.clone()).accept(far),
    );
    let ((mut client, _), mut server) = (client.unwrap(), server.unwrap());
    echo(&mut client, &mut server, &said).await;
    echo(&mut server, &mut client, &said).await;

    let (near, far) = duplex(1000);
    let (client, server) = tokio::join!(
        TlsConnector::from(peers.client.clone()).connect(name(), near),
        accept(peers.server.clone(), far),
    );
    let (mut client, (mut server, _)) = (client.unwrap(), server.unwrap());
    echo(&mut client, &mut server, &said).await;
    echo(&mut server, &mut client, &said).await;
}

#[tokio::test]
async fn tickets_of_either_server_change_nothing() {
    let mut peers = Peers::new();
    let mut server = (*peers.server).clone();
    server.send_tls13_tickets = 3;
    peers.server = server.into();
    let said = vec![7; 300_000];
    let (near, far) = duplex(64 * 1024);
    let ((mut client, _), (mut server, _)) = peers.connected(near, far).await.unwrap();
    echo(&mut client, &mut server, &said).await;
    echo(&mut server, &mut client, &said).await;

    let (near, far) = duplex(64 * 1024);
    let (client, server) = tokio::join!(
        connect(peers.client.clone(), name(), near),
        TlsAcceptor::from(peers.server.clone()).accept(far),
    );
    let ((mut client, _), mut server) = (client.unwrap(), server.unwrap());
    echo(&mut server, &mut client, &said).await;
    echo(&mut client, &mut server, &said).await;
}

async fn echo(
    from: &mut (impl AsyncWriteExt + Unpin),
    to: &mut (impl AsyncReadExt + Unpin),
    said: &[u8],
) {
    let mut heard = vec![0; said.len()];
    let saying = async {
        from.write_all(said).await?;
        from.flush().await
    };
    tokio::try_join!(saying, to.read_exact(&mut heard)).unwrap();
    assert!(heard == said);
}

#[tokio::test]
async fn what_comes_right_behind_the_handshake_is_not_lost() {
    // A client may send before the server has seen the end of its handshake: all of it arrives in
    // one read.
    let peers = Peers::new();
    let (near, far) = duplex(1024 * 1024);
    let accepting = tokio::spawn(accept(peers.server.clone(), far));
    let (mut client, _) = connect(peers.client.clone(), name(), near).await.unwrap();
    let said = vec![9; 50_000];
    client.write_all(&said).await.unwrap();
    client.flush().await.unwrap();
    let (mut server, _) = accepting.await.unwrap().unwrap();
    let mut heard = vec![0; said.len()];
    server.read_exact(&mut heard).await.unwrap();
    assert!(heard == said);
}

#[tokio::test]
async fn who_is_refused_hears_why() {
    let peers = Peers::strangers();
    let (near, far) = duplex(64 * 1024);
    let (client, server) = tokio::join!(
        async {
            let (mut client, _) = connect(peers.client.clone(), name(), near).await?;
            // In TLS 1.3 the client is done before the server has looked at its key.
            client.read_u8().await
        },
        accept(peers.server.clone(), far),
    );
    let refused = Error::InvalidCertificate(CertificateError::UnknownIssuer);
    let server = server.unwrap_err();
    assert_eq!(server.kind(), ErrorKind::InvalidData);
    assert_eq!(cause(&server), Some(&refused));
    let told = Error::AlertReceived(AlertDescription::UnknownCA);
    assert_eq!(cause(&client.unwrap_err()), Some(&told));
}

#[tokio::test]
async fn who_speaks_something_else_or_hangs_up_is_no_peer() {
    let peers = Peers::new();
    let (mut near, far) = duplex(64 * 1024);
    near.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        .await
        .unwrap();
    let error = connect(peers.client.clone(), name(), far)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);

    let (near, far) = duplex(64 * 1024);
    drop(near);
    let error = accept(peers.server.clone(), far).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn keys_have_to_be_given_out() {
    let peers = Peers::new();
    let mut server = (*peers.server).clone();
    server.enable_secret_extraction = false;
    let (near, far) = duplex(64 * 1024);
    let (_client, server) = tokio::join!(
        connect(peers.client.clone(), name(), near),
        accept(server.into(), far),
    );
    assert_eq!(server.unwrap_err().kind(), ErrorKind::InvalidData);
}
