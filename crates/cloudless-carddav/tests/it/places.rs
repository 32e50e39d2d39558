//! No device has so many requests under way that their bodies fill the memory.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use cloudless_carddav::hash_password;
use cloudless_store::Timestamp;
use http_body::Frame;

use crate::harness::{BOOK, PASSWORD, Server, basic, card, request};

const OF_DEVICE_MAX: usize = 16;

#[tokio::test(start_paused = true)]
async fn a_device_that_reads_no_answer_gets_no_more_than_16_and_others_theirs() {
    let server = Server::start();
    server.put("a.vcf", card("uid", "Ada")).await;
    let tablet = "tabletabletabletabletablet";
    server
        .store
        .add_device("me", "tablet", hash_password(tablet), Timestamp(1))
        .unwrap();
    let get = async |password| {
        let authorization = basic("me", password);
        let headers = [("authorization", authorization.as_str())];
        let request = request("GET", &format!("{BOOK}a.vcf"), &headers, "");
        server.carddav.respond(request).await
    };
    let mut unread = Vec::new();
    for _ in 0..OF_DEVICE_MAX {
        unread.push(get(PASSWORD).await);
    }
    assert!(unread.iter().all(|answer| answer.status() == 200));
    assert_eq!(get(PASSWORD).await.status(), 503);
    assert_eq!(get(tablet).await.status(), 200);
    unread.pop();
    assert_eq!(get(PASSWORD).await.status(), 200);
}

/// A body of a megabyte and one byte, and then nothing more.
struct Endless(Option<Bytes>);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Poll::Pending,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_sends_large_bodies_gets_no_more_than_two_read_at_a_time() {
    let server = Server::start();
    let authorization = basic("me", PASSWORD);
    let put = |name: &str| {
        let headers = [("authorization", authorization.as_str())];
        let head = request("PUT", &format!("{BOOK}{name}.vcf"), &headers, "");
        let body = Endless(Some(Bytes::from(vec![b'x'; (1 << 20) + 1])));
        server.carddav.respond(head.map(|_| body))
    };
    let small = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.put("a.vcf", card("uid", "Ada")).await
    };
    let large = card("large", &"x".repeat(2 << 20));
    let (one, two, three, _) = tokio::join!(put("1"), put("2"), put("3"), small);
    let mut answers = [one, two, three];
    answers.sort_by_key(http::Response::status);
    // Nothing came for a minute after the first megabyte; the last one was not read that far.
    assert_eq!(
        answers.each_ref().map(|it| it.status().as_u16()),
        [408, 408, 503]
    );
    assert!(answers[2].headers().contains_key("retry-after"));
    server.put("large.vcf", large).await;
}
