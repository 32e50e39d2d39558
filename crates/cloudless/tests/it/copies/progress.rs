//! What somebody sees who copies an address book at a terminal.

use std::collections::BTreeMap;
use std::io::Read as _;

use super::{Copy, Fake};
use crate::binary::terminal;
use crate::cards;

/// A narrow one.
const COLUMNS: usize = 60;

#[test]
fn it_is_one_line_that_goes_on_with_the_cards_and_goes_away() {
    let cards: BTreeMap<_, _> = cards::varied(120).into_iter().collect();
    let server = Fake::with_cards(&cards);
    // There are fifty in each.
    server.hold_multiget(2);
    let copy = Copy::new(&server.url(), None);
    let line = format!(
        "stty rows 24 columns {COLUMNS}; '{}' contacts import --from '{}' --state '{}'",
        env!("CARGO_BIN_EXE_cloudless"),
        copy.url,
        copy.state.path().display()
    );
    let Some(mut child) = terminal(&line) else {
        return;
    };
    let mut output = child.stdout.take().unwrap();
    let mut shown = Vec::new();
    server.held();
    while !String::from_utf8_lossy(&shown).contains("50 of 120 cards") {
        let mut buffer = [0; 1024];
        let length = output.read(&mut buffer).unwrap();
        let before = String::from_utf8_lossy(&shown);
        assert_ne!(
            length, 0,
            "it ended and never said how far it was: {before:?}"
        );
        shown.extend_from_slice(&buffer[..length]);
    }
    server.let_go();
    output.read_to_end(&mut shown).unwrap();
    let screen = String::from_utf8(shown).unwrap();
    assert!(child.wait().unwrap().success(), "{screen:?}");

    assert!(!screen.contains("copying: "), "plain lines: {screen:?}");
    let lines: Vec<_> = screen.split(['\r', '\n', '\u{1b}']).collect();
    let bars = lines
        .iter()
        .filter_map(|line| line.find("copying [").map(|at| &line[at..]));
    for bar in bars {
        assert!(bar.chars().count() <= COLUMNS, "it wraps: {bar:?}");
    }
    // Nothing of the bar stays, and what comes last is what became of the cards.
    let (bar, after) = screen.rsplit_once("cards, ").unwrap();
    let (_, end) = after
        .split_once("\u{1b}[2K")
        .unwrap_or_else(|| panic!("it stays: {bar:?} {after:?}"));
    assert!(
        end.contains("120 cards there, 0 copied before, 120 fetched"),
        "{end:?}"
    );
    assert_eq!(copy.stored().len(), 120);
}
