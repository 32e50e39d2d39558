//! Several clients at the same moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use cloudless_store::VersionKind;
use http::Request;
use tokio::sync::{Barrier, watch};
use tokio::task::JoinSet;

use crate::answer::Answer;
use crate::harness::{BOOK, PASSWORD, Server, card};
use crate::sessions::{Account, Lost, Transport};
use crate::writers::{Observer, Random, Record, Version, Writer, check};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_edits_of_one_state_one_wins_and_the_other_is_kept() {
    let server = Arc::new(Server::start());
    let path = format!("{BOOK}a.vcf");
    for round in 0..50 {
        let start = card("a", &format!("start {round}"));
        let etag = server.put("a.vcf", start).await;
        let edits = [0, 1].map(|writer| card("a", &format!("round {round} writer {writer}")));
        let barrier = Arc::new(Barrier::new(2));
        let tasks = edits.clone().map(|edit| {
            let (server, barrier) = (Arc::clone(&server), Arc::clone(&barrier));
            let (path, etag) = (path.clone(), etag.clone());
            tokio::spawn(async move {
                barrier.wait().await;
                server
                    .send("PUT", &path, &[("if-match", &etag)], edit)
                    .await
                    .status
            })
        });
        let [first, second] = tasks;
        let statuses = [first.await.unwrap(), second.await.unwrap()];
        let winner = statuses.iter().position(|status| *status == 204).unwrap();
        assert_eq!(statuses[1 - winner], 412, "round {round}");
        let get = server.send("GET", &path, &[], "").await;
        assert_eq!(get.text(), edits[winner]);
        let versions = server.store.versions(server.book().id, "a.vcf").unwrap();
        let mut lost = versions
            .into_iter()
            .filter(|it| it.kind == VersionKind::Refused);
        assert_eq!(
            lost.next_back().unwrap().bytes.unwrap(),
            edits[1 - winner].as_bytes()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_new_cards_of_one_name_one_is_created() {
    let server = Arc::new(Server::start());
    for round in 0..20 {
        let barrier = Arc::new(Barrier::new(2));
        let tasks = [0, 1].map(|writer| {
            let (server, barrier) = (Arc::clone(&server), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                let path = format!("{BOOK}{round}.vcf");
                let body = card(&format!("{round}"), &format!("writer {writer}"));
                server
                    .send("PUT", &path, &[("if-none-match", "*")], body)
                    .await
                    .status
            })
        });
        let [first, second] = tasks;
        let mut statuses = [first.await.unwrap(), second.await.unwrap()];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 412], "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_writers_with_if_match_lose_no_update_and_raise_no_dead() {
    let is_long = std::env::var_os("CLOUDLESS_ACCEPTANCE").is_some();
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let base = u64::from(since_epoch.subsec_nanos());
    for seed in base..base + if is_long { 100 } else { 3 } {
        let fault = write_and_check(seed, None).await.err();
        assert_eq!(fault, None, "seed {seed}");
    }
}

/// The checker finds what it is for: here the server never gets to see the conditions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgets_conditions_is_found_out() {
    for condition in ["if-match", "if-none-match"] {
        let mut faults = Vec::new();
        for seed in 0..20 {
            faults.extend(write_and_check(seed, Some(condition)).await.err());
            if !faults.is_empty() {
                break;
            }
        }
        assert!(!faults.is_empty(), "without {condition} all seems well");
    }
}

/// The way to a server, which may lose a header of each request.
#[derive(Clone)]
struct Way {
    server: Arc<Server>,
    loses: Option<&'static str>,
}

impl Transport for Way {
    async fn exchange(&mut self, mut request: Request<Bytes>) -> Result<Answer, Lost> {
        if let Some(header) = self.loses {
            request.headers_mut().remove(header);
        }
        self.server.exchange(request).await
    }
}

async fn write_and_check(seed: u64, loses: Option<&'static str>) -> Result<(), String> {
    let server = Arc::new(Server::start());
    let way = Way {
        server: Arc::clone(&server),
        loses,
    };
    let account = Account {
        user: "me".to_owned(),
        password: PASSWORD.to_owned(),
    };
    let record = Arc::new(Record::new());
    let (_up, is_up) = watch::channel(true);
    let (done, is_done) = watch::channel(false);
    let observer = Observer::new(account.clone(), way.clone(), is_up.clone());
    let observer = tokio::spawn(observer.watch(is_done));
    let mut writers = JoinSet::new();
    for number in 0..3 {
        let writer = Writer {
            number,
            account: account.clone(),
            transport: way.clone(),
            random: Random::new(seed * 3 + number as u64),
            is_up: is_up.clone(),
        };
        let record = Arc::clone(&record);
        writers.spawn(async move { writer.write(&record, 100, || {}).await });
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    done.send_replace(true);
    let mut observer = observer.await.unwrap();
    let book = server.book().id;
    let histories = || {
        let history = |name: String| {
            let versions = server.store.versions(book, &name).unwrap();
            (name, versions.into_iter().map(Version::from).collect())
        };
        let histories: BTreeMap<String, Vec<Version>> =
            record.names().into_iter().map(history).collect();
        histories
    };
    loop {
        let before = histories();
        let live = check(&record.acts(), &before)?;
        let synced = observer.check(&live).await;
        // A request that was lost may have been carried out in between.
        if histories() == before {
            return synced;
        }
    }
}
