//! What holds for any card that is written by the rules, however it is folded and ended.

use cloudless_vcard::content_line::Lexer;
use cloudless_vcard::{split, summarize};
use proptest::collection::vec;
use proptest::prelude::*;

/// A card's bytes with what a summary of it has to say.
#[derive(Clone, Debug)]
struct Written {
    bytes: String,
    line_ending: &'static str,
    uid: String,
    full_name: String,
}

fn line_ending() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["\r\n", "\n", "\r"])
}

/// Any text that a line can hold, not only what a program would write.
fn value() -> impl Strategy<Value = String> {
    "[^\r\n]{0,60}"
}

/// Text that survives trimming and needs no escape.
fn plain() -> impl Strategy<Value = String> {
    r"[^\s\p{Cc}\\]{1,30}".prop_filter("not only white space", |text| text.trim() == text)
}

/// A line without its ending that is neither UID, FN nor AGENT.
fn property() -> impl Strategy<Value = String> {
    let group = prop::sample::select(vec!["", "item1.", "ITEM2.", "a-b."]);
    let header = prop::sample::select(vec![
        "N",
        "TEL;CELL;VOICE",
        "tel;type=home,work",
        "TEL;X-EVOLUTION-E164=5550000,\"+47\";TYPE=\"a:b;c\"",
        "NOTE;LANGUAGE=de",
        "X-UID",
        "PHOTO;ENCODING=b;TYPE=PNG",
    ]);
    (group, header, value()).prop_map(|(group, header, value)| format!("{group}{header}:{value}"))
}

/// The line cut into folds of `width` characters.
fn fold(line: &str, width: usize, line_ending: &str) -> String {
    let chars: Vec<char> = line.chars().collect();
    let parts: Vec<String> = chars
        .chunks(width)
        .map(|part| part.iter().collect())
        .collect();
    parts.join(&format!("{line_ending} ")) + line_ending
}

fn card() -> impl Strategy<Value = Written> {
    let agent = prop::option::of(vec(property(), 0..3));
    (
        vec(property(), 0..6),
        plain(),
        plain(),
        line_ending(),
        12..80_usize,
        agent,
    )
        .prop_map(|(mut lines, uid, full_name, line_ending, width, agent)| {
            lines.insert(lines.len() / 2, format!("UID:{uid}"));
            lines.insert(0, format!("item9.fn:{full_name}"));
            let mut bytes = format!("BEGIN:VCARD{line_ending}VERSION:3.0{line_ending}");
            if let Some(agent) = agent {
                bytes += &["AGENT:", "BEGIN:VCARD", "UID:agent", ""].join(line_ending);
                agent
                    .iter()
                    .for_each(|line| bytes += &fold(line, width, line_ending));
                bytes += &format!("END:VCARD{line_ending}");
            }
            lines
                .iter()
                .for_each(|line| bytes += &fold(line, width, line_ending));
            bytes += &format!("END:VCARD{line_ending}");
            Written {
                bytes,
                line_ending,
                uid,
                full_name,
            }
        })
}

proptest! {
    #[test]
    fn concatenated_cards_split_back_exactly(
        cards in vec((card(), 0..3_usize, any::<bool>()), 0..6),
        final_line_ending in any::<bool>(),
    ) {
        let mut file = String::new();
        let mut expected = Vec::new();
        for (card, blank_lines, byte_order_mark) in &cards {
            if *byte_order_mark {
                file.push('\u{FEFF}');
            }
            file += &card.bytes;
            expected.push(card.bytes.as_bytes());
            file += &card.line_ending.repeat(*blank_lines);
        }
        if let (Some((card, 0, _)), false) = (cards.last(), final_line_ending) {
            file.truncate(file.len() - card.line_ending.len());
            let last = expected.last_mut().unwrap();
            *last = &last[..last.len() - card.line_ending.len()];
        }
        let found: Vec<&[u8]> = split(file.as_bytes()).map(Result::unwrap).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_summary_says_what_was_written(card in card()) {
        let summary = summarize(card.bytes.as_bytes()).unwrap();
        prop_assert_eq!(summary.uid, Some(card.uid));
        prop_assert_eq!(summary.full_name, Some(card.full_name));
        prop_assert_eq!(summary.version.as_deref(), Some("3.0"));
    }

    #[test]
    fn a_cut_card_does_not_hide_the_next(cut in card(), whole in card()) {
        let at = cut.bytes.rfind("END:VCARD").unwrap();
        let file = format!("{}{}", &cut.bytes[..at], whole.bytes);
        let found: Vec<_> = split(file.as_bytes()).collect();
        prop_assert_eq!(found.len(), 2);
        prop_assert!(found[0].is_err());
        prop_assert_eq!(found[1], Ok(whole.bytes.as_bytes()));
    }

    #[test]
    fn a_folded_line_reads_as_the_unfolded_one(
        value in value(),
        width in 1..40_usize,
        line_ending in line_ending(),
    ) {
        let line = format!("item1.X-ANY;A=\"b;:c\",d;e:{value}");
        let folded = fold(&line, width, line_ending);
        let lines: Vec<_> = Lexer::new(folded.as_bytes()).collect();
        prop_assert_eq!(lines.len(), 1);
        prop_assert_eq!(lines[0].value(), value.as_bytes());
        prop_assert!(lines[0].group().is_some_and(|group| group == "item1"));
        prop_assert_eq!(&*lines[0].name(), "X-ANY");
        let parameters: Vec<(Option<String>, Vec<String>)> = lines[0]
            .parameters()
            .map(|parameter| {
                let name = parameter.name().map(String::from);
                (name, parameter.values().map(String::from).collect())
            })
            .collect();
        let expected = [
            (Some("A".to_owned()), vec!["b;:c".to_owned(), "d".to_owned()]),
            (None, vec!["e".to_owned()]),
        ];
        prop_assert_eq!(parameters, expected);
    }
}
