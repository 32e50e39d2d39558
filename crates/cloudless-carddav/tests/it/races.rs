//! Two clients at the same moment.

use std::sync::Arc;

use cloudless_store::VersionKind;
use tokio::sync::Barrier;

use crate::harness::{BOOK, Server, card};

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
