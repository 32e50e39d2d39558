//! Peers that do what they may not.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;

use rustls::{AlertDescription, ContentType, Error};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};

use super::peers::{Peers, pair};
use crate::Stream;

fn cause(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// Behind what a peer has said properly, `wire` is what it sends without its keys.
async fn raw(wire: &[u8]) -> (io::Error, io::Error) {
    let (near, far) = duplex(64 * 1024);
    let ((mut near, _), (mut far, _)) = Peers::new().connected(near, far).await.unwrap();
    near.write_all(b"fine").await.unwrap();
    near.flush().await.unwrap();
    let written = poll_fn(|cx| Pin::new(&mut near.state().io).poll_write(cx, wire)).await;
    assert_eq!(written.unwrap(), wire.len());
    outcome(near, &mut far).await
}

/// Behind what a peer has said properly, these are what it seals in records of its own.
async fn sealed(messages: &[(ContentType, &[u8])]) -> (io::Error, io::Error) {
    let (mut near, mut far) = pair(64 * 1024).await;
    near.write_all(b"fine").await.unwrap();
    near.flush().await.unwrap();
    for (content_type, message) in messages {
        let state = near.state();
        state.outbound().seal(*content_type, message).unwrap();
    }
    near.flush().await.unwrap();
    outcome(near, &mut far).await
}

/// What we say to that, and what the peer hears of it.
async fn outcome(
    mut near: Stream<DuplexStream>,
    far: &mut Stream<DuplexStream>,
) -> (io::Error, io::Error) {
    let mut heard = Vec::new();
    let error = far.read_to_end(&mut heard).await.unwrap_err();
    assert_eq!(heard, b"fine");
    // It stays so.
    assert!(far.read_u8().await.is_err());
    assert!(far.write_u8(1).await.is_err());
    far.flush().await.unwrap();
    (error, near.read_u8().await.unwrap_err())
}

#[tokio::test]
async fn records_that_are_none_are_refused_and_their_sender_is_told() {
    let garbage = [&[23, 3, 3, 0, 40][..], &[7; 40]].concat();
    for (wire, told) in [
        (&garbage[..], AlertDescription::BadRecordMac),
        // Nothing sealed at all.
        (&[23, 3, 3, 0, 0], AlertDescription::BadRecordMac),
        (&[23, 3, 3, 0x41, 1], AlertDescription::RecordOverflow),
        (&[99, 3, 3, 0, 1, 0], AlertDescription::DecodeError),
        // Without encryption: a change_cipher_spec, a handshake message, and an end.
        (&[20, 3, 3, 0, 1, 1], AlertDescription::UnexpectedMessage),
        (
            &[22, 3, 3, 0, 4, 1, 0, 0, 0],
            AlertDescription::UnexpectedMessage,
        ),
        (&[21, 3, 3, 0, 2, 1, 0], AlertDescription::UnexpectedMessage),
    ] {
        let (error, heard) = raw(wire).await;
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{wire:?}");
        let heard = cause(&heard).unwrap();
        assert_eq!(*heard, Error::AlertReceived(told), "{wire:?}");
    }
}

#[tokio::test]
async fn messages_that_have_no_place_after_the_handshake_are_refused() {
    let update = [24, 0, 0, 1, 0];
    for message in [
        (ContentType::Handshake, &[1, 0, 0, 0][..]),
        (ContentType::Handshake, &update[..3]),
        (ContentType::ChangeCipherSpec, &[1]),
        (ContentType::Heartbeat, &[1, 0, 1, 0]),
        (ContentType::Unknown(77), &[1]),
        // Nothing but padding.
        (ContentType::Unknown(0), &[0; 100]),
        (ContentType::Alert, &[1]),
        (ContentType::ApplicationData, &[0; 16 * 1024 + 1]),
    ] {
        let (error, heard) = sealed(&[message]).await;
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{message:?}");
        assert!(matches!(cause(&heard), Some(Error::AlertReceived(_))));
    }
}

#[tokio::test]
async fn records_without_data_are_borne_for_a_while() {
    let empty = (ContentType::ApplicationData, &[][..]);
    let canceled = (ContentType::Alert, &[1, 90][..]);
    let (error, _) = sealed(&[[empty, canceled]; 40].concat()).await;
    assert_eq!(error.kind(), ErrorKind::InvalidData);

    let (mut near, mut far) = pair(64 * 1024).await;
    for _ in 0..20 {
        for (content_type, message) in [empty, canceled] {
            near.state().outbound().seal(content_type, message).unwrap();
        }
        near.write_u8(1).await.unwrap();
        near.flush().await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn padding_is_no_data() {
    let (mut near, mut far) = pair(64 * 1024).await;
    // What stands before the padding ends in the type of the record.
    let padded = [&b"data"[..], &[23], &[0; 50]].concat();
    let outbound = near.state().outbound();
    outbound.seal(ContentType::Unknown(0), &padded).unwrap();
    near.write_all(b"more").await.unwrap();
    near.flush().await.unwrap();
    let mut heard = [0; 8];
    far.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"datamore");
}

#[tokio::test]
async fn an_alert_of_the_peer_is_its_reason() {
    let (mut near, mut far) = pair(64 * 1024).await;
    near.state()
        .outbound()
        .fail(AlertDescription::InternalError);
    near.flush().await.unwrap();
    let error = far.read_u8().await.unwrap_err();
    let told = Error::AlertReceived(AlertDescription::InternalError);
    assert_eq!(cause(&error), Some(&told));
}
