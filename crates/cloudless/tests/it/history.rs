//! What happened to contacts, and the way back, with a home that runs and with none.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use serde_json::Value;

use crate::binary::{Run, on, on_a_terminal};
use crate::cards;
use crate::client::{BOOK, Connection};
use crate::pair::Pair;

/// Long enough for a loaded machine; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

async fn delete(connection: &mut Connection, name: &str) {
    let request = Request::delete(format!("{BOOK}{name}")).body(Bytes::new());
    let answer = connection.send(request.unwrap()).await.unwrap();
    assert!(answer.status.is_success(), "{}", answer.status);
}

/// The answer to a sync that begins at a token.
async fn sync(connection: &mut Connection, token: &str) -> (u16, String) {
    let body = format!(
        "<D:sync-collection xmlns:D='DAV:'><D:sync-token>{token}</D:sync-token>\
         <D:sync-level>1</D:sync-level><D:prop><D:getetag/></D:prop></D:sync-collection>"
    );
    let request = Request::builder().method("REPORT").uri(BOOK);
    let answer = connection.send(request.body(body.into()).unwrap()).await;
    let answer = answer.unwrap();
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    (answer.status.as_u16(), body)
}

pub(crate) fn import(home: &Path, uid: &str, note: &str) {
    let file = home.join("one-card.vcf");
    let card = format!(
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:{uid}\r\nNOTE:{note}\r\nEND:VCARD\r\n"
    );
    fs::write(&file, card).unwrap();
    on(
        home,
        &["contacts", "import", file.to_str().unwrap(), "--user", "me"],
    )
    .expect(0);
}

/// The rows of the history, the newest first.
fn history(home: &Path, flags: &[&str]) -> Vec<Value> {
    let run = on(home, &[&["contacts", "history", "--json"], flags].concat()).expect(0);
    let rows = run.stdout.lines();
    rows.map(|row| serde_json::from_str(row).unwrap()).collect()
}

/// The command that is said to undo another one, as its words.
pub(crate) fn undo(run: &Run) -> Vec<String> {
    let line = run.stderr.lines().find(|line| line.contains("--at"));
    let line = line.unwrap_or_else(|| panic!("{run:?}")).trim();
    let line = line.strip_prefix("cloudless ").unwrap();
    // The moment is the only word with a space in it, and quoted.
    let (before, moment) = line.split_once('\'').unwrap();
    let mut words: Vec<_> = before.split_whitespace().map(str::to_owned).collect();
    words.push(moment.trim_end_matches('\'').to_owned());
    words
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_phone_did_is_told_and_undone() {
    let pair = Pair::start();
    let home = pair.folder("home");
    let mut phone = pair.phone().connect().await.unwrap();
    let (one, two) = (cards::small("one"), cards::small("two"));
    phone.put("one.vcf", &one).await.unwrap();
    phone.put("two.vcf", &two).await.unwrap();
    phone.put("one.vcf", &cards::small("one-b")).await.unwrap();
    delete(&mut phone, "two.vcf").await;

    let rows = history(&home, &[]);
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row["name"].as_str().unwrap(),
                row["change"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("two.vcf", "deleted"),
            ("one.vcf", "changed"),
            ("two.vcf", "created"),
            ("one.vcf", "created")
        ]
    );
    assert!(rows.iter().all(|row| row["device"] == "phone"), "{rows:?}");
    assert_eq!(history(&home, &["two", "--limit", "1"]).len(), 1);
    let table = on(&home, &["contacts", "history"]).expect(0).stdout;
    assert!(
        table.lines().count() == 5 && table.contains("Small two"),
        "{table}"
    );

    let show = on(&home, &["contacts", "show", "one", "--version", "1"]).expect(0);
    assert_eq!(show.stdout.as_bytes(), one);

    // It comes back to the phone as it was.
    let dry = on(&home, &["contacts", "restore", "two", "--dry-run"]).expect(0);
    assert_eq!(
        dry.stdout,
        "+ two.vcf  Small two\n1 would be brought back, 0 would be changed back, 0 would be deleted\n"
    );
    assert_eq!(
        history(&home, &["two", "--limit", "1"])[0]["change"],
        "deleted"
    );
    on(&home, &["contacts", "restore", "two"]).expect(0);
    on(&home, &["contacts", "restore", "one", "--version", "1"]).expect(0);
    assert_eq!(phone.get("two.vcf").await.unwrap().body, two);
    assert_eq!(phone.get("one.vcf").await.unwrap().body, one);
    let refused = on(&home, &["contacts", "restore", "two"]).expect(1);
    assert!(refused.stderr.contains("--version"), "{refused:?}");
}

#[test]
fn a_whole_address_book_goes_back_and_forth() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    on(&home, &["user", "add", "me"]).expect(0);
    import(&home, "ann", "old");
    import(&home, "bob", "old");
    let at = history(&home, &["bob"])[0]["at"]
        .as_str()
        .unwrap()
        .to_owned();
    import(&home, "ann", "new");
    import(&home, "eve", "new");

    // What the history shows is what --at takes.
    let restore = ["contacts", "restore", "--at", &at];
    let dry = on(&home, &[&restore[..], &["--dry-run"]].concat()).expect(0);
    assert_eq!(
        dry.stdout,
        "~ ann.vcf  ann\n- eve.vcf  eve\n\
         0 would be brought back, 1 would be changed back, 1 would be deleted\n"
    );
    assert_eq!(history(&home, &["eve"]).len(), 1, "nothing was done");
    let json = on(&home, &[&restore[..], &["--dry-run", "--json"]].concat());
    assert_eq!(
        json.expect(0).json()["difference"]["changed"]["cards"][0]["name"],
        "ann.vcf"
    );

    let run = on(&home, &restore).expect(0);
    assert_eq!(history(&home, &["eve"])[0]["change"], "deleted");
    assert_eq!(history(&home, &["ann"])[0]["change"], "restored");
    let again = on(&home, &restore).expect(0);
    assert!(again.stderr.contains("is what it was"), "{again:?}");

    let undo = undo(&run);
    let undo: Vec<_> = undo.iter().map(String::as_str).collect();
    crate::binary::cloudless(&undo).expect(0);
    let ann = on(&home, &["contacts", "show", "ann"]).expect(0).stdout;
    assert!(ann.contains("NOTE:new"), "{ann}");
    let eve = on(&home, &["contacts", "show", "eve"]).expect(0).stdout;
    assert!(eve.contains("NOTE:new"), "{eve}");
    assert_eq!(history(&home, &["eve"])[0]["change"], "restored");
}

#[test]
fn text_of_contacts_steers_no_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    on(&home, &["user", "add", "me"]).expect(0);
    import(&home, "a\x1b[2Jb", "x");
    let table = on(&home, &["contacts", "history"]).expect(0).stdout;
    assert!(
        !table.contains('\x1b') && table.contains("a [2Jb"),
        "{table:?}"
    );
    // A card comes byte for byte, but not to a terminal.
    let rows = history(&home, &[]);
    let name = rows[0]["name"].as_str().unwrap();
    let piped = on(&home, &["contacts", "show", name]).expect(0).stdout;
    assert!(piped.contains("UID:a\x1b[2Jb\r\n"), "{piped:?}");
    let line = format!(
        "{} contacts show {name} --state '{}'",
        env!("CARGO_BIN_EXE_cloudless"),
        home.display()
    );
    let Some(screen) = on_a_terminal(&line) else {
        return;
    };
    assert!(
        !screen.contains('\x1b') && screen.contains("UID:a [2Jb\r\n"),
        "{screen:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_that_deletes_all_is_served_told_and_undone() {
    let pair = Pair::start();
    let home = pair.folder("home");
    let mut phone = pair.phone().connect().await.unwrap();
    for number in 0..12 {
        let card = cards::small(&number.to_string());
        phone.put(&format!("{number}.vcf"), &card).await.unwrap();
    }
    let quiet = on(&home, &["home", "status", "--json"]).expect(0).json();
    assert_eq!(quiet["alarms"], Value::Array(Vec::new()));
    for number in 0..12 {
        delete(&mut phone, &format!("{number}.vcf")).await;
    }
    let status = on(&home, &["home", "status", "--json"]).expect(0).json();
    assert_eq!(status["alarms"][0]["count"], 12, "{status}");
    assert_eq!(status["alarms"][0]["device"], "phone");
    let text = on(&home, &["home", "status"]).expect(0).stdout;
    let number = status["alarms"][0]["alarm"].to_string();
    assert!(text.contains(&format!("undo-deletion {number}")), "{text}");

    let undone = on(&home, &["contacts", "undo-deletion", &number]).expect(0);
    assert!(
        undone
            .stdout
            .ends_with("12 brought back, 0 changed back, 0 deleted\n"),
        "{undone:?}"
    );
    assert_eq!(pair.local_program().names().await.len(), 12);
    let card = phone.get("7.vcf").await.unwrap();
    assert_eq!(card.body, cards::small("7"));
    on(&home, &["contacts", "undo-deletion", &number]).expect(1);
    let quiet = on(&home, &["home", "status", "--json"]).expect(0).json();
    assert_eq!(quiet["alarms"], Value::Array(Vec::new()));
}

#[test]
fn history_goes_only_when_it_is_asked_to() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    on(&home, &["user", "add", "me"]).expect(0);
    import(&home, "ann", "old");
    import(&home, "ann", "new");
    let refused = on(&home, &["contacts", "prune"]).expect(64);
    assert!(refused.stderr.contains("--older-than"), "{refused:?}");
    let all = ["contacts", "prune", "--older-than", "0s", "--json"];
    let dry = on(&home, &[&all[..], &["--dry-run"]].concat())
        .expect(0)
        .json();
    assert_eq!(dry["versions"], 1, "{dry}");
    assert_eq!(history(&home, &[]).len(), 2);
    assert_eq!(on(&home, &all).expect(0).json()["versions"], 1);
    assert_eq!(history(&home, &[]).len(), 1);
    let ann = on(&home, &["contacts", "show", "ann"]).expect(0).stdout;
    assert!(ann.contains("NOTE:new"), "{ann}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_running_home_is_restored_as_the_help_says() {
    let mut pair = Pair::start();
    let home = pair.folder("home");
    let mut phone = pair.phone().connect().await.unwrap();
    phone.put("one.vcf", &cards::small("one")).await.unwrap();
    let file = pair.folder("backups").join("today.sqlite");
    let backup = ["home", "backup", file.to_str().unwrap(), "--json"];
    let told = on(&home, &backup).expect(0).json();
    assert_eq!(told["bytes"], fs::metadata(&file).unwrap().len(), "{told}");
    let twice = on(&home, &backup).expect(1);
    assert!(twice.stderr.contains("exists"), "{twice:?}");
    // What else has to be kept is there, under the names that are told.
    let other = pair.folder("backups").join("again.sqlite");
    let told = on(&home, &["home", "backup", other.to_str().unwrap()]).expect(0);
    let (kept, _) = told.stderr.split_once(" from ").unwrap();
    let kept: Vec<_> = kept.trim_start_matches("keep ").split(", ").collect();
    for name in &kept {
        assert!(home.join(name).exists(), "{name}: {told:?}");
    }
    assert!(
        kept.contains(&"home.key") && kept.contains(&"certificates"),
        "{told:?}"
    );

    delete(&mut phone, "one.vcf").await;
    phone.put("two.vcf", &cards::small("two")).await.unwrap();
    let (_, state) = sync(&mut phone, "").await;
    let (_, token) = state.split_once("<D:sync-token>").unwrap();
    let (token, _) = token.split_once('<').unwrap();
    assert_eq!(sync(&mut phone, token).await.0, 207);
    pair.kill_home();
    for name in ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm"] {
        let removed = fs::remove_file(home.join(name));
        assert!(removed.is_ok() || name != "store.sqlite");
    }
    fs::copy(&file, home.join("store.sqlite")).unwrap();
    pair.start_home();
    pair.await_tunnel();
    let mut phone = pair.phone().connect().await.unwrap();
    let one = phone.get("one.vcf").await.unwrap();
    assert_eq!(one.body, cards::small("one"));
    // The phone knows a state that does not exist any more, and starts over.
    let (status, refused) = sync(&mut phone, token).await;
    assert_eq!(status, 400, "{refused}");
    assert!(refused.contains("<D:valid-sync-token/>"), "{refused}");
    let (_, anew) = sync(&mut phone, "").await;
    assert!(
        anew.contains("one.vcf") && !anew.contains("two.vcf"),
        "{anew}"
    );
    assert_eq!(pair.local_program().names().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_removes_what_is_older_than_home_toml_keeps() {
    let mut pair = Pair::start();
    let home = pair.folder("home");
    pair.kill_home();
    import(&home, "ann", "old");
    import(&home, "ann", "new");
    import(&home, "bob", "old");
    import(&home, "bob", "new");
    // Bob's first note was replaced two days ago.
    let store = rusqlite::Connection::open(home.join("store.sqlite")).unwrap();
    let earlier = "UPDATE versions SET at = at - 172800000 WHERE name = 'bob.vcf'";
    assert_eq!(store.execute(earlier, []).unwrap(), 2);
    drop(store);
    let path = home.join("home.toml");
    let config = fs::read_to_string(&path).unwrap();
    let numbers = |card| -> Vec<_> {
        let rows = history(&home, &[card]);
        let numbers = rows.iter().map(|row| row["version"].as_u64().unwrap());
        numbers.collect()
    };
    pair.start_home();
    pair.await_tunnel();
    assert_eq!(numbers("bob"), [2, 1], "all is kept unless it is said");
    pair.kill_home();
    fs::write(&path, format!("{config}\n[history]\nkeep = \"1d\"\n")).unwrap();
    pair.start_home();
    let late = Instant::now() + PATIENCE;
    while numbers("bob") != [2] {
        assert!(Instant::now() < late, "{:?}", numbers("bob"));
    }
    assert_eq!(numbers("ann"), [2, 1]);
    let kept = on(&home, &["contacts", "show", "bob"]).expect(0).stdout;
    assert!(kept.contains("NOTE:new"), "{kept}");
}
