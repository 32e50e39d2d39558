//! Names for the files of exported cards.

use std::collections::HashSet;

/// The longest name that file systems take, in bytes.
const NAME_MAX: usize = 255;
const EXTENSION: &str = ".vcf";

/// The names that are given to files of one folder, each once.
#[derive(Debug, Default)]
pub(super) struct FileNames {
    taken: HashSet<String>,
}

impl FileNames {
    /// A name for the file of a card: the card's own, unless programs that read the folder would
    /// not see it, or another file has it.
    pub(super) fn choose(&mut self, card: &str) -> String {
        let stem = card.strip_suffix(EXTENSION).unwrap_or(card);
        // Hidden files are passed over, and control characters break listings.
        let mut stem: String = stem
            .chars()
            .map(|c| if c.is_control() { '_' } else { c })
            .collect();
        if stem.is_empty() || stem.starts_with('.') {
            stem.insert(0, '_');
        }
        let mut number = 1;
        loop {
            let ending = match number {
                1 => EXTENSION.to_owned(),
                number => format!("-{number}{EXTENSION}"),
            };
            let end = stem.floor_char_boundary(NAME_MAX - ending.len());
            let name = format!("{}{ending}", &stem[..end]);
            // Some file systems take upper and lower case for the same.
            if self.taken.insert(name.to_lowercase()) {
                return name;
            }
            number += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_card_gets_a_file_that_is_seen() {
        let mut names = FileNames::default();
        let long = "é".repeat(127);
        for (card, file) in [
            ("ann.vcf", "ann.vcf".to_owned()),
            ("ann", "ann-2.vcf".to_owned()),
            ("Ann.vcf", "Ann-3.vcf".to_owned()),
            (".hidden", "_.hidden.vcf".to_owned()),
            ("a\nb.VCF", "a_b.VCF.vcf".to_owned()),
            (".vcf", "_.vcf".to_owned()),
            (&long, format!("{}.vcf", "é".repeat(125))),
        ] {
            let chosen = names.choose(card);
            assert_eq!(chosen, file, "{card}");
            assert!(chosen.len() <= NAME_MAX);
        }
    }
}
