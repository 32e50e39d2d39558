//! No device has so many requests under way that their bodies fill the memory.

use cloudless_carddav::hash_password;
use cloudless_store::Timestamp;

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
