//! Thirty invented contacts that are as varied as real ones.

use crate::clock;

/// All sample contacts, one after the other.
pub(super) const ALL: &[u8] = include_bytes!("../../samples/contacts.vcf");

/// Each sample by itself.
pub(super) fn cards() -> impl Iterator<Item = &'static [u8]> {
    cloudless_vcard::split(ALL).flatten()
}

/// The sample that the demo changes at home, with its UID and with a note that differs for each
/// `now`, Unix time in milliseconds.
pub(super) fn changed(now: i64) -> Option<(String, Vec<u8>)> {
    let card = cards().next()?;
    let uid = cloudless_vcard::summarize(card).ok()?.uid?;
    let end = b"END:VCARD\r\n";
    let mut bytes = card.strip_suffix(end)?.to_vec();
    let note = format!(
        "NOTE:Changed at home on {} ({now} ms)\r\n",
        clock::utc_ms(now)
    );
    bytes.extend_from_slice(note.as_bytes());
    bytes.extend_from_slice(end);
    Some((uid, bytes))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_sample_is_a_card_with_its_own_uid() {
        let uids: BTreeSet<_> = cards()
            .map(|card| cloudless_vcard::summarize(card).unwrap().uid.unwrap())
            .collect();
        assert_eq!(cards().count(), 30);
        assert_eq!(uids.len(), 30);
        assert_eq!(cards().flatten().copied().collect::<Vec<_>>(), ALL);
    }

    /// What breaks programs that have seen plain cards only.
    #[test]
    fn the_samples_are_as_varied_as_real_cards() {
        let text = String::from_utf8(ALL.to_vec()).unwrap();
        let unfolded = text.replace("\r\n ", "");
        for (script, first, last) in [
            ("accents", '\u{c0}', '\u{ff}'),
            ("Hebrew or Arabic", '\u{590}', '\u{6ff}'),
            ("Chinese or Japanese", '\u{4e00}', '\u{9fff}'),
            ("emoji", '\u{1f300}', '\u{1faff}'),
        ] {
            let is_there = unfolded.chars().any(|it| (first..=last).contains(&it));
            assert!(is_there, "no {script}");
        }
        for start in [
            "PHOTO;ENCODING=b;",
            "X-ADDRESSBOOKSERVER-KIND:group",
            "BDAY:--",
        ] {
            assert!(unfolded.contains(&format!("\n{start}")), "no {start}");
        }
        let longest = |property: &str| {
            let lines = unfolded.lines().filter(|line| line.starts_with(property));
            lines.map(str::len).max()
        };
        assert!(longest("NOTE") > Some(1000), "no long note");
        let most = |property: &str| {
            let count = |card: &str| card.lines().filter(|it| it.contains(property)).count();
            unfolded.split("BEGIN:VCARD").map(count).max()
        };
        assert!(most("TEL;") >= Some(3), "never several phones");
        assert!(most("ADR;") >= Some(2), "never several addresses");
    }

    #[test]
    fn lines_are_folded_as_the_standard_says() {
        for line in ALL
            .strip_suffix(b"\r\n")
            .unwrap()
            .split(|byte| *byte == b'\n')
        {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            assert!(line.len() <= 75 && !line.contains(&b'\r'), "{line:?}");
            assert!(
                std::str::from_utf8(line).is_ok(),
                "a fold splits a character: {line:?}"
            );
        }
        assert_eq!(
            ALL.iter().filter(|byte| **byte == b'\n').count(),
            ALL.windows(2).filter(|pair| *pair == b"\r\n").count()
        );
    }

    #[test]
    fn the_changed_sample_keeps_its_uid_and_is_new_each_time() {
        let (uid, first) = changed(1).unwrap();
        let (_, second) = changed(2).unwrap();
        assert_ne!(first, second);
        assert_eq!(cloudless_vcard::summarize(&first).unwrap().uid, Some(uid));
    }
}
