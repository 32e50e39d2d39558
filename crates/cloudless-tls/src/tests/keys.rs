//! Keys of each cipher, and others than those of the handshake.

use std::io::ErrorKind::{BrokenPipe, InvalidData, UnexpectedEof};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::peers::{Peers, name, pair};
use crate::{accept, connect};

/// Says and hears a little each way.
async fn talk(
    one: &mut (impl AsyncRead + AsyncWrite + Unpin),
    other: &mut (impl AsyncRead + AsyncWrite + Unpin),
) {
    for round in 0..3 {
        one.write_all(&[round; 100]).await.unwrap();
        one.flush().await.unwrap();
        let mut heard = [0; 100];
        other.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, [round; 100]);
        other.write_all(&heard).await.unwrap();
        other.flush().await.unwrap();
        one.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, [round; 100]);
    }
}

#[tokio::test]
async fn a_peer_gets_another_key_whenever_it_asks_for_one() {
    let peers = Peers::new();
    let (near, far) = duplex(64 * 1024);
    let (client, server) = tokio::join!(
        TlsConnector::from(peers.client.clone()).connect(name(), near),
        accept(peers.server.clone(), far),
    );
    let (mut client, (mut server, _)) = (client.unwrap(), server.unwrap());
    for _ in 0..3 {
        client.get_mut().1.refresh_traffic_keys().unwrap();
        talk(&mut client, &mut server).await;
    }

    let (near, far) = duplex(64 * 1024);
    let (client, server) = tokio::join!(
        connect(peers.client.clone(), name(), near),
        TlsAcceptor::from(peers.server.clone()).accept(far),
    );
    let ((mut client, _), mut server) = (client.unwrap(), server.unwrap());
    for _ in 0..3 {
        server.get_mut().1.refresh_traffic_keys().unwrap();
        talk(&mut client, &mut server).await;
    }
}

#[tokio::test]
async fn a_key_that_has_sealed_enough_is_replaced() {
    let (mut near, mut far) = pair(64 * 1024).await;
    for left in [0, 1, 2] {
        near.state().outbound().wear(left);
        talk(&mut near, &mut far).await;
    }
    // A peer that is not ours understands it, too.
    let peers = Peers::new();
    let (near, far) = duplex(64 * 1024);
    let (client, server) = tokio::join!(
        TlsConnector::from(peers.client.clone()).connect(name(), near),
        accept(peers.server.clone(), far),
    );
    let (mut client, (mut server, _)) = (client.unwrap(), server.unwrap());
    server.state().outbound().wear(2);
    talk(&mut client, &mut server).await;
}

#[tokio::test]
async fn rustls_own_ciphers_and_ours_are_the_same() {
    let provider = crate::provider();
    assert_eq!(provider.cipher_suites.len(), 3);
    for suite in &provider.cipher_suites {
        let peers = Peers::by(CryptoProvider {
            cipher_suites: vec![*suite],
            ..provider.clone()
        });
        let (near, far) = duplex(64 * 1024);
        let (client, server) = tokio::join!(
            TlsConnector::from(peers.client.clone()).connect(name(), near),
            accept(peers.server.clone(), far),
        );
        let (mut client, (mut server, _)) = (client.unwrap(), server.unwrap());
        let negotiated = client.get_ref().1.negotiated_cipher_suite();
        assert_eq!(negotiated.unwrap().suite(), suite.suite());
        talk(&mut client, &mut server).await;
        let long = vec![7; 50_000];
        let mut heard = vec![0; long.len()];
        let (written, read) = tokio::join!(
            async {
                server.write_all(&long).await?;
                server.flush().await
            },
            client.read_exact(&mut heard),
        );
        written.unwrap();
        read.unwrap();
        assert!(heard == long);
    }
}

#[tokio::test]
async fn a_key_that_rustls_has_used_for_tickets_goes_on() {
    let mut peers = Peers::new();
    Arc::get_mut(&mut peers.server).unwrap().send_tls13_tickets = 3;
    let (near, far) = duplex(64 * 1024);
    let (client, server) = tokio::join!(
        TlsConnector::from(peers.client.clone()).connect(name(), near),
        accept(peers.server.clone(), far),
    );
    let (mut client, (mut server, _)) = (client.unwrap(), server.unwrap());
    assert!(server.state().outbound().n_sealed() > 0);
    talk(&mut client, &mut server).await;
}

#[tokio::test]
async fn what_was_written_and_has_not_left_goes_by_the_key_that_the_peer_asks_for() {
    let (mut near, mut far) = pair(64 * 1024).await;
    far.write_all(b"before").await.unwrap();
    far.state().outbound().update();
    far.flush().await.unwrap();
    assert!(!far.state().outbound().is_update_due());
    let mut heard = [0; 6];
    near.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"before");
    talk(&mut near, &mut far).await;
}

#[tokio::test]
async fn after_a_record_that_cannot_be_sealed_nothing_is_written_any_more() {
    let (mut near, mut far) = pair(64 * 1024).await;
    talk(&mut near, &mut far).await;
    near.state().outbound().exhaust();
    near.write_all(b"lost").await.unwrap();
    assert_eq!(near.flush().await.unwrap_err().kind(), InvalidData);
    for _ in 0..2 {
        let written = near.write(&[7; 100_000]).await;
        assert_eq!(written.unwrap_err().kind(), BrokenPipe);
        near.flush().await.unwrap();
    }
    drop(near);
    assert_eq!(far.read_u8().await.unwrap_err().kind(), UnexpectedEof);
}
