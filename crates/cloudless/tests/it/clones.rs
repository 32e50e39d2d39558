//! Two homes with one key: a disk that was cloned, and one that was restored.

use std::fs;
use std::path::Path;

use http::StatusCode;
use serde_json::Value;

use crate::binary::{on, until};
use crate::cards;
use crate::pair::Pair;
use crate::role::{LOG, Role};

/// Copies a state directory, as an image of its disk would.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else if path.is_file() && name != LOG {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

fn says(value: &Value, words: &str) -> bool {
    value.as_str().is_some_and(|text| text.contains(words))
}

#[test]
fn of_a_disk_that_is_cloned_the_second_is_refused_and_all_sides_say_so() {
    let mut pair = Pair::start();
    let (relay, home, clone) = (
        pair.folder("relay"),
        pair.folder("home"),
        pair.folder("clone"),
    );
    pair.kill_home();
    copy(&home, &clone);
    pair.start_home();
    pair.await_tunnel();

    let (second, _) = Role::start(&clone, "home");
    let status = until(&clone, "home", |it| it["relays"][0]["state"] == "refused");
    let error = &status["relays"][0]["error"];
    assert!(says(error, "another machine is connected"), "{error}");
    assert!(says(error, "stop one of the two"), "{error}");
    let warned = |it: &Value| says(&it["relays"][0]["warning"]["message"], "another machine");
    let status = until(&home, "home", warned);
    assert_eq!(status["relays"][0]["state"], "connected");
    let text = on(&home, &["home", "status"]).expect(0).stdout;
    assert!(text.contains("stop one of the two"), "{text}");
    let text = on(&relay, &["relay", "status"]).expect(0).stdout;
    assert!(
        text.contains("a second machine with the same key was refused"),
        "{text}"
    );
    on(&home, &["home", "status", "--check"]).expect(0);

    // The first one is gone: the second, started anew, is let in.
    drop(second);
    pair.kill_home();
    let (mut second, _) = Role::start(&clone, "home");
    assert_eq!(second.line()["tunnel"], "up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_that_is_restored_from_an_older_disk_is_let_in() {
    let mut pair = Pair::start();
    let (home, older) = (pair.folder("home"), pair.folder("older"));
    let mut connection = pair.phone().connect().await.unwrap();
    let put = connection
        .put("one.vcf", &cards::small("one"))
        .await
        .unwrap();
    assert_eq!(put.status, StatusCode::CREATED);
    pair.kill_home();
    copy(&home, &older);
    // It goes on for some sessions, then the disk dies.
    for name in ["two", "three"] {
        pair.start_home();
        pair.await_tunnel();
        let mut connection = pair.phone().connect().await.unwrap();
        let (file, card) = (format!("{name}.vcf"), cards::small(name));
        let put = connection.put(&file, &card).await.unwrap();
        assert_eq!(put.status, StatusCode::CREATED);
        pair.kill_home();
    }
    fs::remove_dir_all(&home).unwrap();
    copy(&older, &home);
    pair.start_home();
    pair.await_tunnel();
    on(&home, &["home", "status", "--check"]).expect(0);
    let mut connection = pair.phone().connect().await.unwrap();
    assert_eq!(
        connection.get("one.vcf").await.unwrap().status,
        StatusCode::OK
    );
    let gone = connection.get("two.vcf").await.unwrap();
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
}
