//! Visitors of home's own server who leave their leg without TLS's goodbye.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::pair::{Pair, Terms, soon};
use crate::fixture::HOST;
use crate::visitor::{http1, request};

const CARD_PATH: &str = "/dav/addressbooks/me/contacts/a.vcf";
/// Most of it goes on the leg: no more than a window of HTTP/2 is under way until that is there.
const NOTE_LEN: usize = 2 * 1024 * 1024;
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
    trust.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(trust));
    for made in 1..=4 {
        let stream = TcpStream::connect(pair.address()).await.unwrap();
        let name = ServerName::try_from(HOST).unwrap();
        let tls = connector.connect(name, stream).await.unwrap();
        let (mut requests, connection) = h2::client::handshake(tls).await.unwrap();
        let connection = tokio::spawn(connection);
        let get = http::Request::get(format!("https://{HOST}{CARD_PATH}"));
        let get = get.header("authorization", &pair.home.authorization);
        let (answer, _) = requests.send_request(get.body(()).unwrap(), true).unwrap();
        let mut body = soon(answer).await.unwrap().into_body();
        let mut n = 0;
        while n < card_len {
            let bytes = soon(body.data()).await.unwrap().unwrap();
            n += bytes.len();
            body.flow_control().release_capacity(bytes.len()).unwrap();
            if n > BEGINNING_LEN {
                let has_leg = |status: &cloudless_relay::Status| status.homes[0].legs_total == made;
                pair.until(has_leg).await;
            }
        }
        // It drops the TLS connection as it is.
        connection.abort();
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
