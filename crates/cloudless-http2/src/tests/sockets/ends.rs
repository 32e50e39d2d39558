//! Sockets and streams that end, each without the other.

use std::io::ErrorKind;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::yield_now;

use super::super::peers::{CONFIG, Client, Server, data, ours, read_all, soon, stream};
use super::{Count, reset, small_tcp, tcp, unix};
use crate::{Config, DeliveryError, Error, Reason, RecvStream, SendFromError, SendStream};

/// A whole answer of so many bytes fits into it.
const WIDE: Config = Config {
    stream_window: 2 * 1024 * 1024,
    ..CONFIG
};
const LEN: usize = 1_500_000;

async fn open(config: Config) -> (Client, Server, [(RecvStream, SendStream); 2]) {
    let (client, mut server) = ours(10_000, config);
    let (near, far) = stream(&client, &mut server).await;
    (client, server, [near, far])
}

#[tokio::test]
async fn a_fin_is_told_and_not_passed_on() {
    let (_client, _server, [(_recv, mut send), (mut far_recv, _far_send)]) = open(CONFIG).await;
    let (near, mut far) = tcp().await;
    far.write_all(b"all").await.unwrap();
    far.shutdown().await.unwrap();
    let near = Arc::new(near);
    // It stays so.
    for _ in 0..2 {
        let sent = soon(send.send_from(near.clone(), Count::new(), None)).await;
        sent.unwrap();
    }
    send.finish(b", said by hand"[..].into()).unwrap();
    assert_eq!(read_all(&mut far_recv).await.unwrap(), b"all, said by hand");
}

#[tokio::test]
async fn a_reset_of_the_socket_is_no_fin() {
    let (_client, _server, [(recv, mut send), (_far_recv, mut far_send)]) = open(CONFIG).await;
    let (near, far) = tcp().await;
    let near = Arc::new(near);
    let reading = async {
        let sent = soon(send.send_from(near.clone(), Count::new(), None)).await;
        let Err(SendFromError::Socket(error)) = sent else {
            panic!("{sent:?}");
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    };
    let resetting = async {
        yield_now().await;
        reset(far);
    };
    tokio::join!(reading, resetting);

    far_send.queue(data(1000, 1)).unwrap();
    let delivered = soon(recv.deliver_to(near, Count::new())).await;
    assert!(
        matches!(delivered, Err(DeliveryError::Socket(_))),
        "{delivered:?}"
    );
    // It is the stream's owner that decides what becomes of it.
    far_send.queue(data(1000, 1)).unwrap();
    send.queue(data(1000, 1)).unwrap();
}

/// The driver may have looked at the socket when its reader had turned to something else.
#[tokio::test]
async fn a_reset_is_none_the_less_one_for_whoever_reads_the_socket_next() {
    for asks in [false, true] {
        check_unheard_reset(asks).await;
    }
}

async fn check_unheard_reset(asks: bool) {
    let (_client, _server, [(_recv, mut send), (mut far_recv, _far_send)]) = open(CONFIG).await;
    let (near, mut far) = tcp().await;
    let (near, count) = (Arc::new(near), Count::new());
    far.write_all(b"a part").await.unwrap();
    {
        let mut sending = send.send_from(near.clone(), count.clone(), None);
        tokio::select! {
            _ = &mut sending => panic!("nothing has ended"),
            bytes = soon(far_recv.data()) => {
                assert_eq!(bytes.unwrap().unwrap(), b"a part"[..]);
            }
        }
        reset(far);
        // Meanwhile the connection goes on, and nobody looks at how the socket ended.
        near.readable().await.unwrap();
        for _ in 0..100 {
            yield_now().await;
        }
    }
    if asks {
        let end = send.unheard_end();
        assert!(matches!(end, Some(Err(_))), "{end:?}");
        assert!(send.unheard_end().is_none());
        return;
    }
    let sent = soon(send.send_from(near, count, None)).await;
    assert!(matches!(sent, Err(SendFromError::Socket(_))), "{sent:?}");
}

#[tokio::test]
async fn a_reset_that_writing_has_noticed_is_no_fin_for_reading() {
    let (_client, _server, [(recv, mut send), (_far_recv, mut far_send)]) = open(CONFIG).await;
    let (near, far) = tcp().await;
    let near = Arc::new(near);
    reset(far);
    near.readable().await.unwrap();
    let mut delivery = recv.deliver_to(near.clone(), Count::new());
    far_send.queue(data(10, 1)).unwrap();
    let delivered = soon(&mut delivery).await;
    assert!(matches!(delivered, Err(DeliveryError::Socket(_))));
    let looks = async {
        for _ in 0..100 {
            yield_now().await;
        }
    };
    tokio::select! {
        biased;
        sent = send.send_from(near, Count::new(), None) => panic!("{sent:?}"),
        () = looks => {}
    }
}

/// As where the other direction has left the tunnel.
#[tokio::test]
async fn whoever_reads_the_socket_of_a_delivery_learns_that_a_fin_is_none() {
    let (_client, _server, [(recv, _send), (_far_recv, mut far_send)]) = open(CONFIG).await;
    let (near, far) = tcp().await;
    let near = Arc::new(near);
    reset(far);
    near.readable().await.unwrap();
    // Nobody asks it how it fares.
    let delivery = recv.deliver_to(near.clone(), Count::new());
    assert!(!recv.has_failed_to_deliver());
    far_send.queue(data(10, 1)).unwrap();
    soon(async {
        while !recv.has_failed_to_deliver() {
            yield_now().await;
        }
    })
    .await;
    assert_eq!(
        near.try_read(&mut [0; 10]).unwrap(),
        0,
        "a reset told twice"
    );
    drop(delivery);
}

#[tokio::test]
async fn a_socket_that_is_dropped_midway_is_read_no_more_and_then_goes_on() {
    let (_client, _server, [(_recv, mut send), (mut far_recv, _far_send)]) = open(CONFIG).await;
    let (near, mut far) = unix();
    let (near, count) = (Arc::new(near), Count::new());
    for said in [&b"one"[..], b"two", b"three"] {
        far.write_all(said).await.unwrap();
        let mut sending = send.send_from(near.clone(), count.clone(), None);
        tokio::select! {
            _ = &mut sending => panic!("nothing has ended"),
            bytes = soon(far_recv.data()) => assert_eq!(bytes.unwrap().unwrap(), said),
        }
        drop(sending);
        far.write_all(b"for whoever comes next").await.unwrap();
        for _ in 0..100 {
            yield_now().await;
        }
        let mut buffer = [0; 100];
        let n = near.try_read(&mut buffer).unwrap();
        assert_eq!(&buffer[..n], b"for whoever comes next");
    }
    assert_eq!(count.moved(), 11);
}

#[tokio::test]
async fn a_delivery_that_is_dropped_leaves_what_the_socket_has_not_taken() {
    let (_client, _server, [(mut recv, _send), (_far_recv, mut far_send)]) = open(WIDE).await;
    let (near, mut far) = small_tcp().await;
    let (near, count) = (Arc::new(near), Count::new());
    let said = data(LEN, 1);
    far_send.finish(said.clone()).unwrap();
    let mut delivery = recv.deliver_to(near.clone(), count.clone());
    tokio::select! {
        _ = &mut delivery => panic!("the socket takes no more"),
        ended = soon(recv.ended()) => assert!(ended.unwrap().is_none()),
    }
    drop(delivery);
    let n_moved = count.moved();
    assert!(n_moved > 0 && n_moved < LEN, "{n_moved}");
    assert_eq!(recv.unreleased(), LEN - n_moved);
    let rest = read_all(&mut recv).await.unwrap();
    drop(near);
    let mut heard = Vec::new();
    soon(far.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard.len(), n_moved);
    assert!([heard, rest].concat() == said);
}

#[tokio::test]
async fn a_stream_that_ends_ends_what_its_sockets_do() {
    for case in ["reset by the peer", "reset by us", "the connection"] {
        let (client, _server, [(recv, mut send), (far_recv, mut far_send)]) = open(CONFIG).await;
        let (near, _far) = tcp().await;
        let near = Arc::new(near);
        let sending = tokio::spawn({
            let near = near.clone();
            async move { send.send_from(near, Count::new(), None).await }
        });
        let delivery = tokio::spawn(recv.deliver_to(near, Count::new()));
        yield_now().await;
        match case {
            "reset by the peer" => far_send.reset(Reason::INTERNAL_ERROR),
            "the connection" => client.end.abort(),
            _ => drop((recv, far_recv)),
        }
        if case == "reset by us" {
            sending.abort();
            let delivered = soon(delivery).await.unwrap();
            assert!(
                matches!(delivered, Err(DeliveryError::Stream(_))),
                "{delivered:?}"
            );
            continue;
        }
        let sent = soon(sending).await.unwrap();
        let delivered = soon(delivery).await.unwrap();
        let (Err(SendFromError::Stream(sent)), Err(DeliveryError::Stream(delivered))) =
            (sent, delivered)
        else {
            panic!("{case}");
        };
        let is_reset = case == "reset by the peer";
        assert_eq!(
            (sent.is_reset(), delivered.is_reset()),
            (is_reset, is_reset)
        );
    }
}

/// The peer has said all and wants no more (RFC 9113 section 8.1).
#[tokio::test]
async fn no_error_ends_what_is_sent_and_not_what_is_delivered() {
    let (_client, _server, [(recv, mut send), (far_recv, mut far_send)]) = open(WIDE).await;
    let (near, mut far) = small_tcp().await;
    let near = Arc::new(near);
    let said = data(LEN, 1);
    far_send.finish(said.clone()).unwrap();
    drop((far_recv, far_send));
    let delivery = recv.deliver_to(near.clone(), Count::new());
    let sent = soon(send.send_from(near.clone(), Count::new(), None)).await;
    let Err(SendFromError::Stream(error)) = sent else {
        panic!("{sent:?}");
    };
    assert_eq!(error.reason(), Some(Reason::NO_ERROR));
    assert!(error.is_reset() && error.is_remote());
    let mut heard = vec![0; LEN];
    let (delivered, read) = tokio::join!(soon(delivery), soon(far.read_exact(&mut heard)));
    delivered.unwrap();
    read.unwrap();
    assert!(heard == said);
}

#[tokio::test]
async fn what_came_with_the_end_is_delivered_when_the_connection_has_failed() {
    let said = data(LEN, 1);
    for begun in [true, false] {
        let (client, _server, [(recv, _send), (_far_recv, mut far_send)]) = open(WIDE).await;
        let (near, mut far) = small_tcp().await;
        let (near, count) = (Arc::new(near), Count::new());
        far_send.finish(said.clone()).unwrap();
        let early = begun.then(|| recv.deliver_to(near.clone(), count.clone()));
        soon(recv.ended()).await.unwrap();
        client.end.abort();
        assert!(soon(client.end).await.unwrap_err().is_cancelled());
        let delivery = early.unwrap_or_else(|| recv.deliver_to(near.clone(), count.clone()));
        let mut heard = vec![0; LEN];
        let (delivered, read) = tokio::join!(soon(delivery), soon(far.read_exact(&mut heard)));
        delivered.unwrap();
        read.unwrap();
        assert!(heard == said);
        assert_eq!((count.moved(), count.waiting()), (LEN, 0));
    }
}

/// It waits for nobody who could still say the rest.
#[tokio::test]
async fn what_came_without_an_end_is_not_taken_for_the_whole() {
    for begun in [true, false] {
        let (client, _server, [(recv, _send), (_far_recv, mut far_send)]) = open(WIDE).await;
        let (near, _far) = small_tcp().await;
        let near = Arc::new(near);
        far_send.send_all(data(LEN, 1)).await.unwrap();
        let early = begun.then(|| recv.deliver_to(near.clone(), Count::new()));
        client.end.abort();
        assert!(soon(client.end).await.unwrap_err().is_cancelled());
        let delivery = early.unwrap_or_else(|| recv.deliver_to(near.clone(), Count::new()));
        let delivered = soon(delivery).await;
        let is_closed = matches!(delivered, Err(DeliveryError::Stream(Error::Closed)));
        assert!(is_closed, "{delivered:?}");
    }
}

#[tokio::test]
async fn a_socket_that_fails_after_the_connection_is_not_waited_for() {
    let (client, _server, [(recv, _send), (_far_recv, mut far_send)]) = open(WIDE).await;
    let (near, far) = small_tcp().await;
    far_send.finish(data(LEN, 1)).unwrap();
    let delivery = recv.deliver_to(Arc::new(near), Count::new());
    soon(recv.ended()).await.unwrap();
    client.end.abort();
    assert!(soon(client.end).await.unwrap_err().is_cancelled());
    let delivery = tokio::spawn(delivery);
    yield_now().await;
    reset(far);
    let delivered = soon(delivery).await.unwrap();
    assert!(
        matches!(delivered, Err(DeliveryError::Socket(_))),
        "{delivered:?}"
    );
}

#[tokio::test]
async fn a_socket_is_sent_from_no_more_after_the_end() {
    let (_client, _server, [(_recv, mut send), (_far_recv, _far_send)]) = open(CONFIG).await;
    let (near, _far) = unix();
    send.finish(Bytes::new()).unwrap();
    let sent = soon(send.send_from(Arc::new(near), Count::new(), None)).await;
    let is_ended = matches!(sent, Err(SendFromError::Stream(Error::Ended)));
    assert!(is_ended, "{sent:?}");
}
