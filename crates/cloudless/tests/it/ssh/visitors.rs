//! One visitor that asks and does not read is no other one's trouble.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::ssh::home::Home;
use crate::ssh::sshd::{RECIPE, Sshd, free_address};

/// So many others come meanwhile.
const OTHERS: usize = 10;
/// A new visitor waits no longer beside one that takes all it can get.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn others_are_served_beside_one_that_asks_without_end_and_reads_nothing() {
    let Some(sshd) = Sshd::start(RECIPE) else {
        return;
    };
    let forward = free_address();
    let mut home = Home::set_up(&sshd, &forward.to_string(), "");
    home.start();
    home.await_tunnel();
    let note = "A".repeat(300_000);
    let card =
        format!("BEGIN:VCARD\r\nVERSION:3.0\r\nUID:big\r\nFN:Big\r\nNOTE:{note}\r\nEND:VCARD\r\n");
    let mut phone = home.phone(forward).connect().await.unwrap();
    let put = phone.put("big.vcf", card.as_bytes()).await.unwrap();
    assert!(put.status.is_success(), "{put:?}");

    let client = home.phone(forward);
    let greedy = tokio::spawn(async move {
        let mut stream = client.begin_get("big.vcf").await;
        let request = format!(
            "GET {}big.vcf HTTP/1.1\r\nHost: localhost\r\nAuthorization: {}\r\n\r\n",
            crate::client::BOOK,
            client.authorization()
        );
        let requests = request.repeat(1024);
        while stream.write_all(requests.as_bytes()).await.is_ok() {}
    });
    // Its window is full when home has sent it so much.
    home.relay_until(|row| row["bytes_down"].as_u64() > Some(2_000_000));
    for _ in 0..OTHERS {
        let other = async {
            let mut phone = home.phone(forward).connect().await.unwrap();
            phone.get("big.vcf").await.unwrap().body
        };
        let got = timeout(PATIENCE, other).await;
        assert_eq!(got.expect("others are served").as_ref(), card.as_bytes());
    }
    greedy.abort();
    let row = home.relay_until(|_| true);
    assert_eq!(row["state"], "connected", "{row}");
}
