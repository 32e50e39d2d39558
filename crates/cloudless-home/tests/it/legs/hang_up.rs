//! Visitors of home's own server who leave their leg without TLS's goodbye.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::pair::{Pair, Terms, soon};
use crate::fixture::HOST;
use crate::visitor::{http1, request};

const CARD_PATH: &str = "/dav/addressbooks/me/contacts/a.vcf";
/// More than waits in windows and sockets, so that the rest goes on the leg.
const NOTE_LEN: usize = 8 * 1024 * 1024;
const BEGINNING_LEN: usize = 256 * 1024;

/// As curl does after each download. Three legs in a row that break are the last ones for a while.
#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_without_close_notify_breaks_no_leg() {
    let terms = Terms {
        names: &[HOST],
        ..Terms::default()
    };
    let pair = Pair::start(terms).await;
    let note = "x".repeat(NOTE_LEN);
    let card = format!("BEGIN:VCARD\r\nVERSION:3.0\r\nUID:a\r\nNOTE:{note}\r\nEND:VCARD\r\n");
    let card_len = card.len();
    let mut put = request("PUT", CARD_PATH, &pair.home.authorization);
    *put.body_mut() = Full::<Bytes>::from(card);
    let headers = put.headers_mut();
    headers.insert("host", "localhost".parse().unwrap());
    headers.insert("content-type", "text/vcard".parse().unwrap());
    let local = TcpStream::connect(pair.home.local).await.unwrap();
    assert_eq!(http1(local, put).await.status(), 201);

    let mut trust = pair.home.trust();
    trust.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = TlsConnector::from(Arc::new(trust));
    for made in 1..=4 {
        let stream = TcpStream::connect(pair.address()).await.unwrap();
        let name = ServerName::try_from(HOST).unwrap();
        let mut tls = connector.connect(name, stream).await.unwrap();
        let authorization = &pair.home.authorization;
        let get = format!(
            "GET {CARD_PATH} HTTP/1.1\r\nhost: {HOST}\r\nauthorization: {authorization}\r\n\r\n"
        );
        tls.write_all(get.as_bytes()).await.unwrap();
        let mut beginning = vec![0; BEGINNING_LEN];
        soon(tls.read_exact(&mut beginning)).await.unwrap();
        let has_leg = |status: &cloudless_relay::Status| status.homes[0].legs_total == made;
        pair.until(has_leg).await;
        let head_len = beginning
            .windows(4)
            .position(|it| it == b"\r\n\r\n")
            .unwrap()
            + 4;
        let mut rest = vec![0; head_len + card_len - BEGINNING_LEN];
        soon(tls.read_exact(&mut rest)).await.unwrap();
        assert!(rest.ends_with(b"\r\nEND:VCARD\r\n"));
        drop(tls.into_inner());
        pair.until(|status| status.totals.visitors_now == 0).await;
        let row = &pair.status().await.homes[0];
        assert!(
            row.leg_bytes_down > 0 && row.last_error.is_none(),
            "{row:?}"
        );
    }
}

over_ipv6! {
    who_hangs_up_without_close_notify_breaks_no_leg,
}
