//! Cards in and out as files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::binary::{cloudless, on, on_a_terminal};
use crate::cards;
use crate::corpus;
use crate::pair::Pair;

fn import(state: &Path, files: &[&Path]) -> crate::binary::Run {
    let files = files.iter().map(|file| file.to_str().unwrap());
    let state = ["--user", "me", "--json", "--state", state.to_str().unwrap()];
    cloudless(
        &["contacts", "import"]
            .into_iter()
            .chain(files)
            .chain(state)
            .collect::<Vec<_>>(),
    )
}

/// To one file if the path ends in .vcf, else to a folder.
fn export(state: &Path, output: &Path) -> crate::binary::Run {
    let flag = match output.extension() {
        Some(_) => "--output",
        None => "--folder",
    };
    on(
        state,
        &[
            "contacts",
            "export",
            "--user",
            "me",
            flag,
            output.to_str().unwrap(),
        ],
    )
}

/// The cards of a file or of all files in a directory.
fn cards_in(path: &Path) -> BTreeSet<Vec<u8>> {
    if path.is_dir() {
        let files = fs::read_dir(path).unwrap();
        return files
            .map(|file| fs::read(file.unwrap().path()).unwrap())
            .collect();
    }
    let bytes = fs::read(path).unwrap();
    cloudless_vcard::split(&bytes)
        .map(|card| card.unwrap().to_owned())
        .collect()
}

#[test]
fn cards_come_out_as_they_went_in() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    on(&home, &["user", "add", "me"]).expect(0);
    let with_line_end = |mut card: Vec<u8>| {
        if !card.ends_with(b"\n") {
            card.extend_from_slice(b"\r\n");
        }
        card
    };
    let varied: Vec<_> = cards::varied(250)
        .into_iter()
        .map(|(_, card)| with_line_end(card))
        .collect();
    let file = directory.path().join("all.vcf");
    fs::write(&file, varied.concat()).unwrap();

    let summary = import(&home, &[&file]).expect(0).json();
    assert_eq!(
        (&summary["created"], &summary["updated"]),
        (&250.into(), &0.into()),
        "{summary}"
    );
    let summary = import(&home, &[&file]).expect(0).json();
    assert_eq!(summary["unchanged"], 250, "{summary}");

    let want: BTreeSet<_> = varied.iter().cloned().collect();
    let one = directory.path().join("one.vcf");
    export(&home, &one).expect(0);
    assert_eq!(cards_in(&one), want);
    let each = directory.path().join("each");
    export(&home, &each).expect(0);
    assert_eq!(cards_in(&each), want);
    assert_eq!(fs::read_dir(&each).unwrap().count(), 250);
    let refused = export(&home, &each).expect(64);
    assert!(refused.stderr.contains("not empty"), "{refused:?}");

    // A second home takes the folder as it is.
    let other = directory.path().join("other");
    on(&other, &["user", "add", "me"]).expect(0);
    assert_eq!(import(&other, &[&each]).expect(0).json()["created"], 250);
    let stdout = on(&other, &["contacts", "export", "--user", "me"])
        .expect(0)
        .stdout;
    assert_eq!(stdout.len(), want.iter().map(Vec::len).sum::<usize>());
}

#[test]
fn an_export_as_json_has_the_name_and_the_bytes_of_each_card() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    on(&home, &["user", "add", "me"]).expect(0);
    let file = directory.path().join("all.vcf");
    let cards = [cards::small("one"), cards::small("two")];
    fs::write(&file, cards.concat()).unwrap();
    import(&home, &[&file]).expect(0);

    let run = on(&home, &["contacts", "export", "--user", "me", "--json"]).expect(0);
    let exported: BTreeSet<_> = run
        .stdout
        .lines()
        .map(|line| {
            let card: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(card["name"].as_str().unwrap().ends_with(".vcf"), "{card}");
            let bytes = card["bytes_base64"].as_str().unwrap();
            data_encoding::BASE64.decode(bytes.as_bytes()).unwrap()
        })
        .collect();
    assert_eq!(exported, BTreeSet::from(cards));
}

#[test]
fn a_file_of_one_card_is_kept_to_the_last_byte() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    on(&home, &["user", "add", "me"]).expect(0);
    let file = directory.path().join("one.vcf");
    let bytes = b"\xef\xbb\xbfBEGIN:VCARD\nVERSION:3.0\nUID:x\nFN:\xe9\nEND:VCARD";
    fs::write(&file, bytes).unwrap();
    import(&home, &[&file]).expect(0);
    let each = directory.path().join("each");
    export(&home, &each).expect(0);
    assert_eq!(cards_in(&each), BTreeSet::from([bytes.to_vec()]));
}

#[test]
fn one_bad_card_is_named_and_the_rest_goes_in() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    on(&home, &["user", "add", "me"]).expect(0);
    let file = directory.path().join("mixed.vcf");
    let bad = b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:never ends\r\n".to_vec();
    fs::write(
        &file,
        [cards::small("one"), bad, cards::small("two")].concat(),
    )
    .unwrap();
    let run = import(&home, &[&file]).expect(1);
    let summary = run.json();
    assert_eq!(summary["created"], 2, "{summary}");
    assert_eq!(summary["refused"][0]["card"], 2, "{summary}");
    assert_eq!(summary["refused"][0]["line"], 7, "{summary}");
    assert!(run.stderr.contains("mixed.vcf:7, card 2: "), "{run:?}");
    // A second import that is the same but for its good cards changes nothing.
    assert_eq!(import(&home, &[&file]).expect(1).json()["unchanged"], 2);

    let nothing = directory.path().join("nothing.vcf");
    fs::write(&nothing, "hello").unwrap();
    let failed = import(&home, &[&nothing]).expect(1);
    assert!(failed.stderr.contains("BEGIN:VCARD"), "{failed:?}");
    // In a folder the others are imported; a name that is wrong imports nothing.
    let good = directory.path().join("zoe.vcf");
    fs::write(&good, cards::small("zoe")).unwrap();
    import(&home, &[&good, Path::new("/nowhere.vcf")]).expect(1);
    let run = import(&home, &[directory.path()]).expect(1);
    let summary = run.json();
    assert_eq!(summary["created"], 1, "{summary}");
    assert_eq!(summary["refused"].as_array().unwrap().len(), 2, "{summary}");
    assert!(run.stderr.contains("nothing.vcf:1, card 1: "), "{run:?}");
}

#[test]
fn progress_is_plain_lines_when_nobody_watches() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    on(&home, &["user", "add", "me"]).expect(0);
    let file = directory.path().join("one.vcf");
    fs::write(&file, cards::small("one")).unwrap();
    let run = import(&home, &[&file]).expect(0);
    assert_eq!(
        run.stderr,
        "importing: 0 of 1 cards\nimporting: 1 of 1 cards\n"
    );
    let run = on(&home, &["contacts", "export", "--user", "me"]).expect(0);
    assert_eq!(run.stderr, "exporting: 1 cards\n");
}

/// A narrow one.
#[test]
fn progress_is_one_line_that_fits_a_terminal() {
    const COLUMNS: usize = 60;
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    on(&home, &["user", "add", "me"]).expect(0);
    let file = directory.path().join("many.vcf");
    let cards: Vec<_> = (0..5000).map(|n| cards::small(&format!("c{n}"))).collect();
    fs::write(&file, cards.concat()).unwrap();
    let line = format!(
        "stty rows 24 columns {COLUMNS}; {} contacts import '{}' --user me --state '{}'",
        env!("CARGO_BIN_EXE_cloudless"),
        file.display(),
        home.display()
    );
    let Some(screen) = on_a_terminal(&line) else {
        return;
    };
    assert!(screen.contains("5000 created"), "{screen:?}");
    assert!(!screen.contains("importing: "), "plain lines: {screen:?}");
    let bars: Vec<_> = screen
        .split(['\r', '\n', '\u{1b}'])
        .filter_map(|line| line.find("importing [").map(|at| &line[at..]))
        .collect();
    assert!(!bars.is_empty(), "no bar: {screen:?}");
    for bar in bars {
        assert!(bar.chars().count() <= COLUMNS, "it wraps: {bar:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_cards_go_through_a_running_home() {
    let Some(corpus) = corpus::cards() else {
        return;
    };
    let pair = Pair::start();
    let folder = pair.folder("corpus");
    for (name, card) in &corpus {
        fs::write(folder.join(format!("{name}.vcf")), card).unwrap();
    }
    let summary = import(&pair.folder("home"), &[&folder]).expect(0).json();
    let want: BTreeSet<_> = corpus.into_iter().map(|(_, card)| card).collect();
    // Some of them are there twice, without a UID.
    assert_eq!(summary["created"], want.len(), "{summary}");
    assert_eq!(pair.local_program().names().await.len(), want.len());
    let each = pair.folder("each");
    export(&pair.folder("home"), &each).expect(0);
    assert_eq!(cards_in(&each), want);
}
