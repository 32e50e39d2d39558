//! What is written in one turn.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};

use super::peers::{Peers, pair};
use crate::Stream;

fn write(stream: &mut Stream<DuplexStream>, cx: &mut Context<'_>, bytes: &[u8]) {
    let written = Pin::new(&mut *stream).poll_write(cx, bytes);
    assert!(matches!(written, Poll::Ready(Ok(n)) if n == bytes.len()));
    let flushed = Pin::new(stream).poll_flush(cx);
    assert!(matches!(flushed, Poll::Ready(Ok(()))));
}

#[tokio::test]
async fn all_that_is_written_in_a_turn_leaves_with_its_end() {
    let (near, far) = duplex(64 * 1024);
    let ((mut near, _), (far, _)) = Peers::new().connected(near, far).await.unwrap();
    let cork = near.cork();
    let frames = [&[1; 9][..], &[2; 100], &[3; 9], &[4; 20_000]];
    let work = poll_fn(|cx| {
        for frame in frames {
            write(&mut near, cx, frame);
        }
        Poll::Ready(())
    });
    cork.drive(work).await;
    assert_eq!(near.state().unsent(), 0);
    // What is on the wire is two records: a full one, and the rest.
    let mut wire = vec![0; 64 * 1024];
    let mut read = ReadBuf::new(&mut wire);
    poll_fn(|cx| Pin::new(&mut far.state().io).poll_read(cx, &mut read))
        .await
        .unwrap();
    let n = read.filled().len();
    let first = 5 + usize::from(u16::from_be_bytes([wire[3], wire[4]]));
    let second = 5 + usize::from(u16::from_be_bytes([wire[first + 3], wire[first + 4]]));
    assert_eq!(first, 5 + 16 * 1024 + 17);
    assert_eq!(first + second, n);
}

#[tokio::test]
async fn without_its_cork_a_stream_flushes_again() {
    let (mut near, mut far) = pair(64 * 1024).await;
    let cork = near.cork();
    near.write_all(b"one").await.unwrap();
    near.flush().await.unwrap();
    assert_eq!(near.state().unsent(), 3);
    drop(cork);
    near.flush().await.unwrap();
    far.read_exact(&mut [0; 3]).await.unwrap();

    // And with it, it closes all the same.
    let _cork = near.cork();
    near.write_all(b"two").await.unwrap();
    near.shutdown().await.unwrap();
    let mut heard = Vec::new();
    far.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"two");
}

#[tokio::test]
async fn a_turn_whose_bytes_find_no_room_ends_when_there_is_some() {
    let (mut near, mut far) = pair(1000).await;
    let cork = near.cork();
    let work = poll_fn(|cx| {
        if near.state().unsent() == 0 {
            write(&mut near, cx, &[5; 10_000]);
            cx.waker().wake_by_ref();
        }
        Poll::<()>::Pending
    });
    let mut heard = vec![0; 200_000];
    tokio::select! {
        () = cork.drive(work) => unreachable!("it is endless"),
        read = far.read_exact(&mut heard) => read.unwrap(),
    };
    assert!(heard == [5; 200_000]);
}

#[tokio::test]
async fn whoever_reads_hears_that_a_turn_could_not_be_sent() {
    let (mut near, far) = pair(1000).await;
    drop(far);
    let cork = near.cork();
    let work = poll_fn(|cx| {
        write(&mut near, cx, b"to nobody");
        Poll::Ready(())
    });
    cork.drive(work).await;
    let error = near.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn a_task_that_only_flushes_sends_all_the_same() {
    let (mut near, mut far) = pair(64 * 1024).await;
    let cork = near.cork();
    let mut is_written = false;
    let work = poll_fn(|cx| {
        if is_written {
            let _ = Pin::new(&mut near).poll_flush(cx);
        } else {
            write(&mut near, cx, b"a little");
            is_written = true;
        }
        Poll::<()>::Pending
    });
    let mut heard = [0; 8];
    tokio::select! {
        () = cork.drive(work) => unreachable!("it is endless"),
        read = far.read_exact(&mut heard) => read.unwrap(),
    };
    assert_eq!(&heard, b"a little");
}

#[tokio::test]
async fn what_others_write_meanwhile_goes_into_the_same_record() {
    let (mut near, mut far) = pair(64 * 1024).await;
    let cork = near.cork();
    let (sender, mut receiver) = tokio::sync::mpsc::channel(4);
    for byte in [1, 2, 3] {
        let sender = sender.clone();
        tokio::spawn(async move { sender.send([byte; 10]).await });
    }
    let work = poll_fn(|cx| {
        while let Poll::Ready(Some(bytes)) = receiver.poll_recv(cx) {
            write(&mut near, cx, &bytes);
        }
        Poll::<()>::Pending
    });
    sender.try_send([0; 10]).unwrap();
    let mut heard = [0; 100];
    let n = tokio::select! {
        () = cork.drive(work) => unreachable!("it is endless"),
        read = far.read(&mut heard) => read.unwrap(),
    };
    assert_eq!(n, 40);
}
