//! A device that is revoked is out at once, whatever it has open.

use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::binary::on;
use crate::cards;
use crate::client::{Client, Connection};
use crate::pair::Pair;

/// Whether a request is refused on a connection that was good before.
async fn is_out(connection: &mut Connection) -> bool {
    match connection.get("small.vcf").await {
        Ok(answer) => answer.status == StatusCode::UNAUTHORIZED,
        Err(_) => true,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_device_is_out_on_every_connection_that_it_has_and_on_new_ones() {
    let pair = Pair::start();
    let phone = pair.phone();
    let clients: [Client; 3] = [
        phone.clone(),
        phone.clone().over_http2(),
        pair.local_program(),
    ];
    let mut kept = Vec::new();
    for client in &clients {
        let mut connection = client.connect().await.unwrap();
        let put = connection.put("small.vcf", &cards::small("small")).await;
        assert!(put.unwrap().status.is_success());
        kept.push(connection);
    }
    let large = cards::large(0);
    // A large card goes up, and has not come to its end.
    let half = large.len() / 2;
    let mut up = phone.begin_put("under-way.vcf", &large, half).await;

    on(&pair.folder("home"), &["device", "revoke", "me", "phone"]).expect(0);

    for connection in &mut kept {
        assert!(is_out(connection).await, "a connection that was kept");
    }
    for client in &clients {
        // With the ticket of the session before.
        if let Ok(mut connection) = client.connect().await {
            assert!(is_out(&mut connection).await, "a new connection");
        }
    }
    let _ = up.write_all(&large[half..]).await;
    let mut answer = [0; 12];
    // What home says, or that it has closed.
    let _ = up.read_exact(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    let add = ["device", "add", "me", "other", "--json"];
    let added = on(&pair.folder("home"), &add).expect(0).json();
    let other = Client::on_loopback(pair.local_address(), added["password"].as_str().unwrap());
    let mut other = other.connect().await.unwrap();
    let gone = other.get("under-way.vcf").await.unwrap();
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
}
