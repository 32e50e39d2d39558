//! The vCards of ../shared/corpus, which real programs wrote.

use std::fs;
use std::path::{Path, PathBuf};

use cloudless_vcard::content_line::Lexer;
use cloudless_vcard::{Invalid, Summary, split, summarize};

/// The corpus folder; `None` when it is not there, which is a failure where CI is set.
pub(crate) fn corpus() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/vcards");
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{} is missing",
        folder.display()
    );
    #[expect(clippy::print_stderr, reason = "a test that cannot run says so")]
    {
        eprintln!("NOT TESTED: {} is missing", folder.display());
    }
    None
}

/// The bytes of every file of cards.
pub(crate) fn files(folder: &Path) -> impl Iterator<Item = Vec<u8>> {
    let files = ["calcard", "ez-vcard"].map(|source| fs::read_dir(folder.join(source)).unwrap());
    files
        .into_iter()
        .flatten()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "vcf"))
        .map(|path| fs::read(path).unwrap())
}

fn read(name: &str) -> Option<Vec<u8>> {
    corpus().map(|folder| fs::read(folder.join(name)).unwrap())
}

#[test]
fn every_file_splits_into_cards_that_can_be_summarized() {
    let Some(folder) = corpus() else { return };
    let several = [
        ("calcard/004.vcf", 3),
        ("calcard/005.vcf", 5),
        ("calcard/009.vcf", 10),
        ("calcard/028.vcf", 0),
        ("calcard/029.vcf", 6),
        ("calcard/038.vcf", 3),
        ("ez-vcard/John_Doe_ANDROID.vcf", 6),
        ("ez-vcard/gmail-list.vcf", 3),
        ("ez-vcard/rfc2426-example.vcf", 2),
    ];
    let mut files = 0;
    for source in ["calcard", "ez-vcard"] {
        for file in fs::read_dir(folder.join(source)).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "vcf") {
                continue;
            }
            files += 1;
            let name = format!("{source}/{}", path.file_name().unwrap().to_str().unwrap());
            let bytes = fs::read(&path).unwrap();
            let cards: Vec<&[u8]> = split(&bytes).filter_map(Result::ok).collect();
            let expected = several
                .iter()
                .find(|(several, _)| *several == name)
                .map_or(1, |(_, count)| *count);
            assert_eq!(cards.len(), expected, "cards in {name}");
            for card in cards {
                let summary = summarize(card).unwrap_or_else(|error| panic!("{name}: {error}"));
                assert!(summary.version.is_some(), "version in {name}");
            }
            let whole = summarize(&bytes);
            assert_eq!(
                whole.is_ok(),
                expected == 1,
                "{name} as one card: {whole:?}"
            );
            for line in Lexer::new(&bytes) {
                assert!(!line.name().is_empty(), "{name}: {line:?}");
                line.text();
                line.parameters()
                    .for_each(|parameter| parameter.values().for_each(drop));
            }
        }
    }
    assert_eq!(files, 56, "files read");
}

#[test]
fn uid_and_full_name_of_real_exports() {
    let check = |name: &str, uid: Option<&str>, full_name: Option<&str>, version: &str| {
        let Some(bytes) = read(name) else { return };
        let expected = Summary {
            uid: uid.map(str::to_owned),
            full_name: full_name.map(str::to_owned),
            version: Some(version.to_owned()),
        };
        assert_eq!(summarize(&bytes), Ok(expected), "{name}");
    };
    let evolution = "477343c8e6bf375a9bac1f96a5000837";
    let full_name = Some("Mr. John Richter, James Doe Sr.");
    check(
        "ez-vcard/John_Doe_EVOLUTION.vcf",
        Some(evolution),
        full_name,
        "3.0",
    );
    let lotus = "0e7602cc-443e-4b82-b4b1-90f62f99a199";
    check(
        "ez-vcard/John_Doe_LOTUS_NOTES.vcf",
        Some(lotus),
        Some("Mr. Doe John I Johny"),
        "3.0",
    );
    check("ez-vcard/John_Doe_GMAIL.vcf", None, full_name, "3.0");
    let full_name = Some("Mr. John Richter,James Doe Sr.");
    check(
        "ez-vcard/John_Doe_MAC_ADDRESS_BOOK.vcf",
        None,
        full_name,
        "3.0",
    );
    check(
        "ez-vcard/John_Doe_BLACK_BERRY.vcf",
        None,
        Some("John Doe"),
        "2.1",
    );
    check(
        "ez-vcard/rfc6350-example.vcf",
        None,
        Some("Simon Perreault"),
        "4.0",
    );
    check(
        "ez-vcard/outlook-2007.vcf",
        None,
        Some("Mr. Michael Angstadt Jr."),
        "2.1",
    );
    check("calcard/011.vcf", Some("altid"), Some("altid"), "4.0");
    check(
        "calcard/018.vcf",
        Some("51953f58-237e-429a-a271-cb47c026a895"),
        Some("labeled guy"),
        "4.0",
    );
    check(
        "calcard/020.vcf",
        Some("issue251part1"),
        Some("Michael Smith"),
        "3.0",
    );
}

#[test]
fn an_agent_in_a_card_is_not_the_card() {
    let Some(bytes) = read("calcard/006.vcf") else {
        return;
    };
    assert_eq!(
        summarize(&bytes).unwrap().full_name.as_deref(),
        Some("John Doe")
    );
}

#[test]
fn names_in_quoted_printable_are_decoded() {
    let names = |name: &str| -> Option<Vec<Option<String>>> {
        let bytes = read(name)?;
        Some(
            split(&bytes)
                .map(|card| summarize(card.unwrap()).unwrap().full_name)
                .collect(),
        )
    };
    let Some(android) = names("calcard/009.vcf") else {
        return;
    };
    assert_eq!(android[0].as_deref(), Some("Mäx Mustermann"));
    assert_eq!(android[3].as_deref(), Some("гор ЗаорсЁкі xyz і"));
}

#[test]
fn a_card_without_an_end_is_said_to_be_cut_off() {
    let Some(bytes) = read("calcard/028.vcf") else {
        return;
    };
    assert_eq!(summarize(&bytes), Err(Invalid::Unterminated));
    assert_eq!(
        split(&bytes).collect::<Vec<_>>(),
        [Err(Invalid::Unterminated)]
    );
}
