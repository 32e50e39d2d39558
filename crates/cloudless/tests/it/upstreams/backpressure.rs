//! A server behind home that does not read stops the phone that sends to it.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::web::{GROWTH_MAX, peak};
use crate::pair::{HOSTNAME, Pair};

const MUCH: usize = 128 * 1024 * 1024;
/// More than the sockets of phone, relay, home and server hold together.
const KEPT: usize = 64 * 1024 * 1024;
/// Nobody takes anything any more.
const STILL: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(60);

/// The next connection with a request, whose head is read then.
pub(crate) async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        let (mut server, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match server.read_u8().await {
                Ok(byte) => head.push(byte),
                // Home has looked whether somebody is there.
                Err(_) => break,
            }
        }
        if !head.is_empty() {
            return server;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_waits_for_a_slow_server_in_bounded_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let table = format!("[[upstream]]\npath = \"/slow/\"\nserver = \"http://{address}\"\n");
    let pair = Pair::start_configured(HOSTNAME, &table);
    let pids = [pair.home_pid(), pair.relay_pid()];
    let before = pids.map(peak);

    let mut phone = pair.phone().begin_upload("/slow/x", MUCH).await;
    let mut server = timeout(PATIENCE, accept(&listener)).await.unwrap();
    let piece = vec![7; 64 * 1024];
    let mut sent = 0;
    while sent < MUCH
        && let Ok(written) = timeout(STILL, phone.write(&piece)).await
    {
        sent += written.unwrap();
    }
    assert!(sent < KEPT, "{sent} bytes were taken from the phone");
    let growth = std::array::from_fn::<_, 2, _>(|it| peak(pids[it]).saturating_sub(before[it]));
    println!("{sent} bytes on the way, KiB more in home and relay: {growth:?}");
    assert!(growth.iter().all(|it| *it < GROWTH_MAX), "{growth:?} KiB");

    // It reads on, and gets all.
    let reading = tokio::spawn(async move {
        let mut left = MUCH;
        let mut buffer = vec![0; 64 * 1024];
        while left > 0 {
            let read = server.read(&mut buffer).await.unwrap();
            assert!(read > 0, "{left} bytes are missing");
            left -= read;
        }
        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
        server.write_all(answer).await.unwrap();
        server
    });
    while sent < MUCH {
        let length = piece.len().min(MUCH - sent);
        let written = timeout(PATIENCE, phone.write(&piece[..length])).await;
        sent += written.unwrap().unwrap();
    }
    phone.flush().await.unwrap();
    let mut answer = [0; 12];
    timeout(PATIENCE, phone.read_exact(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&answer, b"HTTP/1.1 204");
    reading.await.unwrap();
}
