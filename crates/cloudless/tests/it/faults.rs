//! Processes that die at the worst moment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cards;
use crate::client::{BOOK, Client};
use crate::pair::Pair;

/// What a phone may notice of a relay that was killed and started again.
const BACK_WITHIN: Duration = Duration::from_secs(2);
const WRITERS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_put_survives_the_death_of_home() {
    let mut pair = Pair::start();
    let mut acknowledged = BTreeMap::new();
    for round in 0..crate::rounds(6) {
        let enough = 3 + (round * 37) % 90;
        put_until_death(&mut pair, round, enough, &mut acknowledged).await;
        pair.start_home();
        pair.await_tunnel();

        let mut connection = pair.phone().connect().await.unwrap();
        for (name, card) in &acknowledged {
            let answer = connection.get(name).await.unwrap();
            assert_eq!(
                answer.status,
                StatusCode::OK,
                "round {round}: {name} was acknowledged and is gone"
            );
            assert_eq!(answer.body, card, "round {round}: {name}");
        }
        // What was not acknowledged may be there or not, but never in part.
        let names = pair.local_program().names().await;
        assert!(names.len() >= acknowledged.len());
        for name in names
            .iter()
            .filter(|name| !acknowledged.contains_key(*name))
        {
            let uid = name.strip_suffix(".vcf").unwrap();
            assert_eq!(
                connection.get(name).await.unwrap().body,
                cards::small(uid),
                "round {round}: {name}"
            );
        }
    }
}

/// Several phones put cards until `enough` are acknowledged, then home is killed under them.
async fn put_until_death(
    pair: &mut Pair,
    round: usize,
    enough: usize,
    acknowledged: &mut BTreeMap<String, Vec<u8>>,
) {
    let done = Arc::new(Mutex::new(Vec::new()));
    let count = Arc::new(Semaphore::new(0));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (done, count) = (Arc::clone(&done), Arc::clone(&count));
        // Before anybody puts: few puts may be enough, and then home is gone.
        let mut connection = pair.phone().connect().await.unwrap();
        writers.spawn(async move {
            for number in 0.. {
                let uid = format!("r{round}-w{writer}-{number}");
                let card = cards::small(&uid);
                let Ok(answer) = connection.put(&format!("{uid}.vcf"), &card).await else {
                    return;
                };
                assert_eq!(answer.status, StatusCode::CREATED);
                done.lock().unwrap().push((format!("{uid}.vcf"), card));
                count.add_permits(1);
            }
        });
    }
    let enough = u32::try_from(enough).unwrap();
    let permits = tokio::time::timeout(Duration::from_secs(60), count.acquire_many(enough)).await;
    drop(permits.expect("puts are answered").unwrap());
    pair.kill_home();
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    let done = std::mem::take(&mut *done.lock().unwrap());
    assert!(done.len() >= usize::try_from(enough).unwrap());
    acknowledged.extend(done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_relay_is_back_within_two_seconds() {
    let mut pair = Pair::start();
    let phone = pair.phone();
    assert_eq!(poll(&phone).await.unwrap(), StatusCode::MULTI_STATUS);
    for round in 0..crate::rounds(3) {
        pair.kill_relay();
        poll(&phone).await.expect_err("nobody listens");
        pair.start_relay();
        let back = Instant::now();
        let status = poll(&phone)
            .await
            .expect("the visitor is held until home is there");
        let took = back.elapsed();
        assert_eq!(status, StatusCode::MULTI_STATUS);
        assert!(
            took < BACK_WITHIN,
            "round {round}: the first sync took {took:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_that_comes_while_home_restarts_is_held() {
    let mut pair = Pair::start();
    let phone = pair.phone();
    for _ in 0..crate::rounds(2) {
        pair.kill_home();
        let visitor = tokio::spawn({
            let phone = phone.clone();
            async move { poll(&phone).await.map_err(|error| error.to_string()) }
        });
        pair.start_home();
        assert_eq!(visitor.await.unwrap(), Ok(StatusCode::MULTI_STATUS));
    }
}

/// What a phone asks to see whether anything changed, on a new connection.
async fn poll(phone: &Client) -> Result<StatusCode, Box<dyn std::error::Error + Send + Sync>> {
    let request = Request::builder()
        .method("PROPFIND")
        .uri(BOOK)
        .header("depth", "0")
        .body(Bytes::from_static(
            br#"<propfind xmlns="DAV:"><prop><sync-token/></prop></propfind>"#,
        ))?;
    Ok(phone.send(request).await?.status)
}
