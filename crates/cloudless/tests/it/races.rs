//! Two phones and an editor that write the same cards at once, while processes die.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use cloudless_store::Store;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::binary::on;
use crate::clients::Network;
use crate::pair::Pair;
use crate::sessions::Account;
use crate::writers::{Observer, Outcome, Random, Record, Version, Writer, check};

/// Requests of each writer in a round.
const REQUESTS: usize = 90;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_phones_and_an_editor_lose_no_update_and_raise_no_dead() {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = u64::from(since_epoch.subsec_nanos());
    let mut pair = Pair::start();
    for round in 0..crate::rounds(1) {
        let fault = write_and_check(&mut pair, seed + round as u64).await.err();
        assert_eq!(fault, None, "seed {seed}, round {round}");
    }
}

async fn write_and_check(pair: &mut Pair, seed: u64) -> Result<(), String> {
    let user = format!("writers-{seed}");
    let home = pair.folder("home");
    let account = |device: &str| {
        let add = ["device", "add", &user, device, "--create-user", "--json"];
        let added = on(&home, &add).expect(0).json();
        Account {
            user: user.clone(),
            password: added["password"].as_str().unwrap().to_owned(),
        }
    };
    let record = Arc::new(Record::new());
    let written = Arc::new(Semaphore::new(0));
    let (up, is_up) = watch::channel(true);
    let (done, is_done) = watch::channel(false);
    let (local, locally) = watch::channel(pair.local_program());
    let tablet = Network::from(pair.phone().over_http2());
    let observer = Observer::new(account("tablet"), tablet, is_up.clone());
    let observer = tokio::spawn(observer.watch(is_done));
    let mut writers = JoinSet::new();
    let ways = [
        ("phone-1", Network::from(pair.phone().over_http2())),
        ("phone-2", Network::from(pair.phone())),
        ("editor", Network::new(locally)),
    ];
    for (number, (device, transport)) in ways.into_iter().enumerate() {
        let writer = Writer {
            number,
            account: account(device),
            transport,
            random: Random::new(seed * 3 + number as u64),
            is_up: is_up.clone(),
        };
        let (record, written) = (Arc::clone(&record), Arc::clone(&written));
        writers.spawn(async move {
            writer
                .write(&record, REQUESTS, || written.add_permits(1))
                .await;
        });
    }
    // Each third of the requests ends with a death.
    let third = u32::try_from(REQUESTS).unwrap();
    written.acquire_many(third).await.unwrap().forget();
    up.send_replace(false);
    pair.kill_home();
    pair.start_home();
    pair.await_tunnel();
    local.send_replace(pair.local_program());
    up.send_replace(true);
    written.acquire_many(third).await.unwrap().forget();
    up.send_replace(false);
    pair.kill_relay();
    pair.start_relay();
    up.send_replace(true);
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    done.send_replace(true);
    let mut observer = observer.await.unwrap();

    pair.kill_home();
    let acts = record.acts();
    let count = |outcome: Outcome| acts.iter().filter(|act| act.outcome == outcome).count();
    let counts = [Outcome::Done, Outcome::Refused, Outcome::Lost].map(count);
    assert!(
        counts.iter().all(|count| *count > 0),
        "too tame: {counts:?}"
    );
    let live = check(&acts, &histories(pair, &user, record.names()));
    pair.start_home();
    pair.await_tunnel();
    observer.check(&live?).await
}

/// What the store of a home that is dead has of these names.
fn histories(pair: &Pair, user: &str, names: Vec<String>) -> BTreeMap<String, Vec<Version>> {
    let store = Store::open(&pair.folder("home")).unwrap();
    let users = store.users().unwrap();
    let user = users.iter().find(|it| it.name == user).unwrap();
    let book = store.address_book(user.id, "contacts").unwrap().unwrap();
    let history = |name: String| {
        let versions = store.versions(book.id, &name).unwrap();
        (name, versions.into_iter().map(Version::from).collect())
    };
    names.into_iter().map(history).collect()
}
