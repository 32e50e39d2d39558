use cloudless_http2::client;
use cloudless_proto::takeover::Instance;
use http::Response;
use tokio::io::{BufReader, duplex};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::HTTP2;
use super::*;

const MOMENT: Duration = Duration::from_millis(2);

/// The relay's end of a control stream on which a home says this, and the connection's tasks.
async fn control_of(home: Vec<u8>) -> (Control, JoinSet<()>) {
    let (near, far) = duplex(1024 * 1024);
    let (requests, connection) = client::connect(BufReader::new(near), HTTP2);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let _ = connection.await;
    });
    tasks.spawn(async move {
        let mut connection = h2::server::handshake(far).await.unwrap();
        let (_request, mut respond) = connection.accept().await.unwrap().unwrap();
        let mut send = respond.send_response(Response::new(()), false).unwrap();
        send.send_data(Bytes::from(home), false).unwrap();
        while connection.accept().await.is_some() {}
    });
    let name = "relay.example.test".parse().unwrap();
    (Control::open(&requests, &name).await.unwrap(), tasks)
}

fn pinned() -> Vec<u8> {
    let key = cloudless_proto::PublicKey([7; 32]);
    lines::encode(&FromHome::Pinned { key })
}

fn hello() -> Vec<u8> {
    lines::encode(&FromHome::Hello {
        version: control::VERSION,
        software: "test/1".to_owned(),
        instance: Instance::new([1; 16]),
        epoch: 1,
        legs: false,
        probes: false,
    })
}

#[tokio::test(start_paused = true)]
async fn the_first_message_is_heard_at_once_and_each_one_after_a_pause() {
    let n = 100;
    let messages = [hello(), pinned().repeat(n)].concat();
    let (mut control, _tasks) = control_of(messages).await;
    let begun = Instant::now();
    let first = control.next().await.unwrap();
    assert!(matches!(first, FromHome::Hello { .. }), "{first:?}");
    assert!(begun.elapsed() < MOMENT);
    for _ in 0..n {
        let next = control.next().await.unwrap();
        assert!(matches!(next, FromHome::Pinned { .. }), "{next:?}");
    }
    assert!(begun.elapsed() >= PAUSE * 100, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn so_are_those_of_later_versions() {
    let unknown = b"{\"type\":\"from a later version\",\"x\":[1]}\n".repeat(100);
    let (mut control, _tasks) = control_of([unknown, hello()].concat()).await;
    let begun = Instant::now();
    let first = control.next().await.unwrap();
    assert!(matches!(first, FromHome::Hello { .. }), "{first:?}");
    assert!(begun.elapsed() >= PAUSE * 100, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_up_nothing_else_and_ends_however_often_it_is_left() {
    let (mut control, _tasks) = control_of(hello().repeat(2)).await;
    control.next().await.unwrap();
    let begun = Instant::now();
    let mut n_others = 0;
    while n_others < 20 && timeout(PAUSE / 5, control.next()).await.is_err() {
        n_others += 1;
    }
    assert!(n_others >= 4, "{n_others}");
    assert!(begun.elapsed() < PAUSE * 2, "{:?}", begun.elapsed());
}
