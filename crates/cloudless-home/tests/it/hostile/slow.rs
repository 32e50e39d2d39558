//! Visitors who take their time.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::io::AsyncWriteExt as _;

use super::{BOOK, Target, read_all};
use crate::fixture::HOST;

const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_head_that_never_ends_meets_its_deadline() {
    let target = Target::start(|config| config.timings.header_read = SHORT).await;
    let mut stream = target.connect(b"http/1.1").await;
    let start = b"PROPFIND /dav/ HTTP/1.1\r\nhost: home.exam";
    stream.write_all(start).await.unwrap();
    assert_eq!(read_all(&mut stream).await, b"");
    let homes_view = |row: &cloudless_home::status::RelayStatus| row.visitors_now == 0;
    target.home.relay_status(homes_view).await;
}

#[tokio::test]
async fn a_body_that_never_ends_meets_its_deadline() {
    let target = Target::start(|config| config.timings.request = SHORT).await;
    let authorization = &target.home.authorization;
    let head = format!(
        "PUT {BOOK}slow.vcf HTTP/1.1\r\nhost: {HOST}\r\nauthorization: {authorization}\r\n\
         content-type: text/vcard\r\ncontent-length: 1000\r\n\r\nBEGIN:VCARD\r\n"
    );
    let mut stream = target.connect(b"http/1.1").await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = read_all(&mut stream).await;
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");

    let stream = target.connect(b"h2").await;
    let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let put = Request::put(format!("https://{HOST}{BOOK}slow.vcf"))
        .header("authorization", authorization)
        .header("content-type", "text/vcard")
        .body(())
        .unwrap();
    let (response, mut body) = requests.send_request(put, false).unwrap();
    body.send_data(Bytes::from_static(b"BEGIN:VCARD\r\n"), false)
        .unwrap();
    assert_eq!(response.await.unwrap().status(), 408);
    drop((body, requests));
    connection.abort();
    assert_eq!(target.status_of("slow.vcf").await, 404);
    let refused = target.home.status().await.refused;
    assert_eq!(refused.get("request_refused"), Some(&2), "{refused:?}");
}
