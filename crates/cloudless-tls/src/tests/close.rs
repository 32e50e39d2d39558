//! Ends of a connection.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::TlsConnector;

use super::peers::{Peers, name, pair};
use crate::accept;

#[tokio::test]
async fn an_end_that_was_announced_is_an_end_and_another_is_an_error() {
    let (mut near, mut far) = pair(64 * 1024).await;
    near.write_all(b"last words").await.unwrap();
    near.shutdown().await.unwrap();
    let mut heard = Vec::new();
    far.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"last words");
    assert_eq!(far.read(&mut [0; 10]).await.unwrap(), 0);
    // The other direction is open still.
    far.write_all(b"and mine").await.unwrap();
    far.shutdown().await.unwrap();
    heard.clear();
    near.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"and mine");
    let error = near.write_all(b"more").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);

    let (mut near, mut far) = pair(64 * 1024).await;
    near.write_all(b"half a sen").await.unwrap();
    near.flush().await.unwrap();
    drop(near);
    let error = far.read_to_end(&mut heard).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert!(heard.ends_with(b"half a sen"));
}

#[tokio::test]
async fn tokio_rustls_says_and_hears_the_same_ends() {
    let peers = Peers::new();
    let (near, far) = duplex(64 * 1024);
    let (client, server) = tokio::join!(
        TlsConnector::from(peers.client.clone()).connect(name(), near),
        accept(peers.server.clone(), far),
    );
    let (mut client, (mut server, _)) = (client.unwrap(), server.unwrap());
    client.shutdown().await.unwrap();
    assert_eq!(server.read(&mut [0; 10]).await.unwrap(), 0);
    server.shutdown().await.unwrap();
    assert_eq!(client.read(&mut [0; 10]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_writer_that_is_gone_leaves_what_it_has_written() {
    let (mut near, mut far) = pair(64 * 1024).await;
    near.write_all(b"written, not flushed").await.unwrap();
    drop(near);
    let mut heard = Vec::new();
    let error = far.read_to_end(&mut heard).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(heard, b"written, not flushed");
}
