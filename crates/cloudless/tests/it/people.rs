//! Finding contacts, joining them, and sharing address books, from the command line.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::Value;

use crate::binary::{cloudless, on};
use crate::history::{import, undo};
use crate::pair::Pair;

#[test]
fn a_person_who_is_there_twice_is_joined_and_parted() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    on(&home, &["user", "add", "me"]).expect(0);
    import(&home, "ann", "rows\r\nEMAIL:ann@example.org");
    import(&home, "ann-2", "sings\r\nEMAIL:Ann@example.org");
    import(&home, "bob", "rows");
    let found = on(&home, &["contacts", "search", "ROWS", "--json"])
        .expect(0)
        .json();
    assert_eq!(found.as_array().unwrap().len(), 2, "{found}");
    let table = on(&home, &["contacts", "search", "sings"]).expect(0).stdout;
    assert!(
        table.contains("ann-2.vcf") && table.contains("Ann@example.org"),
        "{table}"
    );
    for command in [["search", "sings"], ["history", "ann"]] {
        let none = [&["contacts"][..], &command, &["--limit", "0"]].concat();
        let refused = on(&home, &none).expect(64);
        assert!(refused.stderr.contains("1 or more"), "{refused:?}");
    }
    let nothing = on(&home, &["contacts", "search", "swims"]).expect(0);
    assert_eq!(nothing.stdout, "");

    let group = on(&home, &["contacts", "duplicates", "--json"])
        .expect(0)
        .json();
    let group = group["group"].as_str().unwrap().to_owned();
    let text = on(&home, &["contacts", "duplicates"]).expect(0);
    assert!(
        text.stdout.contains("same e-mail address ann@example.org"),
        "{text:?}"
    );
    assert!(text.stderr.contains(&format!("merge {group}")), "{text:?}");

    let dry = on(&home, &["contacts", "merge", &group, "--dry-run"])
        .expect(0)
        .stdout;
    assert!(dry.contains("rows") && dry.contains("sings"), "{dry}");
    let merged = on(&home, &["contacts", "merge", &group]).expect(0);
    let cards = || {
        on(&home, &["contacts", "export", "--user", "me"])
            .expect(0)
            .stdout
    };
    assert_eq!(cards().matches("BEGIN:VCARD").count(), 2);
    assert!(cards().contains(&dry), "what the dry run showed");
    let undo = undo(&merged);
    cloudless(&undo.iter().map(String::as_str).collect::<Vec<_>>()).expect(0);
    assert_eq!(cards().matches("BEGIN:VCARD").count(), 3);
    assert!(!cards().contains(&dry));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_book_is_there_for_the_phone_at_once() {
    let pair = Pair::start();
    let home = pair.folder("home");
    on(&home, &["user", "add", "bob"]).expect(0);
    let me = ["--user", "me"];
    let book = |arguments: &[&str]| on(&home, &[&["book"], arguments, &me[..]].concat());
    let ask = async || {
        let request = Request::builder()
            .method(Method::from_bytes(b"PROPFIND").unwrap())
            .uri("/dav/addressbooks/me/club/")
            .header("depth", "0");
        let request = request.body(Bytes::new()).unwrap();
        pair.phone().send(request).await.unwrap()
    };
    assert_eq!(ask().await.status, StatusCode::NOT_FOUND);
    let none = on(&home, &["book", "add", "club"]).expect(1);
    assert!(none.stderr.contains("--user"), "two users: {none:?}");
    book(&["add", "club", "--name", "Sailing club"]).expect(0);
    let answer = ask().await;
    assert_eq!(answer.status.as_u16(), 207);
    assert!(String::from_utf8_lossy(&answer.body).contains("Sailing club"));
    book(&["rename", "club", "Rowing club"]).expect(0);
    assert!(String::from_utf8_lossy(&ask().await.body).contains("Rowing club"));

    book(&["share", "club", "bob", "--read-only"]).expect(0);
    let list = book(&["list", "--json"]).expect(0).json();
    assert_eq!(
        list["books"][1]["shares"][0]["access"], "read-only",
        "{list}"
    );
    let his = on(&home, &["book", "list", "--user", "bob"])
        .expect(0)
        .stdout;
    assert!(his.contains("read only") && his.contains("by me"), "{his}");
    book(&["unshare", "club", "bob"]).expect(0);

    let removed = book(&["remove", "club"]).expect(0);
    assert!(removed.stderr.contains("book restore club"), "{removed:?}");
    assert_eq!(ask().await.status, StatusCode::NOT_FOUND);
    let list = book(&["list"]).expect(0);
    assert!(!list.stdout.contains("club"), "{list:?}");
    let list = book(&["list", "--removed"]).expect(0);
    assert!(
        list.stdout.contains("cloudless book restore club"),
        "{list:?}"
    );
    book(&["restore", "club"]).expect(0);
    assert_eq!(ask().await.status.as_u16(), 207);
    assert_eq!(
        book(&["list", "--json"]).json()["removed"],
        Value::Array(Vec::new())
    );
}
